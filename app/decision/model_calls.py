"""The language model's part of a tool call: prompt, constrained generation, reading the answer, the choice."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any

from app.answers.reading import Answer, read_answer
from app.answers.schema.answer import answer_schema
from app.decision.fusion import choice_logprobs, fused, probabilities
from app.decision.stopwatch import Stopwatch
from app.domain import Candidate, DecisionRule, HistorySetting, Interaction, Json, Tool
from app.errors import CallerGone, EngineError, EngineTimeout, InvalidAnswer, PromptTooLong
from app.inference.engine import Engine, Generation, GenerationRequest
from app.prompting.builder import PromptBuilder
from app.prompting.prompt import Prompt, prompt_order
from app.retrieval.matcher import Matcher


@dataclass(frozen=True)
class ModelRequest:
    instruction: str
    setting: HistorySetting
    interactions: Sequence[Interaction]
    """Oldest first."""
    relevance: Sequence[float] | None
    """Of each interaction to the candidates."""
    candidates: Sequence[Candidate]
    """Best first by the ranker."""
    rule: DecisionRule
    timeout: float
    """Seconds."""
    abandoned: Callable[[], Awaitable[object]] | None = None
    """Returns once nobody waits for the answer any more."""
    user: str = ""
    """Of several engines each user's requests go to the same."""


@dataclass(frozen=True)
class ModelAnswer:
    answer: Answer | InvalidAnswer
    candidates: tuple[Candidate, ...]
    """As asked, with the model's probabilities where the engine tells them; less those the prompt had no room for."""
    decided_by: DecisionRule
    model: str
    """The adapter, or base model, that wrote it."""
    usage: Mapping[str, Json]


class ModelCaller:
    def __init__(
        self,
        engine: Engine,
        prompts: PromptBuilder,
        *,
        adapter: str | None,
        max_tokens: int,
        temperature: float,
        fusion_weight: float,
        matcher: Matcher | None = None,
    ) -> None:
        """`matcher`: whose hints the prompt's format is made with; None for the preference ranker's."""
        self.engine = engine
        self.matcher = matcher
        self._prompts = prompts
        self._adapter = adapter
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._fusion_weight = fusion_weight

    @property
    def most_tokens(self) -> int:
        """Of a prompt and its answer together."""
        return self._prompts.budget + self._max_tokens

    async def answer(self, request: ModelRequest, watch: Stopwatch) -> ModelAnswer:
        """Raises `PromptTooLong`, `EngineError`; `CallerGone` if the answer was abandoned."""
        deadline = time.perf_counter() + request.timeout
        prompt, ordered = await self._prompt(request)
        watch.lap("prompt")
        ask = partial(self._generate, request, prompt, self._adapter, deadline)
        tools = [item.tool for item in ordered]
        calls = [await ask(tools, prompt.labels)]
        watch.lap("generate")
        answer = self._read(calls[0], tools, prompt.labels)
        chosen_at = tools.index(answer.tool) if isinstance(answer, Answer) else None
        chances = choice_logprobs(calls[0].label_logprobs, prompt.label_ids, chosen_at)
        rule = DecisionRule.MODEL
        if request.rule is DecisionRule.FUSED and chances is not None:
            # An engine that tells no probabilities leaves nothing to combine.
            rule = DecisionRule.FUSED
            scores = fused(chances, [item.score for item in ordered], self._fusion_weight)
            best = scores.index(max(scores))
            if isinstance(answer, InvalidAnswer) or tools[best] is not answer.tool:
                # The parameters are those of the model's own choice: it writes the other tool's anew.
                chosen, label = [tools[best]], prompt.labels[best : best + 1]
                try:
                    calls.append(await ask(chosen, label))
                except EngineError:
                    # There is an answer already: the model's own.
                    rule = DecisionRule.MODEL
                else:
                    answer = self._read(calls[1], chosen, label)
                watch.lap("generate")
        watch.lap("read")
        return ModelAnswer(
            answer,
            _with_probabilities(request.candidates, ordered, chances),
            rule,
            calls[-1].model,
            _usage(prompt, calls, dropped=len(request.candidates) - len(ordered)),
        )

    def _read(self, generation: Generation, tools: Sequence[Tool], labels: Sequence[str]) -> Answer | InvalidAnswer:
        try:
            return read_answer(generation.text, tools, labels, style=self._prompts.format.answer)
        except InvalidAnswer as error:
            return error

    async def _prompt(self, request: ModelRequest) -> tuple[Prompt, list[Candidate]]:
        """Candidates that do not fit are left out, the least wanted first."""
        today = datetime.now(UTC).date()
        candidates = list(request.candidates)
        try:
            return await self._built(request, candidates, today)
        except PromptTooLong as error:
            if error.extra.get("part") != "candidates":
                raise
            setting = request.setting if request.interactions else HistorySetting.NONE
            fitting = self._prompts.fitting(request.instruction, setting, candidates, today=today)
            if fitting == 0:
                raise
        return await self._built(request, candidates[:fitting], today)

    async def _built(
        self, request: ModelRequest, candidates: Sequence[Candidate], today: date
    ) -> tuple[Prompt, list[Candidate]]:
        ordered, relevance = prompt_order(candidates), request.relevance
        history = request.setting, request.interactions
        build = partial(self._prompts.build, request.instruction, *history, ordered, relevance=relevance, today=today)
        if self._prompts.is_quick(*history, ordered, relevance=relevance):
            return build(), ordered
        # Encoding what is new of a long history or of large documents takes longer than other requests should wait.
        return await asyncio.to_thread(build), ordered

    async def _generate(
        self,
        request: ModelRequest,
        prompt: Prompt,
        adapter: str | None,
        deadline: float,
        tools: Sequence[Tool],
        labels: Sequence[str],
    ) -> Generation:
        timeout = deadline - time.perf_counter()
        if timeout <= 0:
            raise EngineTimeout(f"No answer within {request.timeout:g} s.", retry_after=1)
        style = self._prompts.format.answer
        generating = self.engine.generate(
            GenerationRequest(
                prompt.token_ids,
                # Formats without labels write none.
                answer_schema(tools, labels or [""] * len(tools), style, instruction=request.instruction),
                # An answer may repeat the instruction.
                min(
                    self._max_tokens + prompt.usage.instruction,
                    self._prompts.budget + self._max_tokens - len(prompt.token_ids),
                ),
                timeout,
                labels=prompt.label_ids,
                adapter=adapter,
                temperature=self._temperature,
                user=request.user,
            )
        )
        return await _unless_abandoned(generating, request.abandoned)


NO_MODEL_USAGE: Mapping[str, Json] = {
    "prompt_tokens": 0,
    "completion_tokens": 0,
    "cached_tokens": 0,
    "prompt": None,
    "candidates_dropped": 0,
}


def _with_probabilities(
    candidates: Sequence[Candidate], ordered: Sequence[Candidate], chances: Sequence[float] | None
) -> tuple[Candidate, ...]:
    """Those of `candidates` that are in `ordered` (where `chances` are), in their own order."""
    told: Sequence[float | None] = probabilities(chances) if chances is not None else [None] * len(ordered)
    of = dict(zip((item.tool.name for item in ordered), told, strict=True))
    return tuple(replace(item, probability=of[item.tool.name]) for item in candidates if item.tool.name in of)


def _usage(prompt: Prompt, calls: Sequence[Generation], *, dropped: int) -> dict[str, Json]:
    return {
        "prompt_tokens": sum(call.prompt_tokens for call in calls),
        "completion_tokens": sum(call.completion_tokens for call in calls),
        "cached_tokens": sum(call.cached_tokens for call in calls),
        "prompt": prompt.usage.as_json(),
        "candidates_dropped": dropped,
    }


async def _unless_abandoned(
    generating: Coroutine[Any, Any, Generation], abandoned: Callable[[], Awaitable[object]] | None
) -> Generation:
    if abandoned is None:
        return await generating
    task, gone = asyncio.ensure_future(generating), asyncio.ensure_future(abandoned())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and gone.exception() is None:
            raise CallerGone("The connection was closed before the answer was there.")
        return await task
    finally:
        gone.cancel()
        if task.cancel():
            # Until the engine has let go of it.
            await asyncio.wait({task})
