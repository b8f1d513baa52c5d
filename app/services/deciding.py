"""From ranked candidates to one call: the model's where one answers, else the ladder's."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from app.adapters.replica import LiveAdapters
from app.answers.reading import Answer
from app.decision.filling import filled
from app.decision.model_calls import NO_MODEL_USAGE, ModelAnswer, ModelCaller, ModelRequest
from app.decision.model_requests import model_request
from app.decision.ranked import Ranked
from app.decision.repair import mend
from app.decision.stopwatch import Stopwatch
from app.domain import AnswerProblem, Candidate, DecisionRule, Json, ParameterRule, Tool
from app.errors import AdapterMissing, EngineError, InvalidAnswer, ModelUnavailable, PromptTooLong
from app.extraction import Extraction, extract_parameters

NO_ENGINE = "no_engine"
NOT_LOADED = "model_not_loaded"
INVALID_PARAMETERS = "invalid_parameters"
CANDIDATES_TOO_LONG = "candidates_too_long"
_LADDER = "The preference ranker chose the tool, and the parameters are those that could be read from the instruction."
DEGRADED = {
    NO_ENGINE: f"No language model is configured. {_LADDER}",
    NOT_LOADED: f"The shipped language model could not be loaded when the service started. {_LADDER}",
    "engine_unavailable": f"The language model's engine does not answer. {_LADDER}",
    "engine_overloaded": f"Too many requests wait for the language model already. {_LADDER}",
    "engine_timeout": f"The language model did not answer in time. {_LADDER}",
    "engine_refused": f"The language model's engine does not take this request. {_LADDER}",
    "invalid_answer": f"What the language model wrote is not a call of one of the candidates. {_LADDER}",
    INVALID_PARAMETERS: "The language model chose the tool, but not all its parameters were valid; `problems` tells "
    "which. They were read from the instruction instead, or left out.",
    CANDIDATES_TOO_LONG: f"Not even one candidate's document fits the prompt. {_LADDER}",
}
"""What each `degraded_reason` means."""
_RETRY_AFTER_SECONDS = 30
_LOGGED = 300
_MANY_PARAMETERS = 100
log = structlog.get_logger("petool")


@dataclass(frozen=True)
class Question:
    instruction: str
    rule: DecisionRule | None = None
    """None: as configured."""
    timeout: float | None = None
    """Seconds; None, and no more than: as configured."""
    allow_degraded: bool = True
    abandoned: Callable[[], Awaitable[object]] | None = None
    user: str = ""


@dataclass(frozen=True)
class Outcome:
    tool: Tool
    parameters: Mapping[str, Json]
    missing: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    decided_by: str
    usage: Mapping[str, Json]
    degraded_reason: str | None = None
    engine: str | None = None
    adapter: str | None = None
    asked_adapter: str | None = None
    raw_output: str | None = None
    problems: tuple[AnswerProblem, ...] = ()
    refused: EngineError | InvalidAnswer | None = None
    """Why there is no answer for a user who wants no degraded one: recorded all the same, as what the adapter did."""


class Decider:
    def __init__(
        self,
        models: LiveAdapters | None,
        *,
        rule: DecisionRule = DecisionRule.MODEL,
        parameters: ParameterRule = ParameterRule.MODEL,
        timeout: float,
        reason: str = NO_ENGINE,
    ) -> None:
        """`reason`: why there is no model, where there is none; of `DEGRADED`."""
        self._models = models
        self._rule = rule
        self._parameters = parameters
        self._timeout = timeout
        self._reason = reason

    def check(self, question: Question) -> None:
        """Raises `ModelUnavailable` where only a model may answer and there is none."""
        if self._models is None and not question.allow_degraded:
            raise ModelUnavailable(
                f"{DEGRADED[self._reason].removesuffix(_LADDER)}And allow_degraded is false.",
                retry_after=_RETRY_AFTER_SECONDS,
            )

    async def decide(self, question: Question, ranked: Ranked, watch: Stopwatch) -> Outcome:
        """Laps `hints`, `prompt`, `generate`, `read` and `parameters`. Raises `PromptTooLong`, `CallerGone`."""
        if self._models is None:
            return await _ladder(question, ranked, watch, self._reason)
        with self._models.lease(question.user) as lease:
            try:
                outcome = await self._of(lease.caller, question, ranked, watch)
                return replace(outcome, asked_adapter=lease.version)
            except AdapterMissing as error:
                missing = error
        # What the user is given to has changed, and this replica was not told; or an engine came back without it.
        await self._models.look_again()
        with self._models.lease(question.user) as lease:
            outcome = await self._of(lease.caller, question, ranked, watch, missing)
            return replace(outcome, asked_adapter=lease.version)

    async def _of(
        self,
        model: ModelCaller,
        question: Question,
        ranked: Ranked,
        watch: Stopwatch,
        missing: AdapterMissing | None = None,
    ) -> Outcome:
        """`missing`: of the try before this one, after which there is no other."""
        engine = model.engine.name
        try:
            answer = await model.answer(await self._request(model, question, ranked, watch), watch)
        except EngineError as error:
            if isinstance(error, AdapterMissing) and missing is None:
                raise
            log.warning("engine_failed", reason=error.reason, detail=error.detail[:_LOGGED])
            outcome = await _ladder(question, ranked, watch, error.reason, engine)
            return replace(outcome, refused=None if question.allow_degraded else error)
        except PromptTooLong as error:
            if error.extra.get("part") != "candidates" or not question.allow_degraded:
                raise
            return await _ladder(question, ranked, watch, CANDIDATES_TOO_LONG, engine)
        if isinstance(answer.answer, InvalidAnswer):
            outcome = await _ladder(question, ranked, watch, answer.answer.reason, engine, answer)
            return replace(outcome, refused=None if question.allow_degraded else answer.answer)
        return await self._of_model(engine, question, answer.answer, answer, watch)

    async def _request(self, model: ModelCaller, question: Question, ranked: Ranked, watch: Stopwatch) -> ModelRequest:
        request = await model_request(
            model,
            question.instruction,
            ranked,
            rule=question.rule or self._rule,
            seconds=min(question.timeout or self._timeout, self._timeout),
        )
        watch.lap("hints")
        return replace(request, abandoned=question.abandoned, user=question.user)

    async def _of_model(
        self, engine: str, question: Question, answer: Answer, given: ModelAnswer, watch: Stopwatch
    ) -> Outcome:
        parameters: Mapping[str, Json] = answer.parameters
        missing: list[str] = []
        problems = answer.problems
        if problems or self._parameters is not ParameterRule.MODEL:
            extraction = await _extracted(question.instruction, answer.tool)
            parameters, missing = mend(answer, extraction.parameters)
            if self._parameters is not ParameterRule.MODEL:
                parameters = filled(self._parameters, question.instruction, answer.tool, parameters, extraction)
                problems = problems if missing else ()
            watch.lap("parameters")
        refused = None
        if problems and not question.allow_degraded:
            refused = InvalidAnswer(problems[0].reason, kind=problems[0].kind, text=answer.text)
        return Outcome(
            answer.tool,
            parameters,
            tuple(missing),
            given.candidates,
            given.decided_by,
            given.usage,
            degraded_reason=INVALID_PARAMETERS if problems else None,
            engine=engine,
            adapter=given.model,
            raw_output=answer.text,
            problems=tuple(AnswerProblem(item.kind, item.name, item.reason) for item in problems),
            refused=refused,
        )


async def _extracted(instruction: str, tool: Tool) -> Extraction:
    """Off the event loop where it takes many milliseconds."""
    now = datetime.now(UTC)
    if len(tool.parameters) < _MANY_PARAMETERS:
        return extract_parameters(instruction, tool, now=now)
    return await asyncio.to_thread(extract_parameters, instruction, tool, now=now)


async def _ladder(
    question: Question,
    ranked: Ranked,
    watch: Stopwatch,
    reason: str,
    engine: str | None = None,
    given: ModelAnswer | None = None,
) -> Outcome:
    """The ranker's best candidate. `given`: what the model said, if it did."""
    if engine is not None and given is None:
        watch.lap("generate")
    chosen = ranked.candidates[0].tool
    extraction = await _extracted(question.instruction, chosen)
    watch.lap("parameters")
    outcome = Outcome(
        chosen,
        extraction.parameters,
        extraction.missing,
        tuple(ranked.candidates),
        "ranker",
        NO_MODEL_USAGE,
        degraded_reason=reason,
        engine=engine,
    )
    if given is None:
        return outcome
    assert isinstance(given.answer, InvalidAnswer)
    return replace(
        outcome,
        usage=given.usage,
        adapter=given.model,
        raw_output=given.answer.text,
        problems=(AnswerProblem(given.answer.kind, None, given.answer.detail),),
    )
