"""What is uploaded: a tar of an adapter's directory, or one that is there already."""

import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from app.errors import SetupError

_ENDINGS = (".tar.gz", ".tgz", ".tar")


def name_for(path: Path) -> str:
    """The adapter's, where none is given."""
    name = path.resolve().name.lower()
    if path.is_dir():
        return name
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)


@contextmanager
def archive(path: Path) -> Iterator[BinaryIO]:
    """The tar of a directory, or the file itself, to be read from its beginning. Raises SetupError."""
    try:
        if path.is_dir():
            files = _files(path)
            with tempfile.TemporaryFile(prefix="petool-adapter-") as file:
                _pack(files, file)
                yield file
        else:
            if not (path.is_file() and path.name.lower().endswith(_ENDINGS)):
                raise SetupError(_neither(path))
            with path.open("rb") as file:
                yield file
    except OSError as error:
        raise SetupError(f"{error.filename or path} cannot be read or packed: {error.strerror or error}.") from error


def _neither(path: Path) -> str:
    if not path.exists():
        return f"There is no directory or file {path}; with --on-server the path is one of the server's."
    return f"{path} is neither an adapter's directory nor a tar of one ({', '.join(_ENDINGS)})."


def _files(folder: Path) -> list[Path]:
    """All at its top. SetupError for what would be left behind unsaid."""
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if not files:
        raise SetupError(f"{folder} is empty: give the directory with adapter_config.json in it.")
    for path in files:
        if path.is_symlink() or not path.is_file():
            kind = "a link" if path.is_symlink() else "a directory" if path.is_dir() else "no plain file"
            raise SetupError(
                f"{path} is {kind}, and an adapter is plain files in one directory: copy its files to a directory of "
                f"their own and register that, or make a tar of them."
            )
    return files


def _pack(files: list[Path], target: BinaryIO) -> None:
    with tarfile.open(fileobj=target, mode="w") as tar:
        for path in files:
            tar.add(path, path.name, recursive=False, filter=_anonymous)
    target.seek(0)


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
