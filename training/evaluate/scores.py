"""Answers judged and counted: by setting, by error type, by length of the history, by category."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from app.domain import HistorySetting
from training.data.records import Instance
from training.evaluate.answers import Row
from training.evaluate.metrics import ErrorKind, Judgement, judge
from training.evaluate.statistics import PairedTest, Share, paired, share

SETTINGS = (HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL)
ALL = "all"
METRICS = ("tool", "parameters", "joint")
"""Properties of `Judgement`."""


@dataclass(frozen=True)
class Judged:
    instance: Instance
    row: Row
    judgement: Judgement


@dataclass(frozen=True)
class Cell:
    """Accuracies over some instances."""

    tool: Share
    parameters: Share
    joint: Share

    @property
    def count(self) -> int:
        return self.tool.count


class Scores:
    """Of one system on some instances of one part."""

    def __init__(self, judged: Sequence[Judged]) -> None:
        self.judged = judged

    def __len__(self) -> int:
        return len(self.judged)

    @cached_property
    def by_setting(self) -> dict[str, Cell]:
        """The settings there are answers of, in the paper's order, and `all` of them together."""
        cells = {
            setting.value: cell(each for each in self.judged if each.instance.setting is setting)
            for setting in SETTINGS
        }
        return {name: each for name, each in {**cells, ALL: cell(self.judged)}.items() if each.count}

    def of(self, setting: HistorySetting | None) -> list[Judged]:
        """None: of all."""
        return [each for each in self.judged if setting is None or each.instance.setting is setting]

    def by(self, key: Callable[[Judged], str | int], setting: HistorySetting | None = None) -> dict[str | int, Cell]:
        """In the order of the keys."""
        grouped: dict[str | int, list[Judged]] = defaultdict(list)
        for each in self.of(setting):
            grouped[key(each)].append(each)
        return {name: cell(grouped[name]) for name in sorted(grouped)}

    def errors(self, setting: HistorySetting | None = None) -> dict[ErrorKind, Share]:
        """As the paper's table 2 counts them: an instance once on the tool's side and once on the parameters', the
        invalid formats and failed requests on both."""
        counts: Counter[ErrorKind | None] = Counter()
        judged = self.of(setting)
        for each in judged:
            counts.update({each.judgement.tool_error, each.judgement.parameter_error})
        return {kind: Share(counts[kind], len(judged)) for kind in ErrorKind}

    def first_errors(self, setting: HistorySetting | None = None) -> dict[ErrorKind | None, Share]:
        """One kind an instance, None for the right call: parts of a whole."""
        judged = self.of(setting)
        counts = Counter(each.judgement.error for each in judged)
        return {kind: Share(counts[kind], len(judged)) for kind in (None, *ErrorKind)}


def cell(judged: Iterable[Judged]) -> Cell:
    rows = [each.judgement for each in judged]
    return Cell(*(share([getattr(each, metric) for each in rows]) for metric in METRICS))


def scores_of(rows: Mapping[str, Row], instances: Iterable[Instance]) -> Scores:
    """Of the instances that have an answer, or a failed request."""
    return Scores(
        [Judged(each, rows[each.id], judge(rows[each.id].said, each)) for each in instances if each.id in rows]
    )


def compared(first: Scores, second: Scores, metric: str, setting: HistorySetting | None = None) -> PairedTest | None:
    """On the instances of both; None where there are none."""
    others = {each.instance.id: each.judgement for each in second.of(setting)}
    pairs = [
        (getattr(each.judgement, metric), getattr(others[each.instance.id], metric))
        for each in first.of(setting)
        if each.instance.id in others
    ]
    return paired(*map(list, zip(*pairs, strict=True))) if pairs else None


def history_length(judged: Judged) -> int:
    return len(judged.instance.history)
