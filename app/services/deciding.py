"""From ranked candidates to one call: the model's where one answers, else the ladder's."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import structlog

from app.calling.answers import Answer
from app.calling.extraction import extract_parameters
from app.calling.mending import mend
from app.domain import AnswerProblem, Candidate, DecisionRule, Json, Tool
from app.errors import EngineError, InvalidAnswer, ModelUnavailable, PromptTooLong
from app.retrieval.hints import interaction_relevance, with_hints
from app.retrieval.preferences import Profile, Vector
from app.services.model_calls import NO_MODEL_USAGE, ModelAnswer, ModelCaller, ModelRequest
from app.services.stopwatch import Stopwatch

NO_ENGINE = "no_engine"
INVALID_PARAMETERS = "invalid_parameters"
CANDIDATES_TOO_LONG = "candidates_too_long"
_LADDER = "The preference ranker chose the tool, and the parameters are those that could be read from the instruction."
DEGRADED = {
    NO_ENGINE: f"No language model is configured. {_LADDER}",
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


@dataclass(frozen=True)
class Ranked:
    candidates: list[Candidate]
    """Best first."""
    attributes: Vector
    """(m, d): of the candidates, in their order."""
    profile: Profile


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
    raw_output: str | None = None
    problems: tuple[AnswerProblem, ...] = ()


class Decider:
    def __init__(self, model: ModelCaller | None, *, rule: DecisionRule, timeout: float) -> None:
        self._model = model
        self._rule = rule
        self._timeout = timeout

    def check(self, question: Question) -> None:
        """Raises `ModelUnavailable` where only a model may answer and there is none."""
        if self._model is None and not question.allow_degraded:
            raise ModelUnavailable(
                "No language model is configured, and allow_degraded is false.", retry_after=_RETRY_AFTER_SECONDS
            )

    async def decide(self, question: Question, ranked: Ranked, watch: Stopwatch) -> Outcome:
        """Laps `prompt`, `generate`, `read` and `parameters`.

        Raises `PromptTooLong` for the instruction, `CallerGone`; where it may not be degraded also `EngineError`,
        `InvalidAnswer`.
        """
        if self._model is None:
            return _ladder(question, ranked, watch, NO_ENGINE)
        engine = self._model.engine.name
        try:
            answer = await self._model.answer(self._request(question, ranked), watch)
        except EngineError as error:
            log.warning("engine_failed", reason=error.reason, detail=error.detail[:_LOGGED])
            if not question.allow_degraded:
                raise
            return _ladder(question, ranked, watch, error.reason, engine)
        except PromptTooLong as error:
            if error.extra.get("part") != "candidates" or not question.allow_degraded:
                raise
            return _ladder(question, ranked, watch, CANDIDATES_TOO_LONG, engine)
        if isinstance(answer.answer, InvalidAnswer):
            if not question.allow_degraded:
                raise answer.answer
            return _ladder(question, ranked, watch, answer.answer.reason, engine, answer)
        return self._of_model(question, answer.answer, answer, watch)

    def _request(self, question: Question, ranked: Ranked) -> ModelRequest:
        profile = ranked.profile
        return ModelRequest(
            question.instruction,
            profile.setting,
            profile.interactions,
            interaction_relevance(ranked.attributes, profile),
            with_hints(ranked.candidates, ranked.attributes, profile),
            question.rule or self._rule,
            min(question.timeout or self._timeout, self._timeout),
            question.abandoned,
        )

    def _of_model(self, question: Question, answer: Answer, given: ModelAnswer, watch: Stopwatch) -> Outcome:
        assert self._model is not None
        parameters = answer.parameters
        missing: list[str] = []
        if answer.problems:
            if not question.allow_degraded:
                first = answer.problems[0]
                raise InvalidAnswer(first.reason, kind=first.kind, text=answer.text)
            extraction = extract_parameters(question.instruction, answer.tool, now=datetime.now(UTC))
            parameters, missing = mend(answer, extraction.parameters)
            watch.lap("parameters")
        return Outcome(
            answer.tool,
            parameters,
            tuple(missing),
            given.candidates,
            given.decided_by,
            given.usage,
            degraded_reason=INVALID_PARAMETERS if answer.problems else None,
            engine=self._model.engine.name,
            adapter=given.model,
            raw_output=answer.text,
            problems=tuple(AnswerProblem(item.kind, item.name, item.reason) for item in answer.problems),
        )


def _ladder(
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
    extraction = extract_parameters(question.instruction, chosen, now=datetime.now(UTC))
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
