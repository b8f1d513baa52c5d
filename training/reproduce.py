"""`make model`: everything that is shipped in `models/`, from nothing, in the order in which each needs the last.

Every stage keeps what is finished and goes on where it was stopped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.domain import Json
from training.common.stages import Progress
from training.data.benchmark import open_benchmark
from training.finetune.config import load_config as load_finetuning
from training.finetune.pair_rows import make_pairs
from training.finetune.run import finetune
from training.fitting.matcher.build import fit_built
from training.petoolbench.build import build
from training.petoolbench.config import load_config as load_benchmark
from training.pretraining.base import make_base
from training.pretraining.config import SmallConfig


@dataclass(frozen=True)
class Places:
    """Where what is made goes."""

    models: Path = Path("models")
    benchmarks: Path = Path("benchmarks")
    work: Path = Path(".petool/small")
    """Checkpoints."""


def reproduce(
    config: SmallConfig, places: Places, progress: Progress, tell: Callable[[str], None]
) -> Mapping[str, Mapping[str, Json]]:
    """The scores of each stage by its name. Evaluation is a command of its own: `petool-train evaluate`."""
    built = places.benchmarks / config.benchmark
    tell(f"Benchmark {config.benchmark}")
    build(load_benchmark(config.benchmark), built, progress)
    tell("Matcher")
    scores: dict[str, Mapping[str, Json]] = {"matcher": fit_built(built, places.models / "matcher", progress)}
    tell("Base model")
    base = make_base(config, open_benchmark(built), places.models / "small" / "base", places.work, progress, tell)
    changes = [f"benchmark={built}", f"base={base}"]
    for stage in ("sft", "dpo"):
        adapters = base.parent
        of_stage = [*changes, f"out={adapters / stage}"]
        if stage == "dpo":
            of_stage.append(f"adapter={adapters / 'sft'}")
        settings = load_finetuning(f"{config.name}-{stage}", of_stage)
        if stage == "dpo":
            tell("Preference pairs")
            scores["pairs"] = make_pairs(settings, progress).report
        tell(f"Adapter {stage}")
        scores[stage] = finetune(settings, progress, tell).manifest.scores
    return scores
