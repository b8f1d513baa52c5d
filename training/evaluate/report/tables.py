"""The report's tables, as text to be laid out: nothing is measured here, and what is missing is said to be missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from app.domain import HistorySetting
from training.data.dataset import Dataset
from training.data.records import Instance, Part
from training.evaluate.answers import EvaluatedSystem
from training.evaluate.metrics import (
    ABBREVIATIONS,
    ALL,
    METRICS,
    SETTINGS,
    ErrorKind,
    Judged,
    Scores,
    compare_scores,
    history_length,
)
from training.evaluate.report.paper import TABLE_1, TABLE_2
from training.evaluate.statistics import PairedTest, Share

_NOTHING = "–"
_PAPER = "The paper, on its own data"
_PAPER_MODEL = "PEToolLLaMA"
LENGTHS = ((1, 3), (4, 5), (6, 7), (8, 9), (10, 12), (13, 15), (16, 10**6))
"""Numbers of interactions in a history that are counted together, both ends included."""


@dataclass(frozen=True)
class Line:
    cells: tuple[str, ...]
    kind: Literal["ours", "paper", "missing", "heading"] = "ours"


@dataclass(frozen=True)
class Table:
    head: tuple[str, ...]
    lines: tuple[Line, ...]


def accuracy_table(systems: Sequence[EvaluatedSystem], part: Part, *, paper: bool) -> Table:
    """The paper's table 1."""
    columns = [f"{name} {what}" for name in (*map(setting_name, SETTINGS), ALL) for what in ("Tool", "Param")]
    names = [*(setting.value for setting in SETTINGS), ALL]
    lines = []
    for system in systems:
        scores = system.scores(part)
        if not len(scores):
            lines.append(_missing(system.config.title, len(columns) + 2))
            continue
        cells = [scores.by_setting.get(name) for name in names]
        shown = [
            text for each in cells for text in (_percents([each.tool, each.parameters]) if each else [_NOTHING] * 2)
        ]
        lines.append(
            Line((system.config.title, *shown, _percent(cells[-1].joint) if cells[-1] else "", f"{len(scores):,}"))
        )
    if paper:
        lines.append(Line((_PAPER, *[""] * (len(columns) + 2)), "heading"))
        for method, row in TABLE_1.items():
            cells_of = [f"{value:.1f}" for name in names for value in row[name]]
            lines.append(Line((method, *cells_of, _NOTHING, _NOTHING), "paper"))
    return Table(("system", *columns, "all, both", "n"), tuple(lines))


def error_table(systems: Sequence[EvaluatedSystem], part: Part, setting: HistorySetting) -> Table:
    """The paper's table 2, for one setting."""
    kinds = [kind for kind in ErrorKind if kind is not ErrorKind.FAILED_REQUEST] + [ErrorKind.FAILED_REQUEST]
    lines = []
    for system in systems:
        scores = system.scores(part)
        if judged := scores.of(setting):
            errors = scores.errors(setting)
            lines.append(Line((system.config.title, *(_percent(errors[kind]) for kind in kinds), f"{len(judged):,}")))
    if setting in TABLE_2:
        lines.append(Line((_PAPER, *[""] * (len(kinds) + 1)), "heading"))
        for method, row in TABLE_2[setting].items():
            lines.append(
                Line((method, *(f"{row[kind]:.1f}" if kind in row else _NOTHING for kind in kinds), _NOTHING), "paper")
            )
    return Table(("system", *(ABBREVIATIONS[kind] for kind in kinds), "n"), tuple(lines))


def significance_table(systems: Sequence[EvaluatedSystem], baseline: EvaluatedSystem, part: Part) -> Table:
    """Test every system against the baseline, on the instances that both answered."""
    lines = []
    for system in systems:
        tests = [compare_scores(system.scores(part), baseline.scores(part), metric) for metric in METRICS]
        if system.name == baseline.name or tests[0] is None:
            continue
        shown = [text for test in tests if test is not None for text in (_difference(test), _p_value(test.p))]
        lines.append(Line((system.config.title, *shown, f"{tests[0].count:,}")))
    head = ("system", "Tool Acc", "p", "Param Acc", "p", "both", "p", "n")
    return Table(head, tuple(lines))


@dataclass(frozen=True)
class AblationRow:
    """One ablation of a system, evaluated or not."""

    title: str
    system: EvaluatedSystem | None
    paper: str | None


def ablation_table(full: EvaluatedSystem, rows: Sequence[AblationRow], part: Part) -> Table:
    whole = full.scores(part)
    lines = [Line((full.config.title, *_accuracies(whole), _NOTHING, _NOTHING, f"{len(whole):,}"))]
    for row in rows:
        scores = row.system.scores(part) if row.system is not None else Scores([])
        test = compare_scores(scores, whole, "tool")
        if test is None:
            lines.append(_missing(row.title, 6))
            continue
        lines.append(Line((row.title, *_accuracies(scores), _difference(test), _p_value(test.p), f"{test.count:,}")))
    if full.config.paper == _PAPER_MODEL:
        lines += _paper_ablations()
    return Table(("system", "Tool Acc", "Param Acc", "both", "Tool Acc, difference", "p", "n"), tuple(lines))


def _paper_ablations() -> Iterator[Line]:
    yield Line((_PAPER, *[""] * 6), "heading")
    for method in (_PAPER_MODEL, "w/o DPO", "w/o SFT"):
        tool, parameters = TABLE_1[method][ALL]
        change = tool - TABLE_1[_PAPER_MODEL][ALL][0]
        shown = (
            f"{tool:.1f}",
            f"{parameters:.1f}",
            _NOTHING,
            f"{change:+.1f}" if change else _NOTHING,
            _NOTHING,
            _NOTHING,
        )
        yield Line((method, *shown), "paper")


def length_table(systems: Sequence[EvaluatedSystem], part: Part) -> Table:
    """Tool accuracy by number of interactions in the history."""
    lines = []
    for system in systems:
        for setting in SETTINGS:
            judged = system.scores(part).of(setting)
            if not judged:
                continue
            shares = [_within(judged, *ends) for ends in LENGTHS]
            shown = [f"{_percent(each)} ({each.count:,})" if each.count else _NOTHING for each in shares]
            lines.append(Line((system.config.title, setting_name(setting), *shown)))
    return Table(("system", "setting", *map(length_name, LENGTHS)), tuple(lines))


def category_table(systems: Sequence[EvaluatedSystem], dataset: Dataset, part: Part) -> Table:
    """Tool accuracy by the right tool's category."""
    by_system = [system.scores(part).by(lambda each: category(each.instance, dataset)) for system in systems]
    names = sorted({name for cells in by_system for name in cells}, key=str)
    lines = []
    for name in names:
        cells = [cells.get(name) for cells in by_system]
        count = max(each.count for each in cells if each is not None)
        shown = [_percent(each.tool) if each is not None else _NOTHING for each in cells]
        lines.append(Line((str(name).replace("_", " "), f"{count:,}", *shown)))
    return Table(("category", "n", *(system.config.title for system in systems)), tuple(lines))


def category(instance: Instance, dataset: Dataset) -> str:
    """The category of the instance's right tool."""
    return dataset.tools[instance.answer.tool_name].category


def setting_name(setting: HistorySetting) -> str:
    return setting.value.replace("_", "-")


def length_name(ends: tuple[int, int]) -> str:
    low, high = ends
    return f"{low} or more" if high >= 10**6 else f"{low}–{high}"


def _p_value(p: float) -> str:
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _within(judged: Sequence[Judged], low: int, high: int) -> Share:
    hits = [each.judgement.tool for each in judged if low <= history_length(each) <= high]
    return Share(sum(hits), len(hits))


def _accuracies(scores: Scores) -> list[str]:
    cell = scores.by_setting[ALL]
    return _percents([cell.tool, cell.parameters, cell.joint])


def _percents(shares: Sequence[Share]) -> list[str]:
    return [_percent(each) for each in shares]


def _percent(share: Share) -> str:
    return f"{share.percent:.1f}"


def _difference(test: PairedTest) -> str:
    low, high = test.interval
    return f"{test.difference:+.1f} ({low:+.1f} to {high:+.1f})"


def _missing(title: str, columns: int) -> Line:
    return Line((title, "not evaluated", *[""] * (columns - 1)), "missing")
