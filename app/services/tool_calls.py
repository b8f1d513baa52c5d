"""The main job: of the tools that can do what the instruction asks, the one this user would want."""

import asyncio
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from app.calling.extraction import extract_parameters
from app.catalogue.parse import parse
from app.db.database import Database
from app.domain import Candidate, Decision, Evidence, HistorySetting, Tool, ToolCall, ToolSource
from app.errors import EmptyCatalogue, InvalidRequest, ModelUnavailable, UnknownTools
from app.retrieval.batching import BatchingEmbedder
from app.retrieval.functionality import functional_fit
from app.retrieval.intents import intents
from app.retrieval.preferences import PreferenceRanker, Profile
from app.retrieval.retriever import CatalogueSnapshot, Retrieved
from app.services.live_catalogue import LiveCatalogue, ToolEncoder
from app.services.profiles import ProfileService, UserProfile

NO_ENGINE = "no_engine"
DEGRADED = {
    NO_ENGINE: "No language model is configured: the preference ranker chose the tool, and the parameters are those "
    "that could be read from the instruction.",
}
_RETRY_AFTER_SECONDS = 30


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


class Stopwatch:
    """Milliseconds between one `lap` and the next."""

    def __init__(self) -> None:
        self._started = self._last = time.perf_counter()
        self.laps: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round((now - self._last) * 1000, 3)
        self._last = now

    def total(self) -> dict[str, float]:
        return self.laps | {"total": round((time.perf_counter() - self._started) * 1000, 3)}


class ToolCallService:
    def __init__(
        self,
        database: Database,
        live: LiveCatalogue,
        profiles: ProfileService,
        embedder: BatchingEmbedder,
        encoder: ToolEncoder,
        ranker: PreferenceRanker,
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
        self._retrieval_width = retrieval_width
        self._max_instruction_characters = max_instruction_characters

    async def call(self, request: CallRequest) -> Decision:
        """The decision, stored unless `dry_run`.

        Raises `InvalidRequest`, `UnknownTools`, `EmptyCatalogue`; `ModelUnavailable` if only a model may answer.
        """
        self._check(request)
        watch = Stopwatch()
        snapshot, inline = await self._tools(request)
        user = await self._profiles.get(request.user_id, request.history_setting, self._live.snapshot)
        watch.lap("history")
        vectors = await self._embedder.encode(intents(request.instruction))
        watch.lap("embed")
        found = snapshot.search(request.instruction, vectors, max(self._retrieval_width, request.n_candidates))
        watch.lap("retrieve")
        candidates, evidence = self._rank(found, snapshot, user.profile, request.n_candidates)
        watch.lap("rank")
        chosen = candidates[0].tool
        extraction = extract_parameters(request.instruction, chosen, now=datetime.now(UTC))
        watch.lap("parameters")
        decision = Decision(
            call_id=uuid4(),
            user_id=request.user_id,
            instruction=request.instruction,
            history_setting=user.profile.setting,
            tool_call=ToolCall(chosen.name, extraction.parameters),
            candidates=tuple(candidates),
            evidence=tuple(evidence),
            created_at=datetime.now(UTC),
            degraded_reason=NO_ENGINE,
            catalogue_revision=snapshot.revision,
            missing_parameters=extraction.missing,
            usage={
                "history_interactions": len(user.profile.interactions),
                "retrieved_tools": len(found),
                "prompt_tokens": 0,
                "completion_tokens": 0,
            },
            timings=watch.total(),
        )
        if not request.dry_run:
            await self._record(user, decision, inline)
            watch.lap("record")
        # What is stored lacks the time it took to store it.
        return replace(decision, timings=watch.total())

    def _check(self, request: CallRequest) -> None:
        if _is_blank(request.instruction):
            raise InvalidRequest("The instruction is empty; say what the user asks for.")
        if len(request.instruction) > self._max_instruction_characters:
            raise InvalidRequest(
                f"The instruction has {len(request.instruction)} characters; at most "
                f"{self._max_instruction_characters} are taken. Shorten it; long texts belong into a file or a URL."
            )
        if not request.allow_degraded:
            raise ModelUnavailable(
                "No language model can answer now, and allow_degraded is false.",
                retry_after=_RETRY_AFTER_SECONDS,
            )

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

    def _rank(
        self, found: Sequence[Retrieved], snapshot: CatalogueSnapshot, profile: Profile, n_candidates: int
    ) -> tuple[list[Candidate], list[Evidence]]:
        tools = [item.tool for item in found]
        relevances = functional_fit(found)
        attributes = snapshot.vectors[[item.row for item in found]]
        candidates = self._ranker.rank(relevances, tools, attributes, profile)[:n_candidates]
        chosen = tools.index(candidates[0].tool)
        return candidates, self._ranker.evidence(chosen, relevances, tools, attributes, profile)

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
