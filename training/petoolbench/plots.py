"""The report's pictures. Drawn without a display, and without the date that would make each file another."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from app.domain import Json

_SETTINGS = {
    "preferred_only": ("preferred-only", "#33658a"),
    "rating_integrated": ("rating-integrated", "#d1603d"),
    "chronological": ("chronological", "#6a994e"),
}
_GREY = "#5c5c5c"


def _saved(figure: Figure, path: Path) -> None:
    figure.tight_layout()
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", metadata={"Software": None})


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def plot_categories(instances: Mapping[str, int], tools: Mapping[str, int], path: Path) -> None:
    """Instances and tools by category, most instances first (the paper's figure 4)."""
    names = sorted(tools, key=lambda name: (-instances.get(name, 0), name))
    figure = Figure(figsize=(9, max(3.0, 0.2 * len(names) + 1)))
    left, right = figure.subplots(1, 2, sharey=True)
    places = range(len(names))
    left.barh(places, [instances.get(name, 0) for name in names], color="#33658a")
    left.set_title("instances (category of the right tool)", fontsize=9)
    right.barh(places, [tools[name] for name in names], color="#86bbd8")
    right.set_title("tools", fontsize=9)
    left.set_yticks(places, [name.replace("_", " ") for name in names], fontsize=7)
    left.invert_yaxis()
    for axes in (left, right):
        axes.margins(y=0.01)
        _plain(axes)
    _saved(figure, path)


def plot_histories(lengths: Mapping[str, Mapping[int, int]], path: Path) -> None:
    """Instances by number of interactions in the history, a line a setting (the paper's figure 3)."""
    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    for setting, counts in lengths.items():
        name, colour = _SETTINGS[setting]
        axes.plot(
            sorted(counts), [counts[length] for length in sorted(counts)], marker="o", ms=3, color=colour, label=name
        )
    axes.set_xlabel("interactions in the history", fontsize=9)
    axes.set_ylabel("instances", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    _plain(axes)
    _saved(figure, path)


def plot_eps(tried: Sequence[Mapping[str, Json]], chosen: float, path: Path) -> None:
    """What each eps gives: tools in groups, and how often tools that are near are of one category."""
    figure = Figure(figsize=(7, 3))
    axes = figure.subplots()
    eps = [each["eps"] for each in tried]
    axes.plot(
        eps, [each["grouped_tools"] for each in tried], marker="o", ms=3, color="#33658a", label="tools in groups"
    )
    axes.set_xlabel("eps (cosine distance)", fontsize=9)
    axes.set_ylabel("tools", fontsize=9)
    other = axes.twinx()
    other.plot(eps, [each["agreement"] for each in tried], marker="s", ms=3, color="#d1603d", label="agreement")
    other.set_ylim(0, 1.05)
    other.set_ylabel("agreement", fontsize=9)
    axes.axvline(chosen, color=_GREY, lw=0.8, ls=":")
    lines = [*axes.get_lines()[:1], *other.get_lines()]
    axes.legend(lines, [str(line.get_label()) for line in lines], fontsize=8, frameon=False, loc="center left")
    axes.spines["top"].set_visible(False)
    other.spines["top"].set_visible(False)
    _saved(figure, path)


def plot_systems(systems: Mapping[str, Json], part: str, path: Path) -> None:
    """Tool accuracy of each system by setting, with 95% intervals."""
    rows = {name: of_parts[part] for name, of_parts in systems.items() if part in of_parts}
    figure = Figure(figsize=(8, 0.5 * len(rows) + 1.2))
    axes = figure.subplots()
    for shift, (setting, (label, colour)) in zip((-0.25, 0.0, 0.25), _SETTINGS.items(), strict=True):
        values = [row.get(setting, {"accuracy": 0, "plus_minus": 0}) for row in rows.values()]
        axes.barh(
            [place + shift for place in range(len(rows))],
            [value["accuracy"] for value in values],
            height=0.23,
            xerr=[value["plus_minus"] for value in values],
            error_kw={"lw": 0.8, "ecolor": _GREY},
            color=colour,
            label=label,
        )
    axes.set_yticks(range(len(rows)), list(rows), fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 100)
    axes.set_xlabel("tool accuracy, percent", fontsize=9)
    axes.margins(y=0.02)
    axes.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    _plain(axes)
    _saved(figure, path)
