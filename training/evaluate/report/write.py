"""Writes `report.md` and `report.html` of the evaluations that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from app.domain import Json
from training.common.plots import DARK, LIGHT, save_png, svg_data_uri, themed
from training.common.revision import revision
from training.common.stages import NO_PROGRESS, Progress, told
from training.data.benchmark import OpenedBenchmark
from training.data.records import Part
from training.evaluate.answers import EVALUATIONS, EvaluatedSystem, read_evaluations
from training.evaluate.config import shipped_systems
from training.evaluate.metrics import ErrorKind
from training.evaluate.report.charts import Chart
from training.evaluate.report.sections import Material, Section, build_sections, sort_systems


@dataclass(frozen=True)
class DrawnChart:
    """A chart, ready to be laid out."""

    file: str
    """Name of the PNG."""
    alt: str
    light: str
    """For light pages, as a data URI."""
    dark: str
    """For dark pages."""


def write_evaluation_report(
    benchmark: OpenedBenchmark, into: Path | None = None, progress: Progress = NO_PROGRESS
) -> list[Path]:
    """Write into the benchmark's `evaluations/`, or into another folder, and return the two files' paths.

    Raises SetupError where an evaluation cannot be read.
    """
    directory = into or benchmark.directory / EVALUATIONS
    systems = sort_systems([each for each in read_evaluations(benchmark) if each.parts])
    sections = list(build_sections(Material(benchmark.dataset, systems)))
    charts = [block for section in sections for block in section.blocks if isinstance(block, Chart)]
    written = [directory / name for name in ("report.md", "report.html")]
    with told(directory):
        directory.mkdir(parents=True, exist_ok=True)
        progress.start("Drawing", len(charts))
        drawn = {}
        for chart in charts:
            drawn[chart.name] = _draw(chart, directory)
            progress.advance(1)
        values = _values(benchmark, systems, sections, drawn)
        for path in written:
            path.write_text(_environment().get_template(f"{path.name}.j2").render(values), "utf-8")
    return written


def _draw(chart: Chart, directory: Path) -> DrawnChart:
    file = f"{chart.name}.png"
    with themed(LIGHT):
        figure = chart.draw()
        light = svg_data_uri(figure)
        save_png(figure, directory / file)
    with themed(DARK):
        dark = svg_data_uri(chart.draw())
    return DrawnChart(file, chart.alt, light, dark)


def _environment() -> Environment:
    loader = PackageLoader("training.evaluate.report")
    escape = select_autoescape(["html.j2"])
    # Only HTML is escaped: Markdown has its own special characters, which the filter `cell` sees to.
    environment = Environment(loader=loader, autoescape=escape, undefined=StrictUndefined)  # noqa: S701
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    environment.tests["chart"] = lambda block: isinstance(block, Chart)
    return environment


def _values(
    benchmark: OpenedBenchmark,
    systems: Sequence[EvaluatedSystem],
    sections: Sequence[Section],
    drawn: Mapping[str, DrawnChart],
) -> dict[str, Json]:
    """What the templates fill in."""
    evaluated = {each.name for each in systems}
    return {
        "data": benchmark.data,
        "counts": {part.value: len(benchmark.dataset.of(part)) for part in Part},
        "revision": revision(),
        "systems": [_facts(each, benchmark) for each in systems],
        "missing": [name for name in shipped_systems() if name not in evaluated],
        "sections": sections,
        "drawn": drawn,
    }


def _facts(system: EvaluatedSystem, benchmark: OpenedBenchmark) -> dict[str, Json]:
    """How a system was measured."""
    manifest = system.manifest
    runs = manifest["runs"]
    models = [
        {**values, "role": role, "other_data": values["data"]["digest"] != benchmark.data.digest}
        for role, values in manifest["manifests"].items()
    ]
    answers = [
        f"{part.value} {len(scores):,} of {len(benchmark.dataset.of(part)):,}" for part, scores in system.parts.items()
    ]
    failed = [scores.errors()[ErrorKind.FAILED_REQUEST].hits for scores in system.parts.values()]
    return {
        "title": system.config.title,
        "name": system.name,
        "answers": ", ".join(answers),
        "failed": sum(failed),
        "milliseconds": _median([row.milliseconds for rows in system.rows.values() for row in rows.values()]),
        "first": runs[0]["finished"] if runs else "",
        "last": runs[-1]["finished"] if runs else "",
        "commands": list(dict.fromkeys(each["command"] for each in runs if each["command"])),
        "revisions": list(dict.fromkeys(each["revision"][:12] for each in runs if each["revision"])),
        "settings": {key: value for key, value in manifest["settings"].items() if value is not None},
        "digest": manifest["digest"],
        "models": models,
    }


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else 0.0
