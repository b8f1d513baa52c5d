"""Files that appear whole or not at all, and a manifest that names them with their checksums."""

import hashlib
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"


def read_manifest(directory: Path) -> dict[str, Any]:
    """Empty where there is none that can be read."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    return manifest if isinstance(manifest, dict) else {}


def write_manifest(directory: Path, manifest: dict[str, Any]) -> None:
    """Replaces the one there in one step. Raises OSError."""
    write_file(directory, MANIFEST, lambda path: path.write_text(json.dumps(manifest), "utf-8"))


def write_file(directory: Path, name: str, write: Callable[[Path], object]) -> dict[str, Any]:
    """Have `write` fill a file that gets its name only when it is whole and on the disk. Raises OSError.

    Returns what a manifest says of it: its name, its size in bytes and its BLAKE2b.
    """
    temporary = directory / f".{name}.{uuid.uuid4().hex}.tmp"
    try:
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
            digest = hashlib.file_digest(file, "blake2b").hexdigest()
            size = file.tell()
        temporary.replace(directory / name)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # there, a rename is on the disk only when its directory is
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    return {"name": name, "bytes": size, "blake2b": digest}


def is_there(directory: Path, entry: object, name: str) -> bool:
    """Whether `entry` is that of the file `name` and that is there in its size; its content is not read."""
    path = directory / name
    return (
        isinstance(entry, dict)
        and entry.get("name") == name
        and path.is_file()
        and path.stat().st_size == entry.get("bytes")
    )


def verified(directory: Path, entry: dict[str, Any]) -> Path:
    """The file that the entry names. Raises ValueError where it is damaged, OSError where it is unreadable."""
    path = directory / Path(entry["name"]).name
    with path.open("rb") as file:
        if hashlib.file_digest(file, "blake2b").hexdigest() != entry["blake2b"]:
            raise ValueError(f"{path.name} is damaged")
    return path
