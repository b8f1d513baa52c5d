"""The main job: of the tools that can do what the instruction asks, the one this user would want."""

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.catalogue.parse import parse
from app.db.database import Database
from app.decision.policy import Policy
from app.decision.ranking import rank
from app.decision.stopwatch import Stopwatch
from app.domain import Decision, DecisionRule, HistorySetting, Tool, ToolSource
from app.errors import CallerGone, EmptyCatalogue, InvalidRequest, UnknownTools
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.embedders.tools import ToolEncoder
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.query import embed_query
from app.retrieval.snapshot import CatalogueSnapshot
from app.services.catalogue_index import CatalogueIndex
from app.services.decisions import DecisionService
from app.services.profiles import ProfileService, UserProfile


@dataclass(frozen=True)
class CallRequest:
    user_id: str
    instruction: str
    history_setting: HistorySetting = HistorySetting.AUTO
    candidate_names: Sequence[str] | None = None
    inline_tools: Sequence[Any] | None = None
    """OpenAI tool definitions."""
    n_candidates: int = 10
    allow_degraded: bool = True
    dry_run: bool = False
    decision: DecisionRule | None = None
    """Who chooses the tool; None: as configured."""
    timeout: float | None = None
    """Maximum seconds to wait for the model, limited by the configured timeout. None means the configured timeout."""
    abandoned: Callable[[], Awaitable[object]] | None = None
    """Waits until the caller has closed the connection. The model's work is then cancelled."""


class ToolCallService:
    def __init__(
        self,
        database: Database,
        index: CatalogueIndex,
        profiles: ProfileService,
        embedder: BatchingEmbedder,
        encoder: ToolEncoder,
        ranker: PreferenceRanker,
        decisions: DecisionService,
        *,
        retrieval_width: int,
        max_instruction_characters: int,
    ) -> None:
        self._database = database
        self._index = index
        self._profiles = profiles
        self._embedder = embedder
        self._encoder = encoder
        self._ranker = ranker
        self._decisions = decisions
        self._retrieval_width = retrieval_width
        self._max_instruction_characters = max_instruction_characters

    async def call(self, request: CallRequest) -> Decision:
        """Decide on a call, and store the decision unless `dry_run`.

        Raises `InvalidRequest`, `UnknownTools`, `EmptyCatalogue`, `PromptTooLong`, `CallerGone`; without
        `allow_degraded` also `ModelUnavailable`, `EngineError`, `InvalidAnswer`.
        """
        self._check(request)
        watch = Stopwatch()
        snapshot, inline = await self._select_tools(request)
        user = await self._profiles.get(request.user_id, request.history_setting, self._index.snapshot)
        watch.lap("history")
        query = await embed_query(self._embedder, request.instruction)
        watch.lap("embed")
        found = snapshot.search(query, max(self._retrieval_width, request.n_candidates))
        watch.lap("retrieve")
        ranked = rank(found, user.profile, self._ranker, request.n_candidates)
        watch.lap("rank")
        deciding = self._decisions.decide(ranked, self._policy(request), request.user_id, watch)
        decision = await _decide_unless_abandoned(deciding, request.abandoned)
        decision = replace(
            decision,
            user_id=request.user_id,
            catalogue_revision=snapshot.revision,
            usage={
                "history_interactions": len(user.profile.interactions),
                "retrieved_tools": len(found),
                **decision.usage,
            },
            timings=watch.total(),
        )
        if not request.dry_run:
            await self._store(user, decision, inline)
            watch.lap("record")
        if decision.failure is not None and not request.allow_degraded:
            # Stored above too, since a canary's failures are counted.
            raise decision.failure
        # The stored decision lacks the time of storing it; the returned one has it.
        return replace(decision, timings=watch.total())

    def _policy(self, request: CallRequest) -> Policy:
        policy = self._decisions.policy
        timeout = min(request.timeout or policy.timeout, policy.timeout)
        return replace(policy, chooser=request.decision or policy.chooser, timeout=timeout)

    def _check(self, request: CallRequest) -> None:
        if _is_blank(request.instruction):
            raise InvalidRequest("The instruction is empty; say what the user asks for.")
        if len(request.instruction) > self._max_instruction_characters:
            raise InvalidRequest(
                f"The instruction has {len(request.instruction)} characters; at most "
                f"{self._max_instruction_characters} are allowed. Shorten it; put long texts into a file or behind a "
                "URL."
            )
        if not request.allow_degraded:
            self._decisions.require_model()

    async def _select_tools(self, request: CallRequest) -> tuple[CatalogueSnapshot, list[Tool]]:
        """The tools to search among, and those of them that came with the request."""
        if request.inline_tools is not None:
            tools = await asyncio.to_thread(_parse_inline, request.inline_tools)
            vectors = await self._encoder.encode(tools)
            revision = self._index.snapshot.revision
            return CatalogueSnapshot.build(tools, vectors, revision), tools
        snapshot = self._index.snapshot
        if not snapshot.tools:
            raise EmptyCatalogue("Import tools first: PUT /tools, or `petool tools import`.")
        if request.candidate_names is not None:
            names = list(dict.fromkeys(request.candidate_names))
            unknown = [name for name in names if name not in snapshot.rows]
            if unknown:
                raise UnknownTools(
                    "These candidates are not active tools of the catalogue: " + ", ".join(map(repr, unknown)),
                    unknown=unknown,
                )
            return snapshot.only(names), []
        return snapshot, []

    async def _store(self, user: UserProfile, decision: Decision, inline: Sequence[Tool]) -> None:
        row = user.row
        if row is None:
            async with self._database.transaction() as work:
                row = (await work.users.create(decision.user_id)).id
        while True:
            async with self._database.statement() as work:
                if await work.decisions.add(row, decision, inline):
                    return
                # The user was erased meanwhile, so this call is the first of a new user of that name.
                row = (await work.users.create(decision.user_id)).id


async def _decide_unless_abandoned(
    deciding: Coroutine[Any, Any, Decision], abandoned: Callable[[], Awaitable[object]] | None
) -> Decision:
    """The decision. If the caller leaves before, cancels it, waits for the engine to end, and raises `CallerGone`."""
    if abandoned is None:
        return await deciding
    task, gone = asyncio.ensure_future(deciding), asyncio.ensure_future(abandoned())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and gone.exception() is None:
            raise CallerGone("The connection was closed before the answer was ready.")
        return await task
    finally:
        gone.cancel()
        if task.cancel():
            await asyncio.wait({task})


def _is_blank(text: str) -> bool:
    # Zero-width and control characters count as blank too.
    return all(character.isspace() or unicodedata.category(character) in ("Cf", "Cc") for character in text)


def _parse_inline(documents: Sequence[Any]) -> list[Tool]:
    parsed = parse(ToolSource.OPENAI, documents)
    if parsed.rejections:
        raise InvalidRequest(
            "tools: " + "; ".join(f"#{item.index}: {item.reason}" for item in parsed.rejections[:5]),
            rejected=[{"index": item.index, "name": item.name, "reason": item.reason} for item in parsed.rejections],
        )
    return [tool for _, tool in parsed.tools]
