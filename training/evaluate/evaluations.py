"""The evaluations of a benchmark that there are."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from app.domain import Json
from app.errors import SetupError
from training.data.benchmark import OpenedBenchmark
from training.data.records import Part
from training.evaluate.answers import EVALUATIONS, MANIFEST, AnswerFile, read_evaluation_manifest
from training.evaluate.config import SystemConfig, parse_system
from training.evaluate.scores import Scores, scores_of


@dataclass(frozen=True)
class EvaluatedSystem:
    config: SystemConfig
    directory: Path
    manifest: Mapping[str, Json]
    parts: Mapping[Part, Scores]
    """Those with answers."""

    @property
    def name(self) -> str:
        return self.config.name

    def scores(self, part: Part) -> Scores:
        """Empty where there are no answers."""
        return self.parts.get(part, Scores([]))


def read_evaluation(benchmark: OpenedBenchmark, name: str) -> EvaluatedSystem:
    """SetupError where there is none, or it is of other data."""
    directory = benchmark.directory / EVALUATIONS / name
    if not (directory / MANIFEST).exists():
        there = ", ".join(_names(benchmark)) or "none"
        raise SetupError(f"{name} was not evaluated on {benchmark.directory}; evaluated are: {there}.")
    manifest = read_evaluation_manifest(directory)
    if manifest["data"]["digest"] != benchmark.data.digest:
        raise SetupError(
            f"{directory} was evaluated on other data than {benchmark.directory} has now: evaluate with --restart."
        )
    config = parse_system(manifest["config"], str(directory / MANIFEST))
    answers = AnswerFile(directory)
    parts = {}
    for part in Part:
        if rows := answers.rows(part):
            parts[part] = scores_of(rows, benchmark.dataset.of(part))
    return EvaluatedSystem(config, directory, manifest, parts)


def read_evaluations(benchmark: OpenedBenchmark) -> list[EvaluatedSystem]:
    """All there are, by name."""
    return [read_evaluation(benchmark, name) for name in _names(benchmark)]


def _names(benchmark: OpenedBenchmark) -> list[str]:
    return sorted(path.parent.name for path in (benchmark.directory / EVALUATIONS).glob(f"*/{MANIFEST}"))
