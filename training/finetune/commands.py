"""The commands `petool-train plan`, `sft`, `pairs` and `dpo`."""

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

ConfigArgument = Annotated[str, typer.Argument(help="Name of a shipped config, or a YAML file.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="field=value or section.field=value: change the config.")
]
OutOption = Annotated[Path | None, typer.Option("--out", help="Folder of the adapter. Default: the config's.")]
RestartOption = Annotated[bool, typer.Option("--restart", help="Delete what an earlier run of this name left.")]


def add_finetune(cli: typer.Typer) -> None:
    cli.command("plan")(plan)
    cli.command("sft")(sft)
    cli.command("pairs")(pairs)
    cli.command("dpo")(dpo)


def plan(
    config: ConfigArgument,
    changes: SetOption = None,
    processes: Annotated[int, typer.Option(min=1, help="Number of GPUs, or of CPU processes, to train on.")] = 1,
) -> None:
    """Tell what a run would take: parameters, tokens, steps. Loads no weights."""
    with _progress() as progress:
        # The libraries behind it take seconds to import; --help should not.
        from training.finetune.plan import make_plan

        text = make_plan(_load_config(config, changes, None, None), processes, progress)
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def sft(
    config: ConfigArgument, changes: SetOption = None, into: OutOption = None, restart: RestartOption = False
) -> None:
    """Fine-tune a LoRA adapter on the benchmark's right calls. Run again to resume after an interruption."""
    _train(_load_config(config, changes, into, "sft"), restart=restart)


def pairs(config: ConfigArgument, changes: SetOption = None) -> None:
    """Sample DPO's pairs from the SFT adapter of a dpo config. Run again to resume after an interruption."""
    with _progress() as progress:
        from training.finetune.pair_rows import make_pairs

        made = make_pairs(_load_config(config, changes, None, "dpo"), progress)
    out.print_json(data=dict(made.report))
    out.print(f"Pairs: {made.directory}", highlight=False, soft_wrap=True)


def dpo(
    config: ConfigArgument, changes: SetOption = None, into: OutOption = None, restart: RestartOption = False
) -> None:
    """Train an SFT adapter further on preference pairs. Run again to resume after an interruption."""
    _train(_load_config(config, changes, into, "dpo"), restart=restart)


def _train(config: "FinetuneConfig", *, restart: bool) -> None:
    with _progress() as progress:
        from training.finetune.run import finetune

        finished = finetune(config, progress, _tell, restart=restart)
    if _is_main_process():
        kept = "Adapter, of an earlier run: " if finished.kept else "Adapter: "
        out.print(f"{kept}{finished.directory}", highlight=False, soft_wrap=True)
        out.print_json(data=dict(finished.manifest.scores))


def _load_config(name: str, changes: list[str] | None, into: Path | None, stage: str | None) -> "FinetuneConfig":
    from training.finetune.config import load_config

    loaded = load_config(name, [*(changes or []), *([f"out={into}"] if into is not None else [])])
    if stage is not None and loaded.stage != stage:
        raise SetupError(f"The config {name} is one for {loaded.stage}: run petool-train {loaded.stage}.")
    return loaded


def _is_main_process() -> bool:
    """Whether this is the first of the processes that accelerate or torchrun started, or the only one."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def _progress() -> Iterator[Progress]:
    # peft calls a name of transformers that is deprecated; nobody here can change that.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    if _is_main_process():
        with progress_bars() as progress:
            yield progress
    else:
        yield NO_PROGRESS


def _tell(text: str) -> None:
    if _is_main_process():
        err.print(text, highlight=False, markup=False, soft_wrap=True)
