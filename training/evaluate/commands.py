"""`petool-train evaluate`, `compare`, `report`."""

import shlex
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from app.domain import HistorySetting
from app.errors import SetupError
from training.common.console import out, progress_bars

if TYPE_CHECKING:
    from training.data.records import Part as Parts
    from training.evaluate.evaluate import Evaluated
    from training.evaluate.statistics import Share

Benchmark = Annotated[Path, typer.Option("--benchmark", help="The folder of a benchmark that was built.")]
Part = Annotated[str, typer.Option(help="test, unseen or train.")]
DEFAULT = Path("benchmarks/paper-scale")
_WHAT = {"tool": "Tool Acc", "parameters": "Param Acc", "joint": "both"}


def add_evaluate(cli: typer.Typer) -> None:
    cli.command("evaluate")(evaluate)
    cli.command("compare")(compare)
    cli.command("report")(report)


def evaluate(
    systems: Annotated[list[str], typer.Argument(help="Shipped systems' names, or YAML files.", metavar="SYSTEM...")],
    benchmark: Benchmark = DEFAULT,
    part: Part = "test",
    settings: Annotated[
        list[HistorySetting] | None, typer.Option("--setting", help="Only this history setting; may be given again.")
    ] = None,
    instances: Annotated[
        int | None, typer.Option(min=1, help="So many, of all settings alike, chosen by a hash. All if not given.")
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="field=value instead of the system's.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the answers there are.")] = False,
) -> None:
    """Ask systems the benchmark's instances. Run again to go on after an interruption, or with more instances."""
    # The libraries among themselves: one asks another in words that will go.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    with progress_bars() as progress:
        # The libraries behind it take seconds to import; --help should not.
        from training.data.benchmark import open_benchmark
        from training.evaluate.config import load_system
        from training.evaluate.evaluate import Evaluation, Wanted

        configs = [load_system(each, changes or []) for each in systems]
        wanted = Wanted(_part(part), frozenset(settings or ()), instances)
        evaluation = Evaluation(open_benchmark(benchmark), progress)
        done = [
            (config, evaluation.evaluate(config, wanted, command=_command(), restart=restart)) for config in configs
        ]
    for config, evaluated in done:
        _show(config.title, evaluated)


def compare(
    first: Annotated[str, typer.Argument(help="An evaluated system's name.")],
    second: Annotated[str, typer.Argument(help="Another's.")],
    benchmark: Benchmark = DEFAULT,
    part: Part = "test",
) -> None:
    """Tell whether two evaluated systems differ on the instances that both answered."""
    from training.data.benchmark import open_benchmark
    from training.evaluate.evaluations import read_evaluation
    from training.evaluate.scores import METRICS, SETTINGS, compared

    opened = open_benchmark(benchmark)
    one, other = (read_evaluation(opened, name).scores(_part(part)) for name in (first, second))
    table = Table("setting", "", "n", f"only {first} : only {second}", "difference (95%)", "p", title=f"part {part}")
    for setting in (*SETTINGS, None):
        for metric in METRICS:
            test = compared(one, other, metric, setting)
            if test is None:
                continue
            low, high = test.interval
            table.add_row(
                setting.value if setting is not None else "all",
                _WHAT[metric],
                f"{test.count:,}",
                f"{test.only_first:,} : {test.only_second:,}",
                f"{test.difference:+.1f} ({low:+.1f} to {high:+.1f})",
                f"{test.p:.2g}",
            )
    if not table.rows:
        raise SetupError(f"{first} and {second} have no instance of the part {part} in common: evaluate both on it.")
    out.print(table)
    out.print("Percentage points, by resampling the instances; p of McNemar's exact test.", highlight=False)


def report(
    benchmark: Benchmark = DEFAULT,
    into: Annotated[
        Path | None, typer.Option("--out", help="Where the report goes; the benchmark's folder if not given.")
    ] = None,
) -> None:
    """Write report.md and report.html of all evaluations there are."""
    with progress_bars() as progress:
        from training.data.benchmark import open_benchmark
        from training.evaluate.report import write_evaluation_report

        written = write_evaluation_report(open_benchmark(benchmark), into, progress)
    for path in written:
        out.print(str(path), highlight=False, soft_wrap=True)


def _part(name: str) -> "Parts":
    from training.data.records import Part as Parts

    try:
        return Parts(name)
    except ValueError:
        raise SetupError(f"There is no part {name!r}; there are {', '.join(Parts)}.") from None


def _command() -> str:
    """As it was called, without the folder of the program."""
    return shlex.join(["petool-train", *sys.argv[1:]])


def _show(title: str, evaluated: "Evaluated") -> None:
    table = Table("setting", "instances", "Tool Acc", "Param Acc", "both", title=title)
    for setting, cell in evaluated.scores.by_setting.items():
        table.add_row(setting, f"{cell.count:,}", *map(_percent, (cell.tool, cell.parameters, cell.joint)))
    out.print(table)
    ran = evaluated.ran
    told = f"{ran.asked:,} asked in {ran.seconds:.0f} s, {evaluated.kept:,} kept"
    failed = f", [red]{ran.failed:,} failed[/]: run again to ask those" if ran.failed else ""
    out.print(f"{told}{failed}: {evaluated.directory}", highlight=False, soft_wrap=True)


def _percent(share: "Share") -> str:
    low, high = share.interval
    return f"{share.percent:.1f} ({low:.0f}–{high:.0f})"
