"""Themes, and figures as files: drawn without a display."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    words: str
    lines: str


LIGHT, DARK = Theme("#1f2328", "#d0d7de"), Theme("#e6edf3", "#3d444d")


@contextmanager
def drawn_in(theme: Theme) -> Iterator[None]:
    words = dict.fromkeys(("axes.labelcolor", "xtick.color", "ytick.color", "text.color"), theme.words)
    lines = dict.fromkeys(("axes.edgecolor", "grid.color"), theme.lines)
    look: dict[Any, Any] = {**words, **lines, "axes.facecolor": "none", "figure.facecolor": "none"}
    # Ids that do not differ from run to run.
    look |= {"svg.hashsalt": "petool", "font.size": 9, "axes.titlesize": 10, "legend.frameon": False}
    with mpl.rc_context(look):
        yield


def png(figure: Figure) -> bytes:
    """On white, without the date that would make each file another."""
    return _saved(figure, format="png", dpi=140, facecolor="white", metadata={"Software": None})


def svg_uri(figure: Figure) -> str:
    """To stand in an `src`."""
    image = _saved(figure, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(image).decode('ascii')}"


def plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def fitted(figure: Figure, *, top: float = 0.0, bottom: float = 0.0) -> Figure:
    """With room, in inches, for what stands above and below the axes."""
    height = figure.get_figheight()
    figure.tight_layout(rect=(0, bottom / height, 1, 1 - top / height))
    return figure


def _saved(figure: Figure, **how: object) -> bytes:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, **how)  # type: ignore[arg-type]
    return buffer.getvalue()
