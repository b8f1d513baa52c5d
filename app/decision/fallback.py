"""The answer without a model's valid call: the preference ranker's tool, parameters read from the instruction, and why.

Every answer that is made here, or whose parameters had to be repaired, is marked as degraded with one of `DEGRADED`.
"""

from collections.abc import Mapping
from typing import Any

from app.decision.filling import read_parameters
from app.decision.model import NO_USAGE
from app.decision.ranking import Ranked
from app.decision.stopwatch import Stopwatch
from app.domain import Decision, Json, ToolCall

NO_ENGINE = "no_engine"
NOT_LOADED = "model_not_loaded"
INVALID_PARAMETERS = "invalid_parameters"
CANDIDATES_TOO_LONG = "candidates_too_long"
_FALLBACK = (
    "The preference ranker chose the tool, and the parameters are those that could be read from the instruction."
)
WHY_NO_MODEL: Mapping[str, str] = {
    NO_ENGINE: "No language model is configured.",
    NOT_LOADED: "The shipped language model could not be loaded when the service started.",
}
DEGRADED: Mapping[str, str] = {
    **{reason: f"{why} {_FALLBACK}" for reason, why in WHY_NO_MODEL.items()},
    "engine_unavailable": f"The language model's engine does not answer. {_FALLBACK}",
    "engine_overloaded": f"Too many requests wait for the language model already. {_FALLBACK}",
    "engine_timeout": f"The language model did not answer in time. {_FALLBACK}",
    "engine_refused": f"The language model's engine does not take this request. {_FALLBACK}",
    "invalid_answer": f"What the language model wrote is not a call of one of the candidates. {_FALLBACK}",
    INVALID_PARAMETERS: "The language model chose the tool, but not all its parameters were valid; `problems` tells "
    "which. They were read from the instruction instead, or left out.",
    CANDIDATES_TOO_LONG: f"Not even one candidate's document fits the prompt. {_FALLBACK}",
}
"""What each `degraded_reason` means."""


async def fall_back(
    ranked: Ranked, reason: str, watch: Stopwatch, usage: Mapping[str, Json] = NO_USAGE, **details: Any
) -> Decision:
    """The ranker's best candidate. `reason`: one of `DEGRADED`; `details`: other fields of the decision."""
    tool = ranked.candidates[0].tool
    extraction = await read_parameters(ranked.query, tool)
    watch.lap("parameters")
    return Decision(
        instruction=ranked.query.text,
        history_setting=ranked.profile.setting,
        tool_call=ToolCall(tool.name, extraction.parameters),
        candidates=tuple(ranked.candidates),
        evidence=ranked.explain(tool),
        degraded_reason=reason,
        missing_parameters=extraction.missing,
        usage=usage,
        **details,
    )
