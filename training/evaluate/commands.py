"""The commands `petool-train evaluate`, `compare` and `report`."""

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
    from training.data.records import Part
    from training.evaluate.run import EvaluationResult
    from training.evaluate.statistics import Share

BenchmarkOption = Annotated[Path, typer.Option("--benchmark", help="Folder of a benchmark that was built.")]
PartOption = Annotated[str, typer.Option(help="Part of the benchmark: test, unseen or train.")]
_DEFAULT_BENCHMARK = Path("benchmarks/paper-scale")
_METRIC_NAMES = {"tool": "Tool Acc", "parameters": "Param Acc", "joint": "both"}


def add_evaluate(cli: typer.Typer) -> None:
    cli.command("evaluate")(evaluate)
    cli.command("compare")(compare)
    cli.command("report")(report)


def evaluate(
    systems: Annotated[list[str], typer.Argument(help="Names of shipped systems, or YAML files.", metavar="SYSTEM...")],
    benchmark: BenchmarkOption = _DEFAULT_BENCHMARK,
    part: PartOption = "test",
    settings: Annotated[
        list[HistorySetting] | None,
        typer.Option("--setting", help="Ask only this history setting. May be repeated."),
    ] = None,
    instances: Annotated[
        int | None,
        typer.Option(min=1, help="Number of instances, as many of each setting. Default: all."),
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="field=value: change the system.")] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Delete the answers there are.")] = False,
) -> None:
    """Ask systems the benchmark's instances. Run again to resume after an interruption, or to ask more instances."""
    # peft calls a name of transformers that is deprecated; nobody here can change that.
    warnings.filterwarnings("ignore", message=".*gradient_checkpointing.*", category=FutureWarning)
    with progress_bars() as progress:
        # The libraries behind it take seconds to import; --help should not.
        from training.data.benchmark import open_benchmark
        from training.evaluate.config import load_system
        from training.evaluate.run import Evaluation, Selection

        configs = [load_system(each, changes or []) for each in systems]
        selection = Selection(_parse_part(part), frozenset(settings or ()), instances)
        evaluation = Evaluation(open_benchmark(benchmark), progress)
        results = [evaluation.evaluate(each, selection, command=_command_line(), restart=restart) for each in configs]
    for config, result in zip(configs, results, strict=True):
        _print_result(config.title, result)


def compare(
    first: Annotated[str, typer.Argument(help="Name of an evaluated system.")],
    second: Annotated[str, typer.Argument(help="Name of another one.")],
    benchmark: BenchmarkOption = _DEFAULT_BENCHMARK,
    part: PartOption = "test",
) -> None:
    """Test whether two evaluated systems differ on the instances that both answered."""
    from training.data.benchmark import open_benchmark
    from training.evaluate.answers import read_evaluation
    from training.evaluate.metrics import METRICS, SETTINGS, compare_scores

    opened = open_benchmark(benchmark)
    one, other = (read_evaluation(opened, name).scores(_parse_part(part)) for name in (first, second))
    table = Table("setting", "", "n", f"only {first} : only {second}", "difference (95%)", "p", title=f"part {part}")
    for setting in (*SETTINGS, None):
        for metric in METRICS:
            test = compare_scores(one, other, metric, setting)
            if test is None:
                continue
            low, high = test.interval
            table.add_row(
                setting.value if setting is not None else "all",
                _METRIC_NAMES[metric],
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
    benchmark: BenchmarkOption = _DEFAULT_BENCHMARK,
    into: Annotated[
        Path | None, typer.Option("--out", help="Folder of the report. Default: evaluations/ in the benchmark's.")
    ] = None,
) -> None:
    """Write report.md and report.html of all evaluations on the benchmark."""
    with progress_bars() as progress:
        from training.data.benchmark import open_benchmark
        from training.evaluate.report.write import write_evaluation_report

        written = write_evaluation_report(open_benchmark(benchmark), into, progress)
    for path in written:
        out.print(str(path), highlight=False, soft_wrap=True)


def _parse_part(name: str) -> "Part":
    from training.data.records import Part

    try:
        return Part(name)
    except ValueError:
        raise SetupError(f"There is no part {name!r}; there are {', '.join(Part)}.") from None


def _command_line() -> str:
    """As it was typed, without the program's folder."""
    return shlex.join(["petool-train", *sys.argv[1:]])


def _print_result(title: str, result: "EvaluationResult") -> None:
    table = Table("setting", "instances", "Tool Acc", "Param Acc", "both", title=title)
    for setting, found in result.scores.by_setting.items():
        table.add_row(setting, f"{found.count:,}", *map(_percent, (found.tool, found.parameters, found.joint)))
    out.print(table)
    counts = result.counts
    text = f"{counts.asked:,} asked in {counts.seconds:.0f} s, {result.kept:,} kept"
    failed = f", [red]{counts.failed:,} failed[/]: run again to ask those" if counts.failed else ""
    out.print(f"{text}{failed}: {result.directory}", highlight=False, soft_wrap=True)


def _percent(share: "Share") -> str:
    low, high = share.interval
    return f"{share.percent:.1f} ({low:.0f}–{high:.0f})"
