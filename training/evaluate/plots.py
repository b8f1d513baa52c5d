"""The report's pictures, in the manner of the paper's figures 3 to 6; for light and for dark pages.

Colours are Okabe and Ito's, which every kind of colour vision tells apart, and shapes and words say the same again.
"""

import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from app.domain import HistorySetting
from training.evaluate.drawing import fitted, plain
from training.evaluate.metrics import SHORT, ErrorKind
from training.evaluate.statistics import Share
from training.evaluate.tables import NAMES

ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
LOOKS = {
    HistorySetting.PREFERRED_ONLY: (BLUE, "o"),
    HistorySetting.RATING_INTEGRATED: (ORANGE, "s"),
    HistorySetting.CHRONOLOGICAL: (GREEN, "^"),
}
_LINES = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY)
_ERRORS = {
    None: GREEN,
    ErrorKind.PARAMETER_VALUE_MISMATCH: SKY,
    ErrorKind.PARAMETER_NAME_MISMATCH: BLUE,
    ErrorKind.TOOL_PREFERENCE_MISMATCH: ORANGE,
    ErrorKind.TOOL_FUNCTIONALITY_MISMATCH: RED,
    ErrorKind.TOOL_HALLUCINATION: PURPLE,
    ErrorKind.INVALID_FORMAT: YELLOW,
    ErrorKind.FAILED_REQUEST: "#999999",
}
_DARK_ON = {YELLOW, ORANGE, SKY, "#999999", PURPLE, GREEN}
"""Colours that dark words stand on."""
Shares = Mapping[HistorySetting, Share]


def accuracies(rows: Mapping[str, tuple[Shares, Shares]]) -> Figure:
    """Tool and parameter accuracy of each system by setting, with 95% intervals."""
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.4))
    for axes, side, title in zip(
        figure.subplots(1, 2, sharey=True), (0, 1), ("tool accuracy", "parameter accuracy"), strict=True
    ):
        for shift, (setting, (colour, marker)) in zip((-0.22, 0.0, 0.22), LOOKS.items(), strict=True):
            places, shares = [], []
            for place, of in enumerate(rows.values()):
                if setting in of[side]:
                    places.append(place + shift)
                    shares.append(of[side][setting])
            label = NAMES[setting] if side == 0 else None
            axes.errorbar(
                [each.percent for each in shares], places, xerr=_errors(shares), fmt=marker, ms=5, lw=1.2,
                color=colour, label=label,
            )  # fmt: skip
        axes.set_title(f"{title}, percent", loc="left")
        axes.set_xlim(0, 100)
        axes.grid(axis="x", lw=0.6)
        plain(axes)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.5)
    figure.legend(loc="lower center", ncols=3)
    return fitted(figure, bottom=0.55)


def first_errors(rows: Mapping[str, Mapping[ErrorKind | None, Share]]) -> Figure:
    """What each system's answers come to, as parts of all instances."""
    figure = Figure(figsize=(9, 0.42 * len(rows) + 1.2))
    axes = figure.subplots()
    left = [0.0] * len(rows)
    for kind, colour in _ERRORS.items():
        widths = [shares[kind].percent for shares in rows.values()]
        if not any(widths):
            continue
        name = SHORT[kind] if kind is not None else "right call"
        axes.barh(range(len(rows)), widths, left=left, color=colour, height=0.72, label=name)
        for place, width in enumerate(widths):
            if width >= 5:
                words = "#111111" if colour in _DARK_ON else "white"
                text = f"{name} {width:.0f}" if width >= 11 else f"{width:.0f}"
                axes.text(left[place] + width / 2, place, text, ha="center", va="center", fontsize=8, color=words)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xlim(0, 100)
    axes.set_xlabel("percent of the instances")
    plain(axes)
    figure.legend(loc="upper center", ncols=8, fontsize=8, handlelength=1.0, columnspacing=1.2)
    return fitted(figure, top=0.4)


def with_and_without_history(rows: Mapping[str, tuple[Share, Shares]]) -> Figure:
    """The paper's figure 5: tool accuracy without history, and with it in each setting."""
    figure = Figure(figsize=(9, 3.2))
    axes = figure.subplots()
    bars = [(None, "#999999", "no history"), *((each, LOOKS[each][0], NAMES[each]) for each in LOOKS)]
    for shift, (setting, colour, label) in zip((-0.3, -0.1, 0.1, 0.3), bars, strict=True):
        shares = [none if setting is None else of.get(setting, Share(0, 0)) for none, of in rows.values()]
        there = [(place + shift, share) for place, share in enumerate(shares) if share.count]
        of_bars = [share for _, share in there]
        heights = [share.percent for share in of_bars]
        drawn = axes.bar(
            [place for place, _ in there], heights, width=0.19, color=colour, label=label, yerr=_errors(of_bars),
            error_kw={"lw": 0.8, "ecolor": "#7d7d7d"},
        )  # fmt: skip
        axes.bar_label(drawn, [f"{each:.0f}" for each in heights], fontsize=7, padding=2)
    axes.set_xticks(range(len(rows)), [textwrap.fill(name, 16) for name in rows], fontsize=8)
    axes.set_ylabel("tool accuracy, percent")
    axes.set_ylim(0, 105)
    plain(axes)
    figure.legend(loc="upper center", ncols=4, fontsize=8)
    return fitted(figure, top=0.35)


def by_length(rows: Mapping[str, Mapping[str, Share]], names: Sequence[str]) -> Figure:
    """The paper's figure 6: tool accuracy by length of the history, preferred-only; a line a system."""
    figure = Figure(figsize=(9, 3.6))
    axes = figure.subplots()
    ends = []
    for number, (system, shares) in enumerate(rows.items()):
        colour, marker = _LINES[number % len(_LINES)], "os^Dv<"[number % 6]
        places = [names.index(name) for name in shares]
        heights = [each.percent for each in shares.values()]
        axes.errorbar(
            places,
            heights,
            yerr=_errors(list(shares.values())),
            color=colour,
            marker=marker,
            ms=5,
            lw=1.5,
            elinewidth=0.7,
        )
        ends.append((heights[-1], places[-1], system, colour))
    lowest = -100.0
    for height, place, system, colour in sorted(ends):
        # Names that would lie on each other move up.
        lowest = max(height, lowest + 6)
        leader = {"arrowstyle": "-", "color": colour, "lw": 1}
        place_of_name = (place + 0.2, lowest)
        axes.annotate(
            system, (place, height), place_of_name, va="center", fontsize=8, annotation_clip=False, arrowprops=leader
        )
    axes.set_xticks(range(len(names)), list(names))
    axes.set_xlim(-0.3, len(names) + 0.7)
    axes.set_ylim(0, max(100.0, lowest + 4))
    axes.set_xlabel("interactions in the history (preferred-only)")
    axes.set_ylabel("tool accuracy, percent")
    axes.grid(axis="y", lw=0.6)
    plain(axes)
    return fitted(figure)


def instances(
    counts: Mapping[str, Mapping[HistorySetting, int]], lengths: Mapping[HistorySetting, Mapping[int, int]]
) -> Figure:
    """The paper's figure 3: instances by part and setting; of the evaluated part by length of the history."""
    figure = Figure(figsize=(9, 3))
    left, right = figure.subplots(1, 2)
    for shift, setting in zip((-0.26, 0.0, 0.26), LOOKS, strict=True):
        values = [of.get(setting, 0) for of in counts.values()]
        bars = left.bar(
            [at + shift for at in range(len(counts))], values, width=0.24, color=LOOKS[setting][0], label=NAMES[setting]
        )
        left.bar_label(bars, [f"{value:,}" for value in values], fontsize=7, padding=1)
        of_setting = lengths.get(setting, {})
        right.plot(
            sorted(of_setting), [of_setting[each] for each in sorted(of_setting)], color=LOOKS[setting][0],
            marker=LOOKS[setting][1], ms=4, lw=1.2,
        )  # fmt: skip
    left.set_xticks(range(len(counts)), list(counts))
    left.set_title("instances", loc="left")
    right.set_title("test instances by interactions in the history", loc="left")
    for axes in (left, right):
        axes.margins(y=0.12)
        plain(axes)
    figure.legend(loc="lower center", ncols=3, fontsize=8)
    return fitted(figure, bottom=0.3)


def categories(counts: Mapping[str, int], rows: Mapping[str, Mapping[str, Share]]) -> Figure:
    """The paper's figure 4: instances by category; beside it each system's tool accuracy there."""
    names = sorted(counts, key=lambda name: (-counts[name], name))
    figure = Figure(figsize=(9, max(3.0, 0.17 * len(names) + 1.2)))
    left, right = figure.subplots(1, 2, sharey=True)
    left.barh(range(len(names)), [counts[name] for name in names], color=SKY)
    left.set_title("test instances", loc="left")
    left.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=7)
    left.set_ylim(len(names) - 0.4, -0.6)
    for number, (system, shares) in enumerate(rows.items()):
        there = [name for name in names if name in shares]
        right.plot(
            [shares[name].percent for name in there], [names.index(name) for name in there], "os^Dv<"[number % 6],
            ms=4, color=_LINES[number % len(_LINES)], label=system,
        )  # fmt: skip
    right.set_title("tool accuracy, percent", loc="left")
    right.set_xlim(-2, 102)
    right.grid(lw=0.5)
    for axes in (left, right):
        plain(axes)
    figure.legend(loc="lower center", ncols=3, fontsize=8)
    return fitted(figure, bottom=0.3)


def _errors(shares: Sequence[Share]) -> list[list[float]]:
    return [
        [each.percent - each.interval[0] if each.count else 0.0 for each in shares],
        [each.interval[1] - each.percent if each.count else 0.0 for each in shares],
    ]
