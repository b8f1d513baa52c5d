"""The systems' answers on disk: a folder a system, with `<part>.jsonl`, a row an instance, beside a manifest of what
gave the answers.

Rows are appended as they come, so a run that is killed loses the row it was writing and no more. An instance whose
request failed is asked again by the next run: of two rows the later counts.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from app.domain import Json
from app.errors import SetupError
from training.common.stages import digest, told, write_json
from training.data.benchmark import OpenedBenchmark
from training.data.records import Instance, Part
from training.evaluate.config import SystemConfig, parse_system
from training.evaluate.metrics import AnsweredCall, ErrorKind, Scores, score_calls

EVALUATIONS = "evaluations"
"""Name of the folder, in a benchmark's, that has one for each system."""
_MANIFEST = "manifest.json"
_VERSION = 2
"""Of manifest and rows."""


@dataclass(frozen=True)
class Row:
    """One instance's answer. Whether it is right is not kept: the report judges."""

    id: str
    """The instance's."""
    call: AnsweredCall
    text: str | None = None
    """What the model wrote; None where no model was asked."""
    detail: str | None = None
    """Why there is no answer."""
    probabilities: Mapping[str, float] | None = None
    """The model's probability of each candidate, by the tool's name."""
    decided_by: str = ""
    """`model`, `fused`, or the system's kind."""
    milliseconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    """`Judgement.error`, for people who read the file."""

    @property
    def failed(self) -> bool:
        return self.call.problem == ErrorKind.FAILED_REQUEST

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> "Row":
        """Raises KeyError or TypeError for what `to_json` did not write."""
        return cls(**{**values, "call": AnsweredCall(**values["call"])})


@dataclass(frozen=True)
class Identity:
    """Everything that decides a system's answers: answers of another identity must not go into the same file."""

    settings: Mapping[str, Json]
    """Those fields of the system's config that decide (`deciding_settings`)."""
    data: Mapping[str, Json]
    """Config, seed and digest of the benchmark."""
    files: Mapping[str, str]
    """Digests of model, adapter, ranker weights and code."""
    manifests: Mapping[str, Json] = field(default_factory=dict)
    """petool.json of model and adapter, shown in the report."""

    @property
    def digest(self) -> str:
        return digest({"settings": self.settings, "data": self.data, "files": self.files})

    def differences(self, other: Mapping[str, Json]) -> list[str]:
        """Names of the values in which a manifest differs."""
        found = []
        for section in ("settings", "data", "files"):
            mine, theirs = getattr(self, section), other.get(section, {})
            found += [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        return found


class AnswerFile:
    """The folder of one system's answers. Call `claim` before writing: it checks that what is there is the system's."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def claim(self, identity: Identity, config: SystemConfig, *, restart: bool = False) -> None:
        """Make the folder the system's; `restart` deletes the answers there are.

        Raises SetupError where it holds answers of another identity.
        """
        with told(self.directory):
            if restart:
                self._delete()
            self.directory.mkdir(parents=True, exist_ok=True)
        if not (self.directory / _MANIFEST).exists():
            facts = {"version": _VERSION, "digest": identity.digest, **asdict(identity)}
            self._write_manifest({**facts, "config": _config_json(config), "runs": []})
            return
        manifest = read_evaluation_manifest(self.directory)
        if manifest["digest"] != identity.digest:
            raise SetupError(
                f"{self.directory} holds answers of another configuration "
                f"({', '.join(identity.differences(manifest))} changed): --restart deletes them, --set name=OTHER "
                "keeps them."
            )
        # Fields that only name the system may have changed.
        self._write_manifest({**manifest, "config": _config_json(config)})

    def path(self, part: Part) -> Path:
        return self.directory / f"{part.value}.jsonl"

    def rows(self, part: Part) -> dict[str, Row]:
        """The rows by instance. A last line that is cut short, or being written right now, is left out.

        Raises SetupError, with file and line, for any other broken one.
        """
        path = self.path(part)
        if not path.exists():
            return {}
        with told(path):
            content = path.read_bytes()
        found = {}
        for number, line in enumerate(content[: _end_of_whole_lines(content)].splitlines(), 1):
            try:
                row = Row.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise SetupError(
                    f"{path}:{number} is not an answer: {error!r}. Delete the line, and run again."
                ) from error
            found[row.id] = row
        return found

    @contextmanager
    def open_to_append(self, part: Part) -> Iterator[IO[str]]:
        """The file, to be written behind its last whole line: what was cut short is dropped from it."""
        path = self.path(part)
        with told(path):
            if path.exists():
                os.truncate(path, _end_of_whole_lines(path.read_bytes()))
            with path.open("a", encoding="utf-8") as file:
                try:
                    yield file
                finally:
                    file.flush()
                    os.fsync(file.fileno())

    def add_run(self, **facts: Json) -> None:
        """Note a run that has just ended in the manifest."""
        manifest = dict(read_evaluation_manifest(self.directory))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write_manifest({**manifest, "runs": [*manifest["runs"], {"finished": now, **facts}]})

    def _delete(self) -> None:
        for path in (*map(self.path, Part), self.directory / _MANIFEST):
            path.unlink(missing_ok=True)

    def _write_manifest(self, manifest: Mapping[str, Json]) -> None:
        temporary = self.directory / f".{_MANIFEST}"
        with told(temporary):
            write_json(temporary, manifest)
            shutil.move(temporary, self.directory / _MANIFEST)


def _config_json(config: SystemConfig) -> dict[str, Json]:
    return config.model_dump(mode="json", by_alias=True)


def append_row(file: IO[str], row: Row) -> None:
    """Write the row out of this process at once, so that a crash loses no answer."""
    file.write(json.dumps(row.to_json(), ensure_ascii=True, separators=(",", ":")) + "\n")
    file.flush()


def _end_of_whole_lines(content: bytes) -> int:
    """How many bytes the whole lines take."""
    return content.rfind(b"\n") + 1


def read_evaluation_manifest(directory: Path) -> Mapping[str, Json]:
    """Raises SetupError where the manifest is not there, broken, or of a version that is not known here."""
    path = directory / _MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
        version = manifest["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is not the manifest of an evaluation: {error}. Evaluate with --restart.") from error
    if version != _VERSION:
        raise SetupError(f"{path} is of version {version}, and this petool knows {_VERSION}. Evaluate with --restart.")
    return dict(manifest)


@dataclass(frozen=True)
class EvaluatedSystem:
    """A system with all that it has answered on a benchmark."""

    config: SystemConfig
    manifest: Mapping[str, Json]
    rows: Mapping[Part, Mapping[str, Row]]
    """Of the parts that have answers, by instance."""
    parts: Mapping[Part, Scores]
    """Of the same parts."""

    @property
    def name(self) -> str:
        return self.config.name

    def scores(self, part: Part) -> Scores:
        """Empty where there are no answers."""
        return self.parts.get(part, Scores([]))


def read_evaluation(benchmark: OpenedBenchmark, name: str) -> EvaluatedSystem:
    """Raises SetupError where the system was not evaluated, or on other data."""
    directory = benchmark.directory / EVALUATIONS / name
    if not (directory / _MANIFEST).exists():
        evaluated = ", ".join(_evaluated_names(benchmark)) or "none"
        raise SetupError(f"{name} was not evaluated on {benchmark.directory}; evaluated are: {evaluated}.")
    manifest = read_evaluation_manifest(directory)
    if manifest["data"]["digest"] != benchmark.data.digest:
        raise SetupError(
            f"{directory} was evaluated on other data than {benchmark.directory} has now: evaluate with --restart."
        )
    answers = AnswerFile(directory)
    rows = {part: found for part in Part if (found := answers.rows(part))}
    parts = {part: score_rows(found, benchmark.dataset.of(part)) for part, found in rows.items()}
    config = parse_system(manifest["config"], str(directory / _MANIFEST))
    return EvaluatedSystem(config, manifest, rows, parts)


def read_evaluations(benchmark: OpenedBenchmark) -> list[EvaluatedSystem]:
    """All systems that were evaluated on the benchmark, by name."""
    return [read_evaluation(benchmark, name) for name in _evaluated_names(benchmark)]


def score_rows(rows: Mapping[str, Row], instances: Iterable[Instance]) -> Scores:
    """Judge the instances that have a row; `rows` by instance."""
    return score_calls({name: row.call for name, row in rows.items()}, instances)


def _evaluated_names(benchmark: OpenedBenchmark) -> list[str]:
    return sorted(path.parent.name for path in (benchmark.directory / EVALUATIONS).glob(f"*/{_MANIFEST}"))
