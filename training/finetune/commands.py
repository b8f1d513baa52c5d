"""`petool-train plan`, `sft`, `pairs`, `dpo`."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from app.errors import SetupError
from training.common.console import err, out, progress_bars
from training.common.stages import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from training.finetune.config import FinetuneConfig

Config = Annotated[str, typer.Argument(help="A shipped config's name, or a YAML file.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", help="field=value or section.field=value instead of the config's.")
]
Into = Annotated[Path | None, typer.Option("--out", help="Where the adapter goes, instead of the config's.")]
Restart = Annotated[bool, typer.Option("--restart", help="Forget what an earlier run of this name left.")]


def add_finetune(cli: typer.Typer) -> None:
    cli.command("plan")(plan)
    cli.command("sft")(sft)
    cli.command("pairs")(pairs)
    cli.command("dpo")(dpo)


def plan(
    config: Config,
    changes: Changes = None,
    processes: Annotated[int, typer.Option(min=1, help="GPUs, or processes, that it would run on.")] = 1,
) -> None:
    """Tell what a run would take: parameters, tokens, steps, memory. Loads no weights."""
    with _bars() as progress:
        # The libraries behind it take seconds to import; --help should not.
        from training.finetune.plan import make_plan

        text = make_plan(_config(config, changes, None, None), processes, progress)
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def sft(config: Config, changes: Changes = None, into: Into = None, restart: Restart = False) -> None:
    """Fine-tune a LoRA adapter on the benchmark's right calls. Run again to go on after an interruption."""
    _train(_config(config, changes, into, "sft"), restart=restart)


def pairs(config: Config, changes: Changes = None) -> None:
    """Sample DPO's pairs from the SFT adapter of a dpo config. Run again to go on after an interruption."""
    with _bars() as progress:
        from training.finetune.pair_rows import make_pairs

        made = make_pairs(_config(config, changes, None, "dpo"), progress)
    out.print_json(data=dict(made.report))
    out.print(f"Pairs: {made.directory}", highlight=False, soft_wrap=True)


def dpo(config: Config, changes: Changes = None, into: Into = None, restart: Restart = False) -> None:
    """Train an SFT adapter further on preference pairs. Run again to go on after an interruption."""
    _train(_config(config, changes, into, "dpo"), restart=restart)


def _train(config: "FinetuneConfig", *, restart: bool) -> None:
    with _bars() as progress:
        from training.finetune.pair_rows import gather_dpo
        from training.finetune.run import finetune
        from training.finetune.sft import gather_sft

        gather = gather_sft if config.stage == "sft" else gather_dpo
        finished = finetune(config, gather, progress, _tell, restart=restart)
    if _is_main():
        kept = "Finished before, and kept: " if finished.kept else "Adapter: "
        out.print(f"{kept}{finished.directory}", highlight=False, soft_wrap=True)
        out.print_json(data=dict(finished.manifest.scores))


def _config(name: str, changes: list[str] | None, into: Path | None, stage: str | None) -> "FinetuneConfig":
    from training.finetune.config import load_config

    loaded = load_config(name, [*(changes or []), *([f"out={into}"] if into is not None else [])])
    if stage is not None and loaded.stage != stage:
        raise SetupError(f"The config {name} is one for {loaded.stage}: run petool-train {loaded.stage}.")
    return loaded


def _is_main() -> bool:
    """Of the processes that accelerate or torchrun started, or alone."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _bars() -> Iterator[Progress]:
    # The libraries among themselves: one asks another in words that will go.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    if _is_main():
        with progress_bars() as progress:
            yield progress
    else:
        yield NO_PROGRESS


def _tell(text: str) -> None:
    if _is_main():
        err.print(text, highlight=False, markup=False, soft_wrap=True)
