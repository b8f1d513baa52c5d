"""What happens beside the training steps: progress, words about it, and marks on checkpoints that are whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from training.common.stages import Progress

_MARK = "whole"
_CHECKPOINT = "checkpoint-"


class Reporting(TrainerCallback):
    def __init__(self, progress: Progress, tell: Callable[[str], None]) -> None:
        self._progress = progress
        self._tell = tell

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._progress.start("Training", state.max_steps)
        self._progress.advance(state.global_step)
        if state.global_step:
            self._tell(f"Goes on from the checkpoint at step {state.global_step:,} of {state.max_steps:,}.")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._progress.advance(1)

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        shown = {
            "eval_loss": "loss", "eval_mean_token_accuracy": "token accuracy", "eval_rewards/accuracies":
            "reward accuracy", "eval_rewards/margins": "reward margin",
        }  # fmt: skip
        metrics: dict[str, float] = given["metrics"]
        parts = [f"{label} {metrics[name]:.4g}" for name, label in shown.items() if name in metrics]
        self._tell(f"Step {state.global_step:,}: held-out {', '.join(parts)}")


class WholeCheckpoints(TrainerCallback):
    """Marks a checkpoint when all of it is on the disk: one that was cut short is not gone on from."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if not state.is_world_process_zero:
            return
        directory = Path(args.output_dir) / f"{_CHECKPOINT}{state.global_step}"
        for path in [*directory.rglob("*"), directory]:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        (directory / _MARK).touch()


def newest_checkpoint(directory: Path) -> Path | None:
    """The latest that is whole; removes the others that came after it."""
    found = sorted(directory.glob(f"{_CHECKPOINT}*"), key=lambda path: -int(path.name.removeprefix(_CHECKPOINT)))
    for path in found:
        if (path / _MARK).exists():
            return path
        shutil.rmtree(path)
    return None
