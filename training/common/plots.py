"""What the charts of all reports share: themes, lines, bars and intervals, and figures as files.

Colours are Okabe and Ito's, which every kind of colour vision tells apart; shapes or words say the same again. Figures
are drawn without a display, and the same data give the same bytes.
"""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PURPLE, GREY = (
    "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#999999",
)  # fmt: skip
LINE_COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
"""Of the lines of a chart, in their order; each has a marker of its own too."""
_MARKERS = "os^Dv<"
_MOST_MARKED = 40
"""Points of a line beyond which markers would hide it."""


class Estimate(Protocol):
    """A share, percent, with its 95% interval."""

    @property
    def percent(self) -> float: ...
    @property
    def interval(self) -> tuple[float, float]: ...


@dataclass(frozen=True)
class Theme:
    text: str
    lines: str
    """Colour of axes and grids."""


LIGHT, DARK = Theme("#1f2328", "#d0d7de"), Theme("#e6edf3", "#3d444d")


@contextmanager
def themed(theme: Theme = LIGHT) -> Iterator[None]:
    """Figures that are made and saved inside the block look alike."""
    look: dict[Any, Any] = {
        **dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color", "text.color"), theme.text),
        **dict.fromkeys(("axes.edgecolor", "grid.color"), theme.lines),
        **dict.fromkeys(("axes.facecolor", "figure.facecolor"), "none"),
        **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
        **dict.fromkeys(("axes.axisbelow", "figure.constrained_layout.use"), True),
        "axes.prop_cycle": cycler(color=LINE_COLOURS) + cycler(marker=list(_MARKERS)),
        "axes.titlelocation": "left",
        **{"font.size": 9, "axes.titlesize": 10, "legend.fontsize": 8, "lines.markersize": 4, "lines.linewidth": 1.3},
        # Identifiers in SVG files would otherwise differ from run to run.
        "svg.hashsalt": "petool",
    }
    with mpl.rc_context(look):
        yield


def draw_lines(axes: Axes, lines: Mapping[str, Sequence[tuple[float, float]]], **labels: Any) -> None:
    """A line through the (x, y) points of each name; `labels` are `title`, `xlabel`, `ylabel`, `ylim` of the axes."""
    for name, points in lines.items():
        (line,) = axes.plot([x for x, _ in points], [y for _, y in points], label=name)
        if len(points) > _MOST_MARKED:
            line.set_marker("")
    axes.set(**labels)
    if len(lines) > 1:
        axes.legend()


def draw_bars(axes: Axes, values: Mapping[str, float], *, colour: str, title: str) -> None:
    """A horizontal bar for each name, the first one on top."""
    axes.barh(range(len(values)), list(values.values()), color=colour)
    axes.set_title(title)
    axes.set_yticks(range(len(values)), [name.replace("_", " ") for name in values], fontsize=7)
    axes.set_ylim(len(values) - 0.4, -0.6)


def draw_estimates(
    axes: Axes, rows: Mapping[str, Mapping[str, Estimate]], series: Sequence[str], *, title: str
) -> None:
    """A row for each name, the first one on top; in it a point with its interval for each of the series it has."""
    for number, name in enumerate(series):
        shift = 0.22 * (number - (len(series) - 1) / 2)
        drawn = [(place + shift, row[name]) for place, row in enumerate(rows.values()) if name in row]
        estimates = [estimate for _, estimate in drawn]
        axes.errorbar(
            [each.percent for each in estimates],
            [place for place, _ in drawn],
            xerr=error_bars(estimates),
            linestyle="none",
            label=name,
        )
    axes.set_title(title)
    axes.set_xlim(0, 100)
    axes.grid(axis="x", lw=0.6)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)


def error_bars(estimates: Sequence[Estimate]) -> list[list[float]]:
    """Distances from the shares to the lower and to the upper ends of their intervals, as matplotlib takes them."""
    return [
        [each.percent - each.interval[0] for each in estimates],
        [each.interval[1] - each.percent for each in estimates],
    ]


def save_png(figure: Figure, path: Path) -> None:
    """Writes the figure on white; the file does not tell when it was written."""
    path.write_bytes(_render(figure, format="png", dpi=140, facecolor="white", metadata={"Software": None}))


def svg_data_uri(figure: Figure) -> str:
    """Return the figure, on a transparent ground, as the `src` of an HTML image."""
    image = _render(figure, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(image).decode('ascii')}"


def _render(figure: Figure, **options: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, **options)
    return buffer.getvalue()
