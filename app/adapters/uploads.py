"""An adapter's files copied out of a directory or a tar that anyone may have made: names first, then bytes."""

import gzip
import io
import os
import stat
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from app.errors import InvalidAdapter, SetupError
from app.model_files.manifest import MANIFEST, read_manifest

CARD = "README.md"
_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt"})
_MOST_FILES = 64
_LARGEST_JSON = 1 << 22
"""Bytes. It is read into memory whole."""
_HEADERS = 1 << 20
"""Bytes between the contents of two files of a tar, at most: they are read into memory too."""
_CHUNK = 1 << 20


class _Room:
    """The bytes that an adapter may still have."""

    def __init__(self, size: int) -> None:
        self._size = self.left = size

    def copy(self, reader: BinaryIO, target: Path) -> None:
        name = target.name
        limit = min(self.left, _LARGEST_JSON) if target.suffix == ".json" else self.left
        with target.open("xb") as file:
            while True:
                with _reading(name):
                    chunk = reader.read(_CHUNK)
                if not chunk:
                    break
                limit -= len(chunk)
                self.left -= len(chunk)
                if self.left < 0:
                    self.refuse()
                if limit < 0:
                    raise InvalidAdapter(f"{name} is over {_LARGEST_JSON:,} bytes, which no adapter needs")
                file.write(chunk)

    def refuse(self) -> None:
        raise InvalidAdapter(f"its files are over {self._size:,} bytes, the most that an adapter may have here: leave "
                             "out what is not the adapter's, or train with a lower rank")  # fmt: skip


def copy_directory(folder: Path, target: Path, max_bytes: int) -> None:
    """Copies what belongs to the adapter in `folder`, a directory, into `target`, an empty one.

    InvalidAdapter if there is anything in it that should not be. OSError where `target` cannot be written.
    """
    present = _present(folder)
    room = _Room(max_bytes)
    if MANIFEST in present:
        _copy_file(folder / MANIFEST, target, room)
    # The copy of the manifest tells: its original may change meanwhile.
    for name in sorted((_belonging(target) & present) - {MANIFEST}):
        _copy_file(folder / name, target, room)
    _check_any(target)


def copy_tar(file: BinaryIO, target: Path, max_bytes: int) -> None:
    """The same from a tar, plain or gzipped, with the adapter's files at its top or in one folder."""
    room = _Room(max_bytes)
    try:
        stream = _Bounded(_unzipped(file), room)
        # As a stream a tar is read once, from front to back, whatever its headers say.
        with tarfile.open(fileobj=cast(BinaryIO, stream), mode="r|", tarinfo=_Member) as tar:
            _unpack(tar, stream, target, room)
        # gzip's checksum is at the end.
        while stream.read(_CHUNK):
            pass
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError) as error:
        raise InvalidAdapter(
            f"the upload is not a whole tar, plain or gzipped ({str(error)[:200]}): make it by "
            "`tar -czf adapter.tar.gz -C the-adapters-directory .`"
        ) from error
    for name in {path.name for path in target.iterdir()} - _belonging(target):
        (target / name).unlink()
    _check_any(target)


class _Bounded(io.RawIOBase):
    """Ends with InvalidAdapter where more is read than `allow` said, so that no header can fill the memory."""

    def __init__(self, file: BinaryIO, room: _Room) -> None:
        self._file, self._room, self._left = file, room, _HEADERS

    def allow(self, size: int) -> None:
        self._left = size + _HEADERS

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, _CHUNK) if size >= 0 else _CHUNK)
        self._left -= len(data)
        if self._left < 0:
            self._room.refuse()
        return data


class _Member(tarfile.TarInfo):
    """Python takes a header that is cut off or broken for the end."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Member":
        try:
            return super().fromtarfile(tar)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(str(error)) from error


def _unzipped(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    magic = file.read(2)
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if magic == b"\x1f\x8b" else file


def _unpack(tar: tarfile.TarFile, stream: _Bounded, target: Path, room: _Room) -> None:
    seen: set[PurePosixPath] = set()
    counts: Counter[bool] = Counter()
    folders: set[PurePosixPath] = set()
    while (member := tar.next()) is not None:
        path = _path(member)
        if path in seen:
            raise InvalidAdapter(f"{_shown(member.name)} is in the tar twice: make it anew")
        seen.add(path)
        counts[member.isdir()] += 1
        if max(counts.values()) > _MOST_FILES:
            raise InvalidAdapter(f"the tar has more than {_MOST_FILES} files; an adapter has about five")
        if not member.isdir():
            folders.add(path.parent)
            if len(folders) > 1 or len(path.parts) > 2:
                raise InvalidAdapter(f"{_shown(member.name)} is nested: an adapter's files lie together, at the tar's "
                                     "top or in one folder")  # fmt: skip
            stream.allow(room.left)
            content = tar.extractfile(member)
            assert content is not None  # of a regular file
            room.copy(cast(BinaryIO, content), target / path.name)
        stream.allow(0)


def _path(member: tarfile.TarInfo) -> PurePosixPath:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not member.name.isprintable():
        raise InvalidAdapter(f"{_shown(member.name)} is no name for an adapter's file: make the tar anew, from within "
                             "the adapter's directory")  # fmt: skip
    if not (member.isdir() or member.isreg()) or member.issparse() or member.size < 0:
        raise InvalidAdapter(f"{_shown(member.name)} is no plain file; leave it out, or put the file itself there")
    if not member.isdir():
        _refuse_pickle(path.as_posix())
        if not path.name:
            raise InvalidAdapter(f"{_shown(member.name)} is no name for an adapter's file")
    return path


def _present(folder: Path) -> frozenset[str]:
    """Names of the files at the top. InvalidAdapter if anything in it, at any depth, should not be there."""
    names = set()
    count = 0
    with _reading(folder.name):
        for path in _walk(folder):
            name = path.relative_to(folder).as_posix()
            mode = path.lstat().st_mode
            if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise InvalidAdapter(f"{_shown(name)} is a link or no plain file; put the file itself there")
            if stat.S_ISDIR(mode):
                continue
            _refuse_pickle(name)
            count += 1
            if count > _MOST_FILES:
                raise InvalidAdapter(f"the directory has more than {_MOST_FILES} files; an adapter has about five")
            if path.parent == folder:
                names.add(name)
    return frozenset(names)


def _walk(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise error

    for parent, folders, files in os.walk(folder, onerror=fail):
        yield from (Path(parent) / name for name in sorted([*folders, *files]))


def _copy_file(path: Path, target: Path, room: _Room) -> None:
    with _reading(path.name):
        # It may have become a link, or a pipe that nobody fills, since it was looked at.
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise InvalidAdapter(f"{_shown(path.name)} is no plain file; put the file itself there")
        room.copy(file, target / path.name)


def _belonging(folder: Path) -> frozenset[str]:
    """Names of an adapter's files: those its manifest lists, or else peft's."""
    try:
        manifest = read_manifest(folder)
    except SetupError as error:
        raise InvalidAdapter(error.detail.replace(f"{folder}{os.sep}", "")) from error
    if manifest is None:
        return frozenset({_CONFIG, _WEIGHTS, CARD})
    for name in manifest.files:
        if not name or PurePosixPath(name).name != name or not name.isprintable():
            raise InvalidAdapter(f"{MANIFEST} lists {_shown(name)}, but an adapter's files lie beside it, in no "
                                 "folder: train it again, or register it without its manifest")  # fmt: skip
    return frozenset({*manifest.files, MANIFEST, CARD})


def _refuse_pickle(name: str) -> None:
    if PurePosixPath(name).suffix.lower() in _PICKLES:
        raise InvalidAdapter(f"{_shown(name)} may be a pickle, which runs code when it is read: delete it, and keep "
                             "the .safetensors (peft writes one with `safe_serialization=True`)")  # fmt: skip


def _check_any(folder: Path) -> None:
    if not any(path.name != CARD for path in folder.iterdir()):
        raise InvalidAdapter(f"there is no adapter: {_CONFIG} and {_WEIGHTS} are needed, at the top or in one folder")


def _shown(name: str) -> str:
    return repr(name[:200])


@contextmanager
def _reading(name: str) -> Iterator[None]:
    try:
        yield
    except gzip.BadGzipFile:
        raise
    except OSError as error:
        raise InvalidAdapter(f"{_shown(name)} cannot be read ({error.strerror}); copy the adapter again") from error
