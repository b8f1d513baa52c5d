"""Long work as stages whose outputs stand on disk: each is whole or not there, and is not done twice.

A stage writes into a folder beside its own and the folder is renamed when everything is on the disk, its manifest
included. So a run that is killed at any moment leaves finished stages and, at most, a folder that the next run throws
away. Whether a finished stage can be kept is decided by its fingerprint: what it is made from (its settings, the
outputs of the stages before, its version), not by times.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.domain import Json
from app.errors import SetupError

MANIFEST = "manifest.json"
LOCK = ".lock"
_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class Progress:
    """How a stage tells how far it is; drawn by the command line, ignored in tests."""

    start: Callable[[str, int | None], None] = lambda _, __: None
    """A new piece of work: what it is, and how many steps it has; None where nobody knows."""
    advance: Callable[[int], None] = lambda _: None


NO_PROGRESS = Progress()


@dataclass(frozen=True)
class Stage:
    """A finished stage."""

    name: str
    directory: Path
    manifest: Mapping[str, Json]
    kept: bool
    """It stood there already."""
    seconds: float

    @property
    def report(self) -> dict[str, Json]:
        """What the stage counted."""
        return dict(self.manifest["report"])

    @property
    def digest(self) -> str:
        """SHA-256 over the outputs' names and hashes."""
        return digest(self.manifest["outputs"])

    def path(self, name: str) -> Path:
        return self.directory / name


@dataclass
class Workspace:
    """The folder of one build, a folder a stage."""

    directory: Path
    progress: Progress = field(default_factory=Progress)

    def run(
        self,
        name: str,
        produce: Callable[[Path], Mapping[str, Json]],
        *,
        version: int,
        settings: Mapping[str, Json],
        after: Sequence[Stage] = (),
    ) -> Stage:
        """`produce` writes files into the folder it is given and returns the stage's report.

        `version` changes when the stage's code gives other output for the same input. Raises SetupError where the
        disk does not take the output; whatever `produce` raises goes through, and leaves nothing behind.
        """
        fingerprint = digest(
            {"stage": name, "version": version, "settings": settings, "after": [stage.digest for stage in after]}
        )
        directory = self.directory / name
        started = time.monotonic()
        kept = _whole(directory, fingerprint)
        if kept is not None:
            return Stage(name, directory, kept, True, time.monotonic() - started)
        partial = self.directory / f".{name}.partial"
        with told(partial):
            self._clear(partial, directory)
            partial.mkdir(parents=True)
            try:
                report = produce(partial)
                write_json(partial / MANIFEST, _manifest(name, fingerprint, settings, partial, report))
                # As the next run will read it: numbers as keys become text, whoever looks.
                made = read_manifest(partial)
                _sync(partial)
                partial.rename(directory)
                _sync(self.directory)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        return Stage(name, directory, made, False, time.monotonic() - started)

    def _clear(self, *leftovers: Path) -> None:
        for each in leftovers:
            gone = self.directory / f".{each.name.lstrip('.')}.removed"
            # Of a run that was killed right here.
            shutil.rmtree(gone, ignore_errors=True)
            if each.exists():
                # Renamed first: a removal that is cut short must not leave half of what looks whole.
                each.rename(gone)
                shutil.rmtree(gone)


def put_in_place(partial: Path, out: Path) -> None:
    """The folder under its final name; one that stood there gives way to it, whole."""
    replaced = out.parent / f".{out.name}.replaced"
    # Of a run that was killed right here.
    shutil.rmtree(replaced, ignore_errors=True)
    if out.exists():
        out.rename(replaced)
    partial.rename(out)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def told(where: Path) -> Iterator[None]:
    """Failures of the disk as SetupError."""
    try:
        yield
    except OSError as error:
        raise SetupError(
            f"{error.filename or where} cannot be read or written: {error.strerror or error}. Nothing half-written was "
            "kept: make room (or choose another folder with --out), and run the same command again; finished stages "
            "stay."
        ) from error


@contextmanager
def only_here(directory: Path) -> Iterator[None]:
    """Raises SetupError where another process is at work in the folder: each would clear away what the other makes."""
    with told(directory):
        directory.mkdir(parents=True, exist_ok=True)
        lock = (directory / LOCK).open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SetupError(
                f"Another process is building in {directory}: wait for it, or choose another --out."
            ) from error
        yield


def _whole(directory: Path, fingerprint: str) -> dict[str, Json] | None:
    """The manifest, if the stage is finished, made from the same things, and its files are what it says."""
    try:
        manifest = json.loads((directory / MANIFEST).read_text("utf-8"))
        if manifest["fingerprint"] != fingerprint:
            return None
        outputs: dict[str, str] = manifest["outputs"]
        if all(file_hash(directory / name) == digest for name, digest in outputs.items()):
            return dict(manifest)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def read_manifest(directory: Path) -> Mapping[str, Json]:
    """Of a finished stage. Raises SetupError where there is none."""
    try:
        return dict(json.loads((directory / MANIFEST).read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise SetupError(f"{directory} is no finished stage of a build: run the build first, or again.") from error


def _manifest(
    name: str, fingerprint: str, settings: Mapping[str, Json], directory: Path, report: Mapping[str, Json]
) -> dict[str, Json]:
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    return {
        "stage": name,
        "fingerprint": fingerprint,
        "settings": dict(settings),
        "report": dict(report),
        "outputs": {str(path.relative_to(directory)): file_hash(path) for path in files},
    }


def file_hash(path: Path) -> str:
    """SHA-256, 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def digest(value: Json) -> str:
    """SHA-256 of a JSON value, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")).hexdigest()


def write_json(path: Path, value: Json) -> None:
    """Keys in their own order, which is that of reports."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", "utf-8")


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """JSON Lines; how many. Half surrogate pairs, which UTF-8 has no bytes for, are written as escapes."""
    count = 0
    with path.open("w", encoding="utf-8", errors="strict") as file:
        for row in rows:
            text = json.dumps(row, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
            try:
                text.encode("utf-8")
            except UnicodeEncodeError:
                text = json.dumps(row, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
            file.write(text + "\n")
            count += 1
    return count


def _sync(directory: Path) -> None:
    """Everything in the folder, and its list of names, on the disk: a rename is no use if the data is not there."""
    for path in [*directory.rglob("*"), directory]:
        if path.is_file() or path.is_dir():
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
