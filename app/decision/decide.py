"""From ranked candidates to one call: the model's where it writes a valid one, else the fallback's."""

import asyncio

import structlog

from app.decision.choice import Choice, choose
from app.decision.fallback import CANDIDATES_TOO_LONG, INVALID_PARAMETERS, fall_back
from app.decision.filling import Filled, NoCall, fill
from app.decision.model import Model, PromptedModel, prompt_model, token_usage
from app.decision.policy import Policy
from app.decision.ranking import Ranked, prepare
from app.decision.stopwatch import Stopwatch
from app.domain import AnswerProblem, Decision, ToolCall
from app.errors import EngineError, InvalidAnswer, PromptTooLong

_LOGGED_CHARACTERS = 300
log = structlog.get_logger("petool")


async def decide(ranked: Ranked, policy: Policy, model: Model, watch: Stopwatch | None = None) -> Decision:
    """The call by `policy`. Where the model gives no valid one, `failure` says why, and the call is the fallback's.

    `ranked`: candidates that have hints already are taken as they are.
    Laps `hints`, `prompt`, `generate` and `parameters`. Raises PromptTooLong (part `instruction`).
    """
    watch = watch or Stopwatch()
    ranked = await _prepare(ranked, policy, model)
    watch.lap("hints")
    try:
        return await _ask(ranked, policy, model, watch)
    except EngineError as error:
        log.warning("engine_failed", reason=error.reason, detail=error.detail[:_LOGGED_CHARACTERS])
        watch.lap("generate")
        return await fall_back(ranked, error.reason, watch, failure=error, engine=model.engine.name)
    except PromptTooLong as error:
        if error.extra.get("part") != "candidates":
            raise
        watch.lap("prompt")
        return await fall_back(ranked, CANDIDATES_TOO_LONG, watch, failure=error, engine=model.engine.name)


async def _prepare(ranked: Ranked, policy: Policy, model: Model) -> Ranked:
    if ranked.has_hints:
        return ranked
    if model.matcher is None:
        return prepare(ranked, policy, None)
    # A millisecond for each tool.
    return await asyncio.to_thread(prepare, ranked, policy, model.matcher)


async def _ask(ranked: Ranked, policy: Policy, model: Model, watch: Stopwatch) -> Decision:
    prompted = await prompt_model(model, ranked, policy)
    watch.lap("prompt")
    choice = await choose(prompted, ranked, policy)
    watch.lap("generate")
    try:
        filled = await fill(prompted, choice, ranked.query, policy)
    except NoCall as error:
        watch.lap("generate")
        return await _fall_back_from(error, ranked, prompted, watch)
    watch.lap("parameters")
    return _decision(ranked, prompted, choice, filled)


def _decision(ranked: Ranked, prompted: PromptedModel, choice: Choice, filled: Filled) -> Decision:
    problems, last = filled.problems, filled.written[-1]
    failure = None
    if problems:
        failure = InvalidAnswer(problems[0].reason, kind=problems[0].kind, text=last.generation.text)
    return Decision(
        instruction=ranked.query.text,
        history_setting=ranked.profile.setting,
        tool_call=ToolCall(filled.tool.name, filled.parameters),
        candidates=choice.candidates,
        evidence=ranked.explain(filled.tool),
        degraded_reason=INVALID_PARAMETERS if problems else None,
        failure=failure,
        decided_by=filled.decided_by.value,
        engine=prompted.model.engine.name,
        adapter=last.generation.model,
        raw_output=last.generation.text,
        problems=problems,
        missing_parameters=filled.missing,
        usage=token_usage(prompted, filled.written),
    )


async def _fall_back_from(error: NoCall, ranked: Ranked, prompted: PromptedModel, watch: Stopwatch) -> Decision:
    """Keeps what the model wrote."""
    reason, generation = error.reason, error.written[-1].generation
    return await fall_back(
        ranked,
        reason.reason,
        watch,
        failure=reason,
        engine=prompted.model.engine.name,
        adapter=generation.model,
        raw_output=generation.text,
        problems=(AnswerProblem(reason.kind, None, reason.detail),),
        usage=token_usage(prompted, error.written),
    )
