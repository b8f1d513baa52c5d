"""Which pictures the report has, drawn from the evaluations there are."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from app.domain import HistorySetting
from training.data.dataset import Dataset
from training.data.records import Part
from training.evaluate import plots
from training.evaluate.evaluations import EvaluatedSystem
from training.evaluate.scores import ALL, SETTINGS, Scores, history_length
from training.evaluate.statistics import Share
from training.evaluate.tables import LENGTHS, category, length_name

MOST_LINES = 6
"""Systems in a picture that has a colour for each."""


@dataclass(frozen=True)
class Picture:
    name: str
    """Of the file, without ending."""
    alt: str
    """What is to be seen, for those who do not."""
    draw: Callable[[], Figure]


def accuracy_picture(systems: Sequence[EvaluatedSystem], part: Part) -> Picture:
    rows = {system.config.title: _accuracies(system.scores(part)) for system in systems}
    best = max(systems, key=lambda system: system.scores(part).by_setting[ALL].tool.percent)
    percent = best.scores(part).by_setting[ALL].tool.percent
    alt = (
        f"Tool and parameter accuracy of {len(systems)} systems by history setting, with 95% intervals; the highest "
        f"tool accuracy over all settings is {percent:.1f}% ({best.config.title})."
    )
    return Picture(f"accuracy-{part.value}", alt, lambda: plots.accuracies(rows))


def error_picture(systems: Sequence[EvaluatedSystem], part: Part) -> Picture:
    rows = {system.config.title: system.scores(part).first_errors() for system in systems}
    alt = f"Stacked bars: the share of right calls and of each first error, for {len(systems)} systems."
    return Picture(f"errors-{part.value}", alt, lambda: plots.first_errors(rows))


def history_picture(pairs: Sequence[tuple[EvaluatedSystem, EvaluatedSystem]], part: Part) -> Picture:
    """Of systems and the same without history."""
    rows: dict[str, tuple[Share, plots.Shares]] = {}
    for system, without in pairs:
        rows[system.config.title] = (without.scores(part).by_setting[ALL].tool, _accuracies(system.scores(part))[0])
    alt = f"Bars: tool accuracy of {len(rows)} systems without history, and with it in each setting."
    return Picture(f"history-{part.value}", alt, lambda: plots.with_and_without_history(rows))


def length_picture(systems: Sequence[EvaluatedSystem], part: Part) -> Picture:
    rows: dict[str, Mapping[str, Share]] = {}
    for system in leading(systems, part, MOST_LINES):
        judged = system.scores(part).of(HistorySetting.PREFERRED_ONLY)
        bins = {
            length_name(ends): [each.judgement.tool for each in judged if ends[0] <= history_length(each) <= ends[1]]
            for ends in LENGTHS
        }
        if judged:
            rows[system.config.title] = {name: Share(sum(hits), len(hits)) for name, hits in bins.items() if hits}
    used = [name for name in map(length_name, LENGTHS) if any(name in shares for shares in rows.values())]
    alt = "Lines: tool accuracy by number of interactions in the history, preferred-only, with 95% intervals."
    return Picture(f"lengths-{part.value}", alt, lambda: plots.by_length(rows, used))


def instances_picture(dataset: Dataset) -> Picture:
    counts = {
        part.value: {setting: sum(each.setting is setting for each in dataset.of(part)) for setting in SETTINGS}
        for part in Part
    }
    test = dataset.of(Part.TEST)
    lengths = {setting: Counter(len(each.history) for each in test if each.setting is setting) for setting in SETTINGS}
    alt = "Left: instances by part and history setting. Right: test instances by length of the history."
    return Picture("instances", alt, lambda: plots.instances(counts, lengths))


def category_picture(systems: Sequence[EvaluatedSystem], dataset: Dataset, part: Part) -> Picture:
    counts = Counter(category(each, dataset) for each in dataset.of(part))
    rows = {}
    for system in leading(systems, part, MOST_LINES):
        cells = system.scores(part).by(lambda each: category(each.instance, dataset))
        rows[system.config.title] = {str(name): cell.tool for name, cell in cells.items()}
    alt = f"Instances in each of {len(counts)} categories, and each system's tool accuracy there."
    return Picture(f"categories-{part.value}", alt, lambda: plots.categories(counts, rows))


def leading(systems: Sequence[EvaluatedSystem], part: Part, count: int) -> list[EvaluatedSystem]:
    """The best by tool accuracy, in their own order."""
    best = sorted(systems, key=lambda system: -system.scores(part).by_setting[ALL].tool.percent)[:count]
    return [system for system in systems if system in best]


def _accuracies(scores: Scores) -> tuple[plots.Shares, plots.Shares]:
    cells = {setting: scores.by_setting[setting.value] for setting in SETTINGS if setting.value in scores.by_setting}
    return (
        {setting: cell.tool for setting, cell in cells.items()},
        {setting: cell.parameters for setting, cell in cells.items()},
    )
