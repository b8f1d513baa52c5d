"""`petool-train`: rebuild the benchmark, fit on it, report."""

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from app.domain import Json
from app.errors import PEToolError
from training.common.console import err, out, progress_bars
from training.common.stages import Workspace, file_hash, told, write_rows
from training.evaluate.commands import add_evaluate
from training.finetune.commands import add_finetune

cli = typer.Typer(no_args_is_help=True, help="Offline: the benchmark PEToolBench, and what is trained on it.")
benchmark = typer.Typer(no_args_is_help=True, help="The benchmark.")
ranker = typer.Typer(no_args_is_help=True, help="The preference ranker.")
matcher = typer.Typer(no_args_is_help=True, help="The matcher, which our own model's hints come from.")
cli.add_typer(benchmark, name="benchmark")
cli.add_typer(ranker, name="ranker")
cli.add_typer(matcher, name="matcher")
add_finetune(cli)
add_evaluate(cli)
DEFAULT = Path("benchmarks/paper-scale")


def main() -> None:
    """What goes wrong is told in a sentence, with exit status 1; 130 after Ctrl-C."""
    try:
        cli()
    except PEToolError as error:
        err.print(f"[red]{escape(error.detail)}[/]", highlight=False, soft_wrap=True)
        sys.exit(1)


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
    started = time.monotonic()
    with progress_bars() as progress:
        # The libraries behind it take seconds to import; --help should not.
        from training.petoolbench.build import build
        from training.petoolbench.config import load_config

        settings = load_config(config, **({"path": str(tools)} if tools is not None else {}))
        directory = into or Path("benchmarks") / settings.name
        built = build(settings, directory, progress, budget=budget)
    for stage in built.stages.values():
        out.print(f"{stage.name:13} {'kept' if stage.kept else f'{stage.seconds:6.1f} s'}", highlight=False)
    facts = built.stages["dataset"].report
    out.print(
        f"[bold]{facts['instances']:,}[/] instances over [bold]{facts['tools']:,}[/] tools in "
        f"[bold]{facts['categories']}[/] categories ({facts['unseen']:,} more of unseen tools), "
        f"{time.monotonic() - started:.0f} s.",
        highlight=False,
    )
    if built.usage is not None:
        out.print_json(data=built.usage)
    out.print(f"Dataset: {built.dataset}\nReport:  {built.report}", highlight=False, soft_wrap=True)


@benchmark.command("export")
def benchmark_export(
    into: Annotated[Path, typer.Argument(help="Where the published files go.")],
    built: Annotated[Path, typer.Option("--benchmark", help="The folder of a benchmark that was built.")] = DEFAULT,
) -> None:
    """Write the benchmark in the published file format, for LLaMA-Factory and the paper's own scripts."""
    from training.data.dataset import read_dataset
    from training.data.published import export_published

    dataset = read_dataset(built / "dataset")
    with told(into):
        into.mkdir(parents=True, exist_ok=True)
        report = export_published(dataset, into)
    for name, count in report.entries.items():
        out.print(f"{count:7,} {name}", highlight=False)
    if report.without_rejected:
        out.print(f"{report.without_rejected:,} training instances have no call to reject: left out of the DPO files.")


@benchmark.command("import")
def benchmark_import(
    published: Annotated[Path, typer.Argument(help="A folder with user_entries_{sft,dpo,test}_{p,r,c}.json.")],
    into: Annotated[Path, typer.Option("--out", help="The benchmark's folder.")] = Path("benchmarks/published"),
) -> None:
    """Take over the published dataset's files, to train and evaluate on them."""
    from training.data.dataset import write_dataset
    from training.data.published import import_published
    from training.petoolbench.stage_8_split import counts

    with progress_bars() as progress:
        progress.start("Reading published files (bytes)", None)
        seen = 0

        def read(done: int, _: int | None) -> None:
            nonlocal seen
            progress.advance(done - seen)
            seen = done

        dataset, report = import_published(published, read)
        facts = {
            "config": "published",
            "seed": 0,
            "writer": "its authors",
            "tools": len(dataset.tools),
            "categories": len({tool.category for tool in dataset.tools.values()}),
            "instances": counts(dataset.instances),
        }

        def produce(folder: Path) -> dict[str, Json]:
            write_dataset(dataset, folder, facts)
            write_rows(folder / "rejected.jsonl", (each.to_json() for each in report.rejected_calls))
            return {**facts, "rejected_calls": len(report.rejected_calls), "remarks": len(report.remarks)}

        # Whole or not at all, as every stage.
        Workspace(into, progress).run(
            "dataset",
            produce,
            version=1,
            settings={"published": {path.name: file_hash(path) for path in sorted(published.rglob("*.json"))}},
        )
    out.print(
        f"{len(dataset.instances):,} instances, {len(dataset.tools):,} tools: {into / 'dataset'}", highlight=False
    )
    for problem in report.problems[:20]:
        err.print(f"  {problem.file}[{problem.entry}]: {problem.reason}", highlight=False, markup=False)
    if report.problems:
        err.print(f"{len(report.problems):,} of {sum(report.entries.values()):,} entries were not imported.")


@ranker.command("fit")
def ranker_fit(
    built: Annotated[Path, typer.Option("--benchmark", help="The folder of a benchmark that was built.")] = DEFAULT,
    into: Annotated[Path, typer.Option("--out", help="Where weights and card go.")] = Path("models/ranker"),
    instances: Annotated[int, typer.Option(help="Training instances to use, at most.")] = 2000,
) -> None:
    """Fit the preference ranker's weights on the benchmark's training part."""
    with progress_bars() as progress:
        from training.fitting.ranker import fit_built

        fit_built(built, into, progress, largest=instances)
    out.print((into / "README.md").read_text("utf-8"), highlight=False, markup=False)


@matcher.command("fit")
def matcher_fit(
    built: Annotated[Path, typer.Option("--benchmark", help="The folder of a benchmark that was built.")] = DEFAULT,
    into: Annotated[Path, typer.Option("--out", help="Where weights and card go.")] = Path("models/matcher"),
) -> None:
    """Fit the matcher on the benchmark's training part. Run again: what is finished is kept."""
    with progress_bars() as progress:
        from training.fitting.matcher.build import fit_built

        fit_built(built, into, progress)
    out.print((into / "README.md").read_text("utf-8"), highlight=False, markup=False)


@cli.command("reproduce")
def reproduce_model(
    config: Annotated[str, typer.Option(help="The shipped config's name, or a YAML file.")] = "small",
    models: Annotated[Path, typer.Option(help="Where models and adapters go.")] = Path("models"),
) -> None:
    """Make our own model from nothing: benchmark, matcher, base, SFT, pairs, DPO. Run again to go on after a stop."""
    started = time.monotonic()
    with progress_bars() as progress:
        from training.pretraining.config import load_small_config
        from training.reproduce import Places, reproduce

        scores = reproduce(
            load_small_config(config), Places(models), progress, lambda text: err.print(text, highlight=False)
        )
    out.print_json(data={name: dict(each) for name, each in scores.items()})
    out.print(f"{time.monotonic() - started:.0f} s. Next: petool-train evaluate, petool-train report.", highlight=False)


if __name__ == "__main__":
    main()
