"""What the tests of fine-tuning share: a tiny base model, a benchmark of 36 instances, and configs of runs on them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from tests.support.tiny_model import tiny_model
from training.common.stages import NO_PROGRESS, Progress
from training.finetune.config import FinetuneConfig
from training.finetune.run import Finished, finetune
from training.petoolbench.build import build
from training.petoolbench.config import BenchmarkConfig

BUDGET = 1500
_BENCHMARK: dict[str, Any] = {
    "name": "few",
    "seed": 3,
    "catalogue": {"tools": 80, "categories": 2, "flawed": 0},
    "instances": {"train": 30, "test": 6, "unseen": 0},
    "group": {"unseen": 0.2, "eps_grid": [0.2, 0.3]},
    "preferences": {"margin": 0.02, "shown": [2, 4]},
}
Folder = Callable[[str], Path]


@cache
def base_and_benchmark(folder: Path) -> tuple[Path, Path]:
    """Made once a folder."""
    base = tiny_model(folder / "base")
    build(BenchmarkConfig.model_validate(_BENCHMARK), folder / "benchmark", NO_PROGRESS)
    return base, folder / "benchmark"


def sft_values(base: Path, benchmark: Path, work: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": "tiny-sft",
        "stage": "sft",
        "base": str(base),
        "benchmark": str(benchmark),
        "out": str(work / "sft"),
        "work": str(work / "work"),
        "prompt_format": "hinted-1",
        "prompt_tokens": BUDGET,
        "lora": {"r": 4, "alpha": 8, "dropout": 0.1},
        "lr": 0.01,
        "batch": 4,
        "device_batch": 2,
        "max_steps": 4,
        "dtype": "float32",
        "autocast": False,
        "gradient_checkpointing": False,
        "device": "cpu",
        "evaluation": {"instances": 4, "every": 2},
        "checkpoint_every": 2,
        "log_every": 1,
    }
    return {**values, **changes}


def dpo_values(base: Path, benchmark: Path, work: Path, **changes: Any) -> dict[str, Any]:
    """From the adapter that `sft_values` makes in the same folder."""
    values = sft_values(base, benchmark, work, name="tiny-dpo", stage="dpo", out=str(work / "dpo"), max_steps=3)
    for taken_from_adapter in ("prompt_format", "prompt_tokens", "lora"):
        del values[taken_from_adapter]
    pairs = {"samples": 2, "max_tokens": 40, "instances": 16}
    return {**values, "adapter": str(work / "sft"), "pairs": pairs, **changes}


def run(
    values: dict[str, Any], *, progress: Progress = NO_PROGRESS, told: list[str] | None = None, **given: Any
) -> Finished:
    config = FinetuneConfig.model_validate(values)
    return finetune(config, progress, (told if told is not None else []).append, **given)


def tensors(directory: Path) -> dict[str, Tensor]:
    return load_file(directory / "adapter_model.safetensors")
