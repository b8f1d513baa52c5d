"""What is right and wrong with answers (paper, sections 3.4 and 5.5), for one answer and counted over many.

The paper's figures agree with each other in one reading only (tables 1 and 2, to a rounding; docs/evaluation.md):

    Tool Acc  = 100 - IF - TH - TFM - TPM
    Param Acc = 100 - IF - PNM - PVM

Both over *all* instances: the parameters are compared with those of the right call whichever tool was called, which
for a tool of the same functionality, with the same inputs, they can equal. So an answer has up to two errors, one on
the side of the tool and one on that of the parameters, and an invalid format is both. `Judgement.error` is the first
of them: one kind an instance, as parts of a whole.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from app.answers.reading import ErrorType
from app.domain import HistorySetting, Json
from app.json_data.values import replace_unstorable
from training.data.records import Instance
from training.evaluate.statistics import PairedTest, Share, paired_test

SETTINGS = (HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL)
"""In the paper's order."""
ALL = "all"
METRICS = ("tool", "parameters", "joint")
"""Properties of `Judgement`."""


class ErrorKind(StrEnum):
    """The paper's six kinds (table 2) and one that is no model's, in the order in which the first one is looked for."""

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


ABBREVIATIONS = {
    ErrorKind.FAILED_REQUEST: "failed",
    ErrorKind.INVALID_FORMAT: "IF",
    ErrorKind.TOOL_HALLUCINATION: "TH",
    ErrorKind.TOOL_FUNCTIONALITY_MISMATCH: "TFM",
    ErrorKind.TOOL_PREFERENCE_MISMATCH: "TPM",
    ErrorKind.PARAMETER_NAME_MISMATCH: "PNM",
    ErrorKind.PARAMETER_VALUE_MISMATCH: "PVM",
}
"""The paper's abbreviations."""
_READING_ERRORS = {
    ErrorType.INVALID_FORMAT.value: ErrorKind.INVALID_FORMAT,
    ErrorType.TOOL_HALLUCINATION.value: ErrorKind.TOOL_HALLUCINATION,
}


@dataclass(frozen=True)
class AnsweredCall:
    """What a system answered: a tool and parameters, or why there is no call of a candidate."""

    tool: str | None
    """Name of a candidate; None where `problem` says why there is none."""
    parameters: Mapping[str, Json] | None
    """Values by the tool's own parameter names; None where there are none to compare."""
    problem: str | None = None
    """`invalid_format` or `tool_hallucination` (`app.answers.reading`), or `failed_request`."""


@dataclass(frozen=True)
class Judgement:
    """What is wrong with the tool of an answer, and what with its parameters; None where nothing is."""

    tool_error: ErrorKind | None
    parameter_error: ErrorKind | None

    @property
    def tool(self) -> bool:
        """Whether Tool Acc counts the answer as right."""
        return self.tool_error is None

    @property
    def parameters(self) -> bool:
        """Whether Param Acc counts the answer as right."""
        return self.parameter_error is None

    @property
    def joint(self) -> bool:
        """Whether tool and parameters are right: the call that the user would want."""
        return self.tool and self.parameters

    @property
    def error(self) -> ErrorKind | None:
        """The first thing wrong, in the order of `ErrorKind`; None for the right call."""
        return self.tool_error or self.parameter_error


def judge(call: AnsweredCall, instance: Instance) -> Judgement:
    """Compare an answer with the instance's right call."""
    if call.problem == ErrorKind.FAILED_REQUEST:
        return Judgement(ErrorKind.FAILED_REQUEST, ErrorKind.FAILED_REQUEST)
    tool_error = _tool_error(call, instance)
    if tool_error is ErrorKind.INVALID_FORMAT:
        return Judgement(tool_error, tool_error)
    return Judgement(tool_error, _parameter_error(call.parameters, instance.answer.parameters))


def _tool_error(call: AnsweredCall, instance: Instance) -> ErrorKind | None:
    if call.problem is not None:
        return _READING_ERRORS[call.problem]
    if call.tool == instance.answer.tool_name:
        return None
    if call.tool in instance.same_function:
        return ErrorKind.TOOL_PREFERENCE_MISMATCH
    if call.tool in instance.candidates:
        return ErrorKind.TOOL_FUNCTIONALITY_MISMATCH
    return ErrorKind.TOOL_HALLUCINATION


def _parameter_error(answered: Mapping[str, Json] | None, right: Mapping[str, Json]) -> ErrorKind | None:
    if answered is None or answered.keys() != right.keys():
        return ErrorKind.PARAMETER_NAME_MISMATCH
    if all(same_value(answered[name], value) for name, value in right.items()):
        return None
    return ErrorKind.PARAMETER_VALUE_MISMATCH


def same_value(one: Json, other: Json) -> bool:
    """Tell whether two values are equal as JSON.

    Numbers are compared by what they are worth (1 is 1.0), and no number is a truth value; objects whatever the order
    of their keys, arrays in theirs; texts to the letter, but for what cannot be stored (`replace_unstorable`).
    """
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same_value(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_value, one, other))
    if isinstance(one, str) and isinstance(other, str):
        return bool(replace_unstorable(one) == replace_unstorable(other))
    return bool(one == other)


@dataclass(frozen=True)
class Judged:
    instance: Instance
    judgement: Judgement


@dataclass(frozen=True)
class Accuracies:
    """Tool Acc, Param Acc and both together, over the same instances."""

    tool: Share
    parameters: Share
    joint: Share

    @property
    def count(self) -> int:
        """How many instances."""
        return self.tool.count


class Scores:
    """The judged answers of one system to some instances of one part, counted in several ways."""

    def __init__(self, judged: Sequence[Judged]) -> None:
        self.judged = judged

    def __len__(self) -> int:
        return len(self.judged)

    @cached_property
    def by_setting(self) -> dict[str, Accuracies]:
        """The settings there are answers of, in the paper's order, and `all` of them together."""
        found = {setting.value: count_accuracies(self.of(setting)) for setting in SETTINGS}
        found[ALL] = count_accuracies(self.judged)
        return {name: each for name, each in found.items() if each.count}

    def of(self, setting: HistorySetting | None) -> list[Judged]:
        """Those of one setting; of all for None."""
        return [each for each in self.judged if setting is None or each.instance.setting is setting]

    def by(self, key: Callable[[Judged], str]) -> dict[str, Accuracies]:
        """Accuracies of the instances of each key, in the order of the keys."""
        grouped: dict[str, list[Judged]] = defaultdict(list)
        for each in self.judged:
            grouped[key(each)].append(each)
        return {name: count_accuracies(grouped[name]) for name in sorted(grouped)}

    def errors(self, setting: HistorySetting | None = None) -> dict[ErrorKind, Share]:
        """Errors as the paper's table 2 counts them.

        An instance is counted once on the tool's side and once on the parameters'; invalid formats and failed requests
        on both.
        """
        counts: Counter[ErrorKind | None] = Counter()
        judged = self.of(setting)
        for each in judged:
            counts.update({each.judgement.tool_error, each.judgement.parameter_error})
        return {kind: Share(counts[kind], len(judged)) for kind in ErrorKind}

    def first_errors(self) -> dict[ErrorKind | None, Share]:
        """One kind an instance, None for the right call: parts of a whole."""
        counts = Counter(each.judgement.error for each in self.judged)
        return {kind: Share(counts[kind], len(self.judged)) for kind in (None, *ErrorKind)}


def count_accuracies(judged: Iterable[Judged]) -> Accuracies:
    judgements = [each.judgement for each in judged]
    hits = (sum(getattr(each, metric) for each in judgements) for metric in METRICS)
    return Accuracies(*(Share(count, len(judgements)) for count in hits))


def score_calls(calls: Mapping[str, AnsweredCall], instances: Iterable[Instance]) -> Scores:
    """Judge the instances that have an answer, or a failed request; `calls` by the instances' ids."""
    return Scores([Judged(each, judge(calls[each.id], each)) for each in instances if each.id in calls])


def compare_scores(
    first: Scores, second: Scores, metric: str, setting: HistorySetting | None = None
) -> PairedTest | None:
    """Test two systems against each other on the instances of both; None where there are none."""
    others = {each.instance.id: each.judgement for each in second.of(setting)}
    pairs = [
        (getattr(each.judgement, metric), getattr(others[each.instance.id], metric))
        for each in first.of(setting)
        if each.instance.id in others
    ]
    return paired_test(*map(list, zip(*pairs, strict=True))) if pairs else None


def history_length(judged: Judged) -> int:
    return len(judged.instance.history)
