"""`report.md` and `report.html` of the evaluations that there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from app.domain import Json
from training.common.revision import revision
from training.common.stages import NO_PROGRESS, Progress, told
from training.data.benchmark import OpenedBenchmark
from training.data.records import Part
from training.evaluate import drawing
from training.evaluate.answers import EVALUATIONS
from training.evaluate.config import shipped_systems
from training.evaluate.evaluations import EvaluatedSystem, read_evaluations
from training.evaluate.pictures import Picture
from training.evaluate.sections import Material, Section, in_order, sections

MARKDOWN, HTML = "report.md", "report.html"


@dataclass(frozen=True)
class Drawn:
    """A picture, ready to be laid out."""

    file: str
    alt: str
    light: str
    dark: str
    """Data URIs."""


def write_evaluation_report(
    benchmark: OpenedBenchmark, into: Path | None = None, progress: Progress = NO_PROGRESS
) -> list[Path]:
    """Into the benchmark's `evaluations/`, if no other folder is given; the two files' paths. SetupError where an
    evaluation cannot be read."""
    directory = into or benchmark.directory / EVALUATIONS
    systems = in_order([each for each in read_evaluations(benchmark) if each.parts])
    parts = list(sections(Material(benchmark.dataset, systems)))
    wanted = [block for section in parts for block in section.blocks if isinstance(block, Picture)]
    with told(directory):
        directory.mkdir(parents=True, exist_ok=True)
        progress.start("Drawing", len(wanted))
        drawn = {}
        for picture in wanted:
            drawn[picture.name] = _draw(picture, directory)
            progress.advance(1)
        given = _given(benchmark, systems, parts, drawn)
        for name in (MARKDOWN, HTML):
            (directory / name).write_text(_environment().get_template(f"{name}.j2").render(given), "utf-8")
    return [directory / MARKDOWN, directory / HTML]


def _draw(picture: Picture, directory: Path) -> Drawn:
    file = f"{picture.name}.png"
    uris = []
    for theme in (drawing.LIGHT, drawing.DARK):
        with drawing.drawn_in(theme):
            figure = picture.draw()
            uris.append(drawing.svg_uri(figure))
            if theme is drawing.LIGHT:
                (directory / file).write_bytes(drawing.png(figure))
    return Drawn(file, picture.alt, *uris)


def _environment() -> Environment:
    loader = PackageLoader("training.evaluate")
    escape = select_autoescape(["html.j2"])
    # The Markdown is not escaped, the HTML is.
    environment = Environment(loader=loader, autoescape=escape, undefined=StrictUndefined)  # noqa: S701
    environment.trim_blocks = environment.lstrip_blocks = True
    environment.filters["cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    environment.tests["picture"] = lambda block: isinstance(block, Picture)
    return environment


def _given(
    benchmark: OpenedBenchmark,
    systems: Sequence[EvaluatedSystem],
    parts: Sequence[Section],
    drawn: Mapping[str, Drawn],
) -> dict[str, Json]:
    evaluated = {each.name for each in systems}
    return {
        "data": benchmark.data,
        "counts": {part.value: len(benchmark.dataset.of(part)) for part in Part},
        "revision": revision(),
        "systems": [_facts(each, benchmark) for each in systems],
        "missing": [name for name in shipped_systems() if name not in evaluated],
        "sections": parts,
        "drawn": drawn,
    }


def _facts(system: EvaluatedSystem, benchmark: OpenedBenchmark) -> dict[str, Json]:
    manifest = system.manifest
    runs = manifest["runs"]
    models = [
        {**values, "role": role, "other_data": values["data"]["digest"] != benchmark.data.digest}
        for role, values in manifest["manifests"].items()
    ]
    answers = [
        f"{part.value} {len(scores):,} of {len(benchmark.dataset.of(part)):,}" for part, scores in system.parts.items()
    ]
    return {
        "title": system.config.title,
        "name": system.name,
        "answers": ", ".join(answers),
        "failed": sum(each.row.failed for scores in system.parts.values() for each in scores.judged),
        "milliseconds": _median([each.row.milliseconds for scores in system.parts.values() for each in scores.judged]),
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
