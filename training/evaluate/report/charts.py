"""The report's charts, in the manner of the paper's figures 3 to 6, from the evaluations there are."""

import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.domain import HistorySetting
from training.common.plots import (
    BLUE,
    GREEN,
    GREY,
    LINE_COLOURS,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    YELLOW,
    draw_bars,
    draw_estimates,
    draw_lines,
    error_bars,
)
from training.data.dataset import Dataset
from training.data.records import Part
from training.evaluate.answers import EvaluatedSystem
from training.evaluate.metrics import ABBREVIATIONS, ALL, SETTINGS, ErrorKind, Scores, history_length
from training.evaluate.report.tables import LENGTHS, category, length_name, setting_name
from training.evaluate.statistics import Share

_MOST_LINES = len(LINE_COLOURS)
"""Systems in a chart that has a colour for each."""
_SETTING_NAMES = [setting_name(each) for each in SETTINGS]
_ERROR_COLOURS = {
    None: GREEN,
    ErrorKind.PARAMETER_VALUE_MISMATCH: SKY,
    ErrorKind.PARAMETER_NAME_MISMATCH: BLUE,
    ErrorKind.TOOL_PREFERENCE_MISMATCH: ORANGE,
    ErrorKind.TOOL_FUNCTIONALITY_MISMATCH: RED,
    ErrorKind.TOOL_HALLUCINATION: PURPLE,
    ErrorKind.INVALID_FORMAT: YELLOW,
    ErrorKind.FAILED_REQUEST: GREY,
}
_LIGHT_TEXT_ON = {BLUE, RED}
Shares = Mapping[str, Share]


@dataclass(frozen=True)
class Chart:
    name: str
    """Of the file, without ending."""
    alt: str
    """What is to be seen, for those who do not see it."""
    draw: Callable[[], Figure]


def accuracy_chart(systems: Sequence[EvaluatedSystem], part: Part) -> Chart:
    """Tool and parameter accuracy of each system by setting, with 95% intervals."""
    tool, parameters = (
        {each.config.title: _by_setting(each.scores(part), metric) for each in systems}
        for metric in ("tool", "parameters")
    )
    best = max(systems, key=lambda system: system.scores(part).by_setting[ALL].tool.percent)
    percent = best.scores(part).by_setting[ALL].tool.percent
    alt = (
        f"Tool and parameter accuracy of {len(systems)} systems by history setting, with 95% intervals; the highest "
        f"tool accuracy over all settings is {percent:.1f}% ({best.config.title})."
    )

    def draw() -> Figure:
        figure = Figure(figsize=(9, 0.42 * len(systems) + 1.4))
        left, right = figure.subplots(1, 2, sharey=True)
        draw_estimates(left, tool, _SETTING_NAMES, title="tool accuracy, percent")
        draw_estimates(right, parameters, _SETTING_NAMES, title="parameter accuracy, percent")
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figure

    return Chart(f"accuracy-{part.value}", alt, draw)


def error_chart(systems: Sequence[EvaluatedSystem], part: Part) -> Chart:
    """What each system's answers come to, as parts of all instances."""
    rows = {system.config.title: system.scores(part).first_errors() for system in systems}
    alt = f"Stacked bars: the share of right calls and of each first error, for {len(systems)} systems."

    def draw() -> Figure:
        figure = Figure(figsize=(9, 0.42 * len(rows) + 1.2))
        axes = figure.subplots()
        left = [0.0] * len(rows)
        for kind in _ERROR_COLOURS:
            widths = [shares[kind].percent for shares in rows.values()]
            if any(widths):
                _stack(axes, kind, left, widths)
                left = [before + width for before, width in zip(left, widths, strict=True)]
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set(xlim=(0, 100), ylim=(len(rows) - 0.5, -0.5), xlabel="percent of the instances")
        figure.legend(loc="outside upper center", ncols=8, handlelength=1.0, columnspacing=1.2)
        return figure

    return Chart(f"errors-{part.value}", alt, draw)


def _stack(axes: Axes, kind: ErrorKind | None, left: Sequence[float], widths: Sequence[float]) -> None:
    """Bars of one kind of error behind those before; what is wide enough is told in words."""
    name, colour = ABBREVIATIONS[kind] if kind is not None else "right call", _ERROR_COLOURS[kind]
    axes.barh(range(len(widths)), widths, left=list(left), color=colour, height=0.72, label=name)
    for place, width in enumerate(widths):
        if width >= 5:
            text = f"{name} {width:.0f}" if width >= 11 else f"{width:.0f}"
            text_colour = "white" if colour in _LIGHT_TEXT_ON else "#111111"
            axes.text(left[place] + width / 2, place, text, ha="center", va="center", fontsize=8, color=text_colour)


def history_chart(pairs: Sequence[tuple[EvaluatedSystem, EvaluatedSystem]], part: Part) -> Chart:
    """The paper's figure 5: tool accuracy of systems without history (the second of a pair), and with it."""
    rows = {
        system.config.title: {
            "no history": without.scores(part).by_setting[ALL].tool,
            **_by_setting(system.scores(part), "tool"),
        }
        for system, without in pairs
    }
    alt = f"Bars: tool accuracy of {len(rows)} systems without history, and with it in each setting."

    def draw() -> Figure:
        figure = Figure(figsize=(9, 3.2))
        axes = figure.subplots()
        for number, name in enumerate(("no history", *_SETTING_NAMES)):
            places = [place + 0.2 * number - 0.3 for place, shares in enumerate(rows.values()) if name in shares]
            shares = [each[name] for each in rows.values() if name in each]
            heights = [each.percent for each in shares]
            bars = axes.bar(
                places, heights, width=0.19, color=(GREY, *LINE_COLOURS)[number], label=name, yerr=error_bars(shares),
                error_kw={"lw": 0.8, "ecolor": "#7d7d7d"},
            )  # fmt: skip
            axes.bar_label(bars, [f"{each:.0f}" for each in heights], fontsize=7, padding=2)
        axes.set_xticks(range(len(rows)), [textwrap.fill(name, 16) for name in rows], fontsize=8)
        axes.set(ylabel="tool accuracy, percent", ylim=(0, 105))
        figure.legend(loc="outside upper center", ncols=4)
        return figure

    return Chart(f"history-{part.value}", alt, draw)


def length_chart(systems: Sequence[EvaluatedSystem], part: Part) -> Chart:
    """The paper's figure 6: tool accuracy by length of the history, preferred-only; a line a system."""
    lines = {each.config.title: _by_length(each.scores(part)) for each in leading(systems, part, _MOST_LINES)}
    lines = {name: shares for name, shares in lines.items() if shares}
    lengths = [name for name in map(length_name, LENGTHS) if any(name in shares for shares in lines.values())]
    alt = "Lines: tool accuracy by number of interactions in the history, preferred-only, with 95% intervals."

    def draw() -> Figure:
        figure = Figure(figsize=(9, 3.6))
        axes = figure.subplots()
        for shares in lines.values():
            heights = [each.percent for each in shares.values()]
            places = [lengths.index(name) for name in shares]
            axes.errorbar(places, heights, yerr=error_bars([*shares.values()]), elinewidth=0.7)
        ends = [(list(each.values())[-1].percent, lengths.index(list(each)[-1])) for each in lines.values()]
        highest = _name_lines(axes, list(lines), ends)
        axes.set_xticks(range(len(lengths)), lengths)
        axes.set(xlim=(-0.3, len(lengths) + 0.7), ylim=(0, max(100.0, highest + 4)))
        axes.set(xlabel="interactions in the history (preferred-only)", ylabel="tool accuracy, percent")
        axes.grid(axis="y", lw=0.6)
        return figure

    return Chart(f"lengths-{part.value}", alt, draw)


def _by_length(scores: Scores) -> Shares:
    judged = scores.of(HistorySetting.PREFERRED_ONLY)
    bins = {
        length_name(ends): [each.judgement.tool for each in judged if ends[0] <= history_length(each) <= ends[1]]
        for ends in LENGTHS
    }
    return {name: Share(sum(hits), len(hits)) for name, hits in bins.items() if hits}


def _name_lines(axes: Axes, names: Sequence[str], ends: Sequence[tuple[float, int]]) -> float:
    """Writes each name beside its line's last point (height, place), and returns how high the highest name stands."""
    lowest = -100.0
    for (height, place), name, colour in sorted(zip(ends, names, LINE_COLOURS, strict=False)):
        # Names that would lie on each other move up.
        lowest = max(height, lowest + 6)
        axes.annotate(
            name, (place, height), (place + 0.2, lowest), va="center", fontsize=8, annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 1},
        )  # fmt: skip
    return lowest


def instances_chart(dataset: Dataset) -> Chart:
    """The paper's figure 3: instances by part and setting; of the test part by length of the history."""
    counts = [[sum(each.setting is setting for each in dataset.of(part)) for part in Part] for setting in SETTINGS]
    test = dataset.of(Part.TEST)
    lengths = {
        setting_name(setting): sorted(Counter(len(each.history) for each in test if each.setting is setting).items())
        for setting in SETTINGS
    }
    alt = "Left: instances by part and history setting. Right: test instances by length of the history."

    def draw() -> Figure:
        figure = Figure(figsize=(9, 3))
        left, right = figure.subplots(1, 2)
        for number, values in enumerate(counts):
            places = [place + 0.26 * (number - 1) for place in range(len(values))]
            bars = left.bar(places, values, width=0.24, color=LINE_COLOURS[number])
            left.bar_label(bars, [f"{value:,}" for value in values], fontsize=7, padding=1)
        left.set_xticks(range(len(Part)), [part.value for part in Part])
        left.set_title("instances")
        left.margins(y=0.12)
        draw_lines(right, lengths, title="test instances by interactions in the history")
        return figure

    return Chart("instances", alt, draw)


def category_chart(systems: Sequence[EvaluatedSystem], dataset: Dataset, part: Part) -> Chart:
    """The paper's figure 4: instances by category; beside it each system's tool accuracy there."""
    counts = Counter(category(each, dataset) for each in dataset.of(part))
    ordered = dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
    rows = {
        system.config.title: system.scores(part).by(lambda each: category(each.instance, dataset))
        for system in leading(systems, part, _MOST_LINES)
    }
    alt = f"Instances in each of {len(counts)} categories, and each system's tool accuracy there."

    def draw() -> Figure:
        figure = Figure(figsize=(9, max(3.0, 0.17 * len(ordered) + 1.2)))
        left, right = figure.subplots(1, 2, sharey=True)
        draw_bars(left, ordered, colour=SKY, title="test instances")
        for system, cells in rows.items():
            places = [place for place, name in enumerate(ordered) if name in cells]
            right.plot([cells[name].tool.percent for name in ordered if name in cells], places, ls="", label=system)
        right.set(title="tool accuracy, percent", xlim=(-2, 102))
        right.grid(lw=0.5)
        figure.legend(loc="outside lower center", ncols=3)
        return figure

    return Chart(f"categories-{part.value}", alt, draw)


def leading(systems: Sequence[EvaluatedSystem], part: Part, count: int) -> list[EvaluatedSystem]:
    """Return the `count` best systems by tool accuracy, in the order they came in."""
    best = sorted(systems, key=lambda system: -system.scores(part).by_setting[ALL].tool.percent)[:count]
    return [system for system in systems if system in best]


def _by_setting(scores: Scores, metric: str) -> Shares:
    return {
        setting_name(setting): getattr(scores.by_setting[setting.value], metric)
        for setting in SETTINGS
        if setting.value in scores.by_setting
    }
