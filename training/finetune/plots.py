"""How a run went, as pictures: loss; for DPO the rewards' accuracy and margins."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

History = Sequence[Mapping[str, Any]]
"""transformers' `TrainerState.log_history`."""
_PLOTS = {
    "loss": ("loss.png", "loss, nats"),
    "rewards/accuracies": ("reward-accuracy.png", "reward accuracy"),
    "rewards/margins": ("reward-margins.png", "reward margin, nats"),
}


def series(history: History, name: str) -> list[tuple[int, float]]:
    """(step, value) of everything that was logged under the name."""
    return [(int(row["step"]), float(row[name])) for row in history if name in row]


def write_plots(history: History, directory: Path) -> list[str]:
    """The names of the files; none of what was not logged."""
    written = []
    for name, (file, label) in _PLOTS.items():
        lines = {"training": (series(history, name), "-"), "held out": (series(history, f"eval_{name}"), "o-")}
        if not any(points for points, _ in lines.values()):
            continue
        figure = Figure(figsize=(7, 3.5))
        axes = figure.subplots()
        for of, (points, style) in lines.items():
            if points:
                axes.plot(*zip(*points, strict=True), style, ms=3, label=of)
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylabel(label, fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=8, frameon=False)
        figure.tight_layout()
        FigureCanvasAgg(figure)
        figure.savefig(directory / file, format="png", dpi=110, metadata={"Software": None})
        written.append(file)
    return written
