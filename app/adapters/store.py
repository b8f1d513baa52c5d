"""Adapters' files, stored under their own hash and never changed."""

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO, cast
from uuid import uuid4

from app.adapters.uploads import CARD, copy_directory, copy_tar
from app.errors import InvalidAdapter, Unavailable

_ASIDE = ".staging-"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_DAMAGE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


@dataclass(frozen=True)
class Staged:
    """A copy that nobody else uses yet: to be looked at, then committed or discarded."""

    path: Path
    digest: str
    """SHA-256, in hexadecimal digits, of what `sha256sum` prints of its files but README.md, in name's order."""
    size: int
    """Bytes of all its files."""


class AdapterStore:
    """One folder in `directory` for each adapter. Several processes may use the same.

    - source: what `stage_directory` copies from; None where it may not.
    - max_bytes: an adapter's files together.

    Everything blocks, and raises Unavailable where the disk does not take it.
    """

    def __init__(self, directory: Path, *, source: Path | None, max_bytes: int) -> None:
        self._directory = directory
        self._source = source
        self._max_bytes = max_bytes

    def stage_directory(self, relative: str) -> Staged:
        """Copies an adapter's files from a directory within `source`. InvalidAdapter tells what is wrong with it."""
        folder = self._source_folder(relative)
        with self._staging() as target:
            copy_directory(folder, target, self._max_bytes)
            return _sealed(target)

    def stage_tar(self, file: BinaryIO) -> Staged:
        """Copies them from a tar, plain or gzipped; from its beginning, wherever the file's position is."""
        with self._staging() as target:
            copy_tar(file, target, self._max_bytes)
            return _sealed(target)

    @contextmanager
    def upload_file(self) -> Iterator[BinaryIO]:
        """A file on the same disk, gone at the end, to receive an upload."""
        with _disk():
            self._directory.mkdir(parents=True, exist_ok=True)
            with TemporaryFile(dir=self._directory) as file:
                yield cast(BinaryIO, file)

    def prepare(self, staged: Staged) -> None:
        """What takes long of `commit`, for that to be quick: all on the disk for good, what is there looked at."""
        target = self.path(staged.digest)
        with _disk():
            _harden(staged.path)
            if target.exists() and not _is_intact(target, staged.digest):
                self._move_away(target)

    def commit(self, staged: Staged) -> Path:
        """Its place in the store; `staged`, which is prepared, is used up. The same may be committed many times."""
        target = self.path(staged.digest)
        with _disk():
            try:
                staged.path.rename(target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
                self.discard(staged)
            else:
                _sync(self._directory)
        return target

    def discard(self, staged: Staged) -> None:
        _delete(staged.path)

    def path(self, digest: str) -> Path:
        """Where the adapter is, if it is there."""
        if _DIGEST.fullmatch(digest) is None:
            raise ValueError(f"{digest!r} is no digest")
        return self._directory / digest

    def verify(self, digest: str) -> None:
        """InvalidAdapter if the files are not there, or not what they were. Reads all of them."""
        with _disk("read"):
            if not _is_intact(self.path(digest), digest):
                raise InvalidAdapter("its files in the store are not what was registered; register it again")

    def remove(self, digest: str) -> None:
        """Nobody sees a part of it. Nothing happens if it is not there."""
        with _disk():
            self._move_away(self.path(digest))

    def sweep(self, older_than_seconds: float) -> None:
        """Deletes copies that killed processes left behind: those that nobody has written to for so long."""
        oldest = time.time() - older_than_seconds
        with _disk():
            for folder in self._directory.glob(f"{_ASIDE}*"):
                # Others sweep too.
                with suppress(FileNotFoundError):
                    if max(path.lstat().st_mtime for path in (folder, *folder.glob("*"))) <= oldest:
                        _delete(folder)

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """A new folder, which stays if all goes well."""
        folder = self._aside()
        try:
            with _disk():
                folder.mkdir(parents=True)
                yield folder
        except BaseException:
            _delete(folder)
            raise

    def _aside(self) -> Path:
        return self._directory / f"{_ASIDE}{uuid4().hex}"

    def _move_away(self, folder: Path) -> None:
        aside = self._aside()
        # Another may have done so at the same time.
        with suppress(FileNotFoundError):
            if folder.is_dir() and not folder.is_symlink():
                folder.chmod(0o755)
            folder.rename(aside)
        _delete(aside)

    def _source_folder(self, relative: str) -> Path:
        if self._source is None:
            raise InvalidAdapter("registration by path is off: set PETOOL_ADAPTERS_SOURCE, or upload")
        shown = repr(relative[:200])
        if Path(relative).is_absolute() or ".." in Path(relative).parts:
            raise InvalidAdapter(f"the path {shown} leads out of PETOOL_ADAPTERS_SOURCE: give one relative to it")
        try:
            source = self._source.resolve(strict=True)
            folder = (source / relative).resolve(strict=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise InvalidAdapter(f"there is no directory {shown} in PETOOL_ADAPTERS_SOURCE: copy it there") from error
        if not folder.is_relative_to(source):
            raise InvalidAdapter(f"the path {shown} leads out of PETOOL_ADAPTERS_SOURCE by a link: copy it there")
        if not folder.is_dir():
            raise InvalidAdapter(f"{shown} is not a directory: give the one that the adapter's files are in")
        return folder


def _sealed(folder: Path) -> Staged:
    return Staged(folder, _digest(folder), sum(path.stat().st_size for path in folder.iterdir()))


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(folder.iterdir(), key=lambda path: path.name):
        if path.name != CARD:
            with path.open("rb") as file:
                one = hashlib.file_digest(file, "sha256").hexdigest()
            whole.update(f"{one}  {path.name}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _is_intact(folder: Path, digest: str) -> bool:
    try:
        return not folder.is_symlink() and _digest(folder) == digest
    except _DAMAGE:
        return False


def _harden(folder: Path) -> None:
    """On the disk for good, and not to be changed by mistake."""
    for path in folder.iterdir():
        _sync(path)
        path.chmod(0o444)
    _sync(folder)
    folder.chmod(0o555)


def _sync(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _delete(path: Path) -> None:
    """As far as possible: what stays is swept later."""
    with suppress(OSError):
        if not path.is_dir() or path.is_symlink():
            path.unlink(missing_ok=True)
            return
        path.chmod(0o755)
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _disk(verb: str = "written") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        # Without a number it is no file's.
        if error.errno is None or isinstance(error, (ConnectionError, TimeoutError)):
            raise
        raise Unavailable(f"The adapter store cannot be {verb}: {error.strerror}.", retry_after=30) from error
