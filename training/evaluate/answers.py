"""A system's answers on disk: `<part>.jsonl`, a row an instance, beside a manifest of what gave them.

Rows are appended as they come, so a run that is killed loses the row it was writing and no more. An instance whose
request failed is asked again by the next run: of two rows the later counts.
"""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from app.domain import Json
from app.errors import SetupError
from training.common.stages import digest, told, write_json
from training.data.records import Part
from training.evaluate.config import SystemConfig
from training.evaluate.metrics import ErrorKind, Said

EVALUATIONS = "evaluations"
"""The folder in a benchmark's."""
MANIFEST = "manifest.json"
VERSION = 1


@dataclass(frozen=True)
class Row:
    """One instance's answer. What is right of it is not kept: the report judges."""

    id: str
    said: Said
    text: str | None = None
    """As the model wrote it; None where none was asked."""
    detail: str | None = None
    """Why there is no answer."""
    probabilities: Mapping[str, float] | None = None
    """The model's, of each candidate, by name."""
    decided_by: str = ""
    """`model`, `fused`, or the system's kind."""
    milliseconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str | None = None
    """`Judgement.error`, for people who read the file; not read back."""

    @property
    def failed(self) -> bool:
        return self.said.problem == ErrorKind.FAILED_REQUEST

    def to_json(self) -> dict[str, Json]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Json]) -> "Row":
        """KeyError or TypeError for what `to_json` did not write."""
        return cls(**{**values, "said": Said(**values["said"])})


@dataclass(frozen=True)
class Identity:
    """What decides a system's answers: another one must not go on in the same file."""

    settings: Mapping[str, Json]
    """The system's config, as far as it decides."""
    data: Mapping[str, Json]
    """Of the benchmark: config, seed, digest."""
    files: Mapping[str, str]
    """Digests of model, adapter, ranker weights and code."""
    manifests: Mapping[str, Json] = field(default_factory=dict)
    """petool.json of model and adapter, to be shown."""

    @property
    def digest(self) -> str:
        return digest({"settings": self.settings, "data": self.data, "files": self.files})

    def differences(self, other: Mapping[str, Json]) -> list[str]:
        """Names of what a manifest has otherwise."""
        found = []
        for section in ("settings", "data", "files"):
            mine, theirs = getattr(self, section), other.get(section, {})
            found += [key for key in {**mine, **theirs} if mine.get(key) != theirs.get(key)]
        return found


class AnswerFile:
    """One system's folder. `opened` first: it checks that what is there came from the same system."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def opened(self, identity: Identity, config: SystemConfig, *, restart: bool = False) -> None:
        """SetupError where the folder holds answers of another system, unless they are to be forgotten."""
        path = self.directory / MANIFEST
        with told(self.directory):
            if restart:
                for part in Part:
                    self.path(part).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
            self.directory.mkdir(parents=True, exist_ok=True)
            if path.exists():
                manifest = read_evaluation_manifest(self.directory)
                if manifest["digest"] != identity.digest:
                    raise SetupError(
                        f"{self.directory} holds answers that came about otherwise "
                        f"({', '.join(identity.differences(manifest))} changed): --restart forgets them, --set "
                        "name=OTHER keeps them."
                    )
                # What only names the system may have changed.
                self._write({**manifest, "config": _as_json(config)})
                return
            facts = {"version": VERSION, "digest": identity.digest, **asdict(identity)}
            self._write({**facts, "config": _as_json(config), "runs": []})

    def path(self, part: Part) -> Path:
        return self.directory / f"{part.value}.jsonl"

    def rows(self, part: Part) -> dict[str, Row]:
        """By instance. A last line that is cut short, or just being written, is not read; SetupError, with file and
        line, for any other broken one."""
        path = self.path(part)
        if not path.exists():
            return {}
        with told(path):
            content = path.read_bytes()
        found = {}
        for number, line in enumerate(content[: _whole(content)].splitlines(), 1):
            try:
                row = Row.from_json(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise SetupError(
                    f"{path}:{number} is not an answer: {error!r}. Delete the line, and run again."
                ) from error
            found[row.id] = row
        return found

    @contextmanager
    def appending(self, part: Part) -> Iterator[IO[str]]:
        """Behind the last whole line: what was cut short is dropped from the file."""
        path = self.path(part)
        with told(path):
            if path.exists():
                os.truncate(path, _whole(path.read_bytes()))
            with path.open("a", encoding="utf-8") as file:
                try:
                    yield file
                finally:
                    file.flush()
                    os.fsync(file.fileno())

    def ran(self, **facts: Json) -> None:
        """Adds a run to the manifest."""
        manifest = dict(read_evaluation_manifest(self.directory))
        now = datetime.now(UTC).isoformat(timespec="seconds")
        self._write({**manifest, "runs": [*manifest["runs"], {"finished": now, **facts}]})

    def _write(self, manifest: Mapping[str, Json]) -> None:
        temporary = self.directory / f".{MANIFEST}"
        with told(temporary):
            write_json(temporary, manifest)
            shutil.move(temporary, self.directory / MANIFEST)


def _as_json(config: SystemConfig) -> dict[str, Json]:
    return config.model_dump(mode="json", by_alias=True)


def append(file: IO[str], row: Row) -> None:
    """On its way to the disk before the next is asked for."""
    file.write(json.dumps(row.to_json(), ensure_ascii=True, separators=(",", ":")) + "\n")
    file.flush()


def _whole(content: bytes) -> int:
    """Bytes of the whole lines."""
    return content.rfind(b"\n") + 1


def read_evaluation_manifest(directory: Path) -> Mapping[str, Json]:
    """SetupError where it is not there, broken, or of a version that is not known here."""
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
        version = manifest["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SetupError(f"{path} is not the manifest of an evaluation: {error}. Evaluate with --restart.") from error
    if version != VERSION:
        raise SetupError(f"{path} is of version {version}, and this petool knows {VERSION}. Evaluate with --restart.")
    return dict(manifest)
