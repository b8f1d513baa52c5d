"""The base model's learning curve."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from app.domain import Json

matplotlib.use("Agg")


def plot_pretraining(log: Sequence[Mapping[str, Json]], path: Path) -> None:
    """Loss, and how often choice and parameters are right, by tokens read."""
    tokens = [row["tokens"] / 1e6 for row in log]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.plot(tokens, [row["loss"] for row in log], color="#0072b2")
    left.set(title="Loss on answers", xlabel="million tokens read", ylabel="nats", ylim=(0, None))
    for key, label, color in (
        ("label_accuracy", "the choice", "#d55e00"),
        ("parameter_accuracy", "all parameters", "#009e73"),
    ):
        values = [100 * row[key] for row in log]
        right.plot(tokens, values, color=color)
        right.annotate(
            label, (tokens[-1], values[-1]), xytext=(-4, 5), textcoords="offset points", ha="right", color=color
        )
    right.set(title="Right on uses never read", xlabel="million tokens read", ylabel="%", ylim=(0, 104))
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
