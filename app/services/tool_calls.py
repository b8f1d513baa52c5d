"""The main job: of the tools that can do what the instruction asks, the one this user would want."""

import asyncio
import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.catalogue.parse import parse
from app.db.database import Database
from app.decision.ranked import Ranked
from app.decision.stopwatch import Stopwatch
from app.domain import Decision, DecisionRule, HistorySetting, Tool, ToolCall, ToolSource
from app.errors import EmptyCatalogue, InvalidRequest, UnknownTools
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.embedders.tools import ToolEncoder
from app.retrieval.functional_fit import functional_fit
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.query import intents
from app.retrieval.snapshot import CatalogueSnapshot
from app.services.deciding import Decider, Question
from app.services.live_catalogue import LiveCatalogue
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
    """Seconds the model may take; None, and no more than: as configured."""
    abandoned: Callable[[], Awaitable[object]] | None = None
    """Returns once nobody waits for the answer any more; what the model does for it is stopped then."""


class ToolCallService:
    def __init__(
        self,
        database: Database,
        live: LiveCatalogue,
        profiles: ProfileService,
        embedder: BatchingEmbedder,
        encoder: ToolEncoder,
        ranker: PreferenceRanker,
        decider: Decider,
        *,
        retrieval_width: int,
        max_instruction_characters: int,
    ) -> None:
        self._database = database
        self._live = live
        self._profiles = profiles
        self._embedder = embedder
        self._encoder = encoder
        self._ranker = ranker
        self._decider = decider
        self._retrieval_width = retrieval_width
        self._max_instruction_characters = max_instruction_characters

    async def call(self, request: CallRequest) -> Decision:
        """The decision, stored unless `dry_run`.

        Raises `InvalidRequest`, `UnknownTools`, `EmptyCatalogue`, `PromptTooLong`, `CallerGone`; where only a model's
        valid answer will do, also `ModelUnavailable`, `EngineError`, `InvalidAnswer`.
        """
        question = self._checked(request)
        watch = Stopwatch()
        snapshot, inline = await self._tools(request)
        user = await self._profiles.get(request.user_id, request.history_setting, self._live.snapshot)
        watch.lap("history")
        vectors = await self._embedder.encode(intents(request.instruction))
        watch.lap("embed")
        found = snapshot.search(request.instruction, vectors, max(self._retrieval_width, request.n_candidates))
        watch.lap("retrieve")
        tools, relevances = [item.tool for item in found], functional_fit(found)
        attributes = snapshot.vectors[[item.row for item in found]]
        candidates = self._ranker.rank(relevances, tools, attributes, user.profile)[: request.n_candidates]
        rows = [snapshot.rows[candidate.tool.name] for candidate in candidates]
        alone = snapshot.among(rows, request.instruction, vectors)
        of_alone = snapshot.vectors[[item.row for item in alone]]
        ranked = Ranked.of(candidates, alone, of_alone, vectors, user.profile)
        watch.lap("rank")
        outcome = await self._decider.decide(question, ranked, watch)
        chosen = tools.index(outcome.tool)
        decision = Decision(
            call_id=uuid4(),
            user_id=request.user_id,
            instruction=request.instruction,
            history_setting=user.profile.setting,
            tool_call=ToolCall(outcome.tool.name, outcome.parameters),
            candidates=outcome.candidates,
            evidence=tuple(self._ranker.evidence(chosen, relevances, tools, attributes, user.profile)),
            created_at=datetime.now(UTC),
            degraded_reason=outcome.degraded_reason,
            decided_by=outcome.decided_by,
            engine=outcome.engine,
            adapter=outcome.adapter,
            asked_adapter=outcome.asked_adapter,
            raw_output=outcome.raw_output,
            problems=outcome.problems,
            catalogue_revision=snapshot.revision,
            missing_parameters=outcome.missing,
            usage={
                "history_interactions": len(user.profile.interactions),
                "retrieved_tools": len(found),
                **outcome.usage,
            },
            timings=watch.total(),
        )
        if not request.dry_run:
            await self._record(user, decision, inline)
            watch.lap("record")
        if outcome.refused is not None:
            raise outcome.refused
        # What is stored lacks the time it took to store it.
        return replace(decision, timings=watch.total())

    def _checked(self, request: CallRequest) -> Question:
        if _is_blank(request.instruction):
            raise InvalidRequest("The instruction is empty; say what the user asks for.")
        if len(request.instruction) > self._max_instruction_characters:
            raise InvalidRequest(
                f"The instruction has {len(request.instruction)} characters; at most "
                f"{self._max_instruction_characters} are taken. Shorten it; long texts belong into a file or a URL."
            )
        question = Question(
            request.instruction,
            request.decision,
            request.timeout,
            request.allow_degraded,
            request.abandoned,
            request.user_id,
        )
        self._decider.check(question)
        return question

    async def _tools(self, request: CallRequest) -> tuple[CatalogueSnapshot, list[Tool]]:
        """Where to search, and the tools that came with the request."""
        if request.inline_tools is not None:
            tools = await asyncio.to_thread(_parse_inline, request.inline_tools)
            vectors = await self._encoder.encode(tools)
            revision = self._live.snapshot.revision
            return CatalogueSnapshot.build(tools, vectors, revision), tools
        snapshot = self._live.snapshot
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

    async def _record(self, user: UserProfile, decision: Decision, inline: Sequence[Tool]) -> None:
        row = user.row
        if row is None:
            async with self._database.transaction() as work:
                row = (await work.users.create(decision.user_id)).id
        while True:
            async with self._database.statement() as work:
                if await work.decisions.add(row, decision, inline):
                    return
                # Erased while the answer was made: this call is the first of a new user of that name.
                row = (await work.users.create(decision.user_id)).id


def _is_blank(text: str) -> bool:
    # Zero-width and control characters are no words either.
    return all(character.isspace() or unicodedata.category(character) in ("Cf", "Cc") for character in text)


def _parse_inline(documents: Sequence[Any]) -> list[Tool]:
    parsed = parse(ToolSource.OPENAI, documents)
    if parsed.rejections:
        raise InvalidRequest(
            "tools: " + "; ".join(f"#{item.index}: {item.reason}" for item in parsed.rejections[:5]),
            rejected=[{"index": item.index, "name": item.name, "reason": item.reason} for item in parsed.rejections],
        )
    return [tool for _, tool in parsed.tools]
