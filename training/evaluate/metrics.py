"""What is right and wrong with an answer (paper, sections 3.4 and 5.5).

The paper's figures agree with each other in one reading only (tables 1 and 2, to a rounding; docs/evaluation.md):

    Tool Acc  = 100 - IF - TH - TFM - TPM
    Param Acc = 100 - IF - PNM - PVM

Both over *all* instances: the parameters are compared with those of the right call whichever tool was called, which
for a tool of the same functionality, with the same inputs, they can equal. So an answer has up to two errors, one on
the side of the tool and one on that of the parameters, and an invalid format is both. `Judgement.error` is the first
of them: one kind an instance, as parts of a whole.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.answers.reading import ErrorType
from app.domain import Json
from app.json_data.values import replace_unstorable
from training.data.records import Instance


class ErrorKind(StrEnum):
    """The paper's six (table 2), and one that is no model's: in the order in which the first one is looked for."""

    FAILED_REQUEST = "failed_request"
    """There is no answer: the engine or endpoint gave none at the last try, or the prompt did not fit."""
    INVALID_FORMAT = "invalid_format"
    TOOL_HALLUCINATION = "tool_hallucination"
    TOOL_FUNCTIONALITY_MISMATCH = "tool_functionality_mismatch"
    """It calls a candidate that cannot do the job."""
    TOOL_PREFERENCE_MISMATCH = "tool_preference_mismatch"
    """It calls a candidate that can do the job, and that this user does not prefer."""
    PARAMETER_NAME_MISMATCH = "parameter_name_mismatch"
    """The names of the parameters are not those of the right call: one is missing, or too many."""
    PARAMETER_VALUE_MISMATCH = "parameter_value_mismatch"
    """The names are, a value is not."""


SHORT = {
    ErrorKind.FAILED_REQUEST: "failed",
    ErrorKind.INVALID_FORMAT: "IF",
    ErrorKind.TOOL_HALLUCINATION: "TH",
    ErrorKind.TOOL_FUNCTIONALITY_MISMATCH: "TFM",
    ErrorKind.TOOL_PREFERENCE_MISMATCH: "TPM",
    ErrorKind.PARAMETER_NAME_MISMATCH: "PNM",
    ErrorKind.PARAMETER_VALUE_MISMATCH: "PVM",
}
"""The paper's abbreviations."""
_OF_READING = {
    ErrorType.INVALID_FORMAT.value: ErrorKind.INVALID_FORMAT,
    ErrorType.TOOL_HALLUCINATION.value: ErrorKind.TOOL_HALLUCINATION,
}


@dataclass(frozen=True)
class Said:
    """What a system answered: a tool and parameters, or why there is no call of a candidate."""

    tool: str | None
    """Name of a candidate; None where `problem` says why."""
    parameters: Mapping[str, Json] | None
    """None where there are none to compare; under the tool's own names."""
    problem: str | None = None
    """`invalid_format` or `tool_hallucination` (`app.answers.reading`), or `failed_request`."""


@dataclass(frozen=True)
class Judgement:
    tool_error: ErrorKind | None
    parameter_error: ErrorKind | None

    @property
    def tool(self) -> bool:
        """Tool Acc counts it."""
        return self.tool_error is None

    @property
    def parameters(self) -> bool:
        """Param Acc counts it."""
        return self.parameter_error is None

    @property
    def joint(self) -> bool:
        """Right tool and right parameters: the call that the user would want."""
        return self.tool and self.parameters

    @property
    def error(self) -> ErrorKind | None:
        """The first thing wrong, in the order of `ErrorKind`; None for the right call."""
        return self.tool_error or self.parameter_error


def judge(said: Said, instance: Instance) -> Judgement:
    if said.problem == ErrorKind.FAILED_REQUEST:
        return Judgement(ErrorKind.FAILED_REQUEST, ErrorKind.FAILED_REQUEST)
    tool_error = _tool_error(said, instance)
    if tool_error is ErrorKind.INVALID_FORMAT:
        return Judgement(tool_error, tool_error)
    return Judgement(tool_error, _parameter_error(said.parameters, instance.answer.parameters))


def _tool_error(said: Said, instance: Instance) -> ErrorKind | None:
    if said.problem is not None:
        return _OF_READING[said.problem]
    if said.tool == instance.answer.tool_name:
        return None
    if said.tool in instance.same_function:
        return ErrorKind.TOOL_PREFERENCE_MISMATCH
    if said.tool in instance.candidates:
        return ErrorKind.TOOL_FUNCTIONALITY_MISMATCH
    return ErrorKind.TOOL_HALLUCINATION


def _parameter_error(said: Mapping[str, Json] | None, right: Mapping[str, Json]) -> ErrorKind | None:
    if said is None or said.keys() != right.keys():
        return ErrorKind.PARAMETER_NAME_MISMATCH
    if all(same_value(said[name], value) for name, value in right.items()):
        return None
    return ErrorKind.PARAMETER_VALUE_MISMATCH


def same_value(one: Json, other: Json) -> bool:
    """Equal as JSON: numbers by what they are worth (1 is 1.0), and no number is a truth value; objects whatever the
    order of their keys, arrays in theirs; texts to the letter, but for what cannot be stored (`replace_unstorable`)."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return bool(replace_unstorable(one) == replace_unstorable(other))
    return bool(one == other)
