"""`petool-train`: rebuild the benchmark, fit on it, report."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from app.errors import PEToolError
from training.stages import Progress

cli = typer.Typer(no_args_is_help=True, help="Offline: the benchmark PEToolBench, and what is trained on it.")
benchmark = typer.Typer(no_args_is_help=True, help="The benchmark.")
ranker = typer.Typer(no_args_is_help=True, help="The preference ranker.")
cli.add_typer(benchmark, name="benchmark")
cli.add_typer(ranker, name="ranker")
out = Console()
err = Console(stderr=True)


def main() -> None:
    """What goes wrong is told in a sentence, with exit status 1; 130 after Ctrl-C."""
    try:
        cli()
    except PEToolError as error:
        err.print(f"[red]{escape(error.detail)}[/]", highlight=False, soft_wrap=True)
        sys.exit(1)


@contextmanager
def progress_bars() -> Iterator[Progress]:
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Bars(*columns, console=err) as bars:

        def start(label: str, total: int | None) -> None:
            bars.add_task(label, total=total)

        def advance(count: int) -> None:
            bars.advance(bars.task_ids[-1], count)

        try:
            yield Progress(start, advance)
        except KeyboardInterrupt:
            bars.stop()
            err.print("Stopped. Run the same command again: what was finished is kept.")
            raise typer.Exit(130) from None


@benchmark.command("build")
def benchmark_build(
    config: Annotated[str, typer.Option(help="A shipped config's name, or a YAML file.")] = "paper-scale",
    tools: Annotated[Path | None, typer.Option(help="Build from these tool documents instead.")] = None,
    into: Annotated[
        Path | None, typer.Option("--out", help="The benchmark's folder; benchmarks/NAME if not given.")
    ] = None,
    budget: Annotated[float | None, typer.Option(help="Dollars that the openai writer may spend in this run.")] = None,
) -> None:
    """Build the benchmark. Run again after an interruption, or with another config: what is the same is kept."""
    # The libraries behind it take seconds to import; --help should not.
    from training.benchmark.build import build
    from training.benchmark.config import load_config

    settings = load_config(config, **({"path": str(tools)} if tools is not None else {}))
    directory = into or Path("benchmarks") / settings.name
    started = time.monotonic()
    with progress_bars() as progress:
        built = build(settings, directory, progress, budget=budget)
    for stage in built.stages:
        out.print(f"{stage.name:13} {'kept' if stage.kept else f'{stage.seconds:6.1f} s'}", highlight=False)
    facts = built.stage("dataset").report
    out.print(
        f"[bold]{facts['instances']:,}[/] instances over [bold]{facts['tools']:,}[/] tools in "
        f"[bold]{facts['categories']}[/] categories ({facts['unseen']:,} more of unseen tools), "
        f"{time.monotonic() - started:.0f} s.",
        highlight=False,
    )
    out.print(f"Dataset: {built.dataset}\nReport:  {built.report}", highlight=False, soft_wrap=True)


@ranker.command("fit")
def ranker_fit(
    built: Annotated[Path, typer.Option("--benchmark", help="The folder of a benchmark that was built.")] = Path(
        "benchmarks/paper-scale"
    ),
    into: Annotated[Path, typer.Option("--out", help="Where weights and card go.")] = Path("models/ranker"),
) -> None:
    """Fit the preference ranker's weights on the benchmark's training part."""
    from training.ranker import fit_built

    with progress_bars() as progress:
        fit_built(built, into, progress)
    out.print((into / "README.md").read_text("utf-8"), highlight=False, markup=False)


if __name__ == "__main__":
    main()
