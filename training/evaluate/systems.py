"""What is evaluated: the service's decisions with a model, and its decisions without one.

Decisions are made by `app.decision`, as in service, so that what is evaluated is what is served.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

from app.answers.json_text import Truncated, find_objects
from app.answers.reading import Answer, ErrorType, read_answer
from app.decision.decide import decide
from app.decision.fallback import NO_ENGINE, fall_back
from app.decision.model import Model
from app.decision.stopwatch import Stopwatch
from app.domain import AnswerStyle, Candidate, Decision, Json, Tool
from app.errors import EngineDown, EngineError, EngineOverloaded, EngineTimeout, InvalidAnswer, PromptTooLong
from app.inference.engine import Engine, Generation, GenerationRequest
from app.json_data.values import replace_unstorable
from app.prompting.builder import PromptBuilder
from app.prompting.formats import PromptFormat
from app.prompting.prompt import Prompt
from app.prompting.tokenizer import PromptTokenizer
from app.retrieval.functional_fit import functional_fit
from training.evaluate.answers import Row
from training.evaluate.config import ModelConfig, RuleConfig
from training.evaluate.metrics import AnsweredCall, ErrorKind
from training.evaluate.patience import Failed, Sleep, patiently
from training.examples import Question
from training.openai.wire import Passing

_UNCUT = 1_000_000
"""Tokens: room for every prompt, before it is cut."""


class System(Protocol):
    """Safe to be asked by many tasks of one event loop at once."""

    async def answer(self, question: Question) -> Row:
        """Raises Failed; SetupError for what only the operator can put right."""

    async def close(self) -> None: ...


@dataclass(frozen=True)
class Failure:
    """For the row of a question without an answer."""

    question: Question
    detail: str

    @property
    def row(self) -> Row:
        return Row(
            self.question.instance.id, AnsweredCall(None, None, ErrorKind.FAILED_REQUEST.value), detail=self.detail
        )


class ModelSystem:
    """A model of the service's engines, deciding as in service."""

    def __init__(self, config: ModelConfig, model: Model, *, sleep: Sleep = asyncio.sleep) -> None:
        """`model`: its hints do not matter, since questions bring theirs."""
        retrying = RetryingEngine(model.engine, config.retries, config.timeout, sleep)
        self._model = replace(model, engine=retrying)
        self._policy = config.policy
        self._fallback = config.fallback

    async def answer(self, question: Question) -> Row:
        try:
            decision = await decide(question.ranked, self._policy, self._model)
        except PromptTooLong as error:
            raise Failed(error.detail, alone=True) from error
        if isinstance(decision.failure, EngineError):
            raise Failed(decision.failure.detail)
        return _row(question, decision, self._said(decision))

    async def close(self) -> None:
        await self._model.engine.close()

    def _said(self, decision: Decision) -> AnsweredCall:
        """The call that is served, or, without the fallback, what the model itself said."""
        if not self._fallback and isinstance(decision.failure, PromptTooLong):
            raise Failed(decision.failure.detail, alone=True)
        if not self._fallback and decision.degraded_reason == InvalidAnswer.reason:
            assert isinstance(decision.failure, InvalidAnswer)
            return call_of(decision.failure)
        return AnsweredCall(decision.tool_call.tool_name, decision.tool_call.parameters)


class RuleSystem:
    """Decides without a language model, as the service does when it has none; retrieval and functional fit by
    themselves, without the user's history, to compare with."""

    def __init__(self, config: RuleConfig) -> None:
        self._kind = config.kind

    async def answer(self, question: Question) -> Row:
        ranked = replace(question.ranked, candidates=self._order(question))
        decision = await fall_back(ranked, NO_ENGINE, Stopwatch())
        said = AnsweredCall(decision.tool_call.tool_name, decision.tool_call.parameters)
        return Row(question.instance.id, said, decided_by=self._kind)

    async def close(self) -> None:
        """There is nothing open."""

    def _order(self, question: Question) -> Sequence[Candidate]:
        """The candidates, best first by what decides."""
        ranked = question.ranked
        if self._kind == "ranker":
            return ranked.candidates
        found = ranked.found
        scores = [item.relevance for item in found] if self._kind == "retrieval" else functional_fit(found)
        by_name = {tool.name: score for tool, score in zip(found.tools, scores, strict=True)}
        order = {name: place for place, name in enumerate(tool.name for tool in found.tools)}
        return sorted(ranked.candidates, key=lambda each: (-by_name[each.tool.name], order[each.tool.name]))


class RetryingEngine:
    """An engine that is asked again for what may go better in a moment."""

    def __init__(self, engine: Engine, retries: int, timeout: float, sleep: Sleep = asyncio.sleep) -> None:
        """`timeout`: seconds for each try."""
        self._engine = engine
        self._retries = retries
        self._timeout = timeout
        self._sleep = sleep

    @property
    def name(self) -> str:
        return self._engine.name

    async def generate(self, request: GenerationRequest) -> Generation:
        """Raises EngineError: after the last try, or at once where another would get no other answer."""
        request = replace(request, timeout=self._timeout)
        try:
            return await patiently(partial(self._try, request), self._retries, self._sleep)
        except Failed as error:
            raise EngineError(error.detail) from error

    async def _try(self, request: GenerationRequest) -> Generation:
        try:
            return await self._engine.generate(request)
        except (EngineDown, EngineOverloaded, EngineTimeout) as error:
            raise Passing(error.detail, retry_after=error.retry_after) from error

    async def ready(self) -> bool:
        return await self._engine.ready()

    async def watch(self) -> None:
        await self._engine.watch()

    async def close(self) -> None:
        await self._engine.close()


class RightCutPrompts(PromptBuilder):
    """Prompts written whole, then cut at their right end to the budget, as the published code does."""

    def __init__(self, tokenizer: PromptTokenizer, format: PromptFormat, budget: int) -> None:  # noqa: A002
        super().__init__(tokenizer, format, _UNCUT)
        self._cut = budget

    @property
    def longest(self) -> int:
        return self._cut

    def build(self, *arguments: Any, **named: Any) -> Prompt:
        prompt = super().build(*arguments, **named)
        return replace(prompt, token_ids=prompt.token_ids[: self._cut])


def _row(question: Question, decision: Decision, said: AnsweredCall) -> Row:
    known = {each.tool.name: each.probability for each in decision.candidates if each.probability is not None}
    return Row(
        question.instance.id,
        said,
        text=decision.raw_output,
        probabilities={name: round(value, 5) for name, value in known.items()} or None,
        decided_by=decision.decided_by,
        prompt_tokens=decision.usage["prompt_tokens"],
        completion_tokens=decision.usage["completion_tokens"],
    )


def read_call(text: str, tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle) -> AnsweredCall:
    """A model's text as what it said, also where that is no call of a candidate."""
    try:
        return call_of(read_answer(text, tools, labels, style=style))
    except InvalidAnswer as error:
        return call_of(error)


def call_of(answer: Answer | InvalidAnswer) -> AnsweredCall:
    if isinstance(answer, Answer):
        return AnsweredCall(answer.tool.name, answer.parameters)
    made_up = answer.kind == ErrorType.TOOL_HALLUCINATION
    return AnsweredCall(None, _parameters(answer.text) if made_up else None, str(answer.kind))


def _parameters(text: str) -> Mapping[str, Json] | None:
    """Of a call of a tool that there is not, which the paper compares too; None where they are no JSON object."""
    try:
        for found in find_objects(text):
            for key in ("parameters", "arguments"):
                if isinstance(found.value.get(key), dict):
                    return {
                        replace_unstorable(name): replace_unstorable(value) for name, value in found.value[key].items()
                    }
    except Truncated:
        pass
    return None
