"""Reads tool documents one by one from files of JSON, JSON lines or YAML, each perhaps gzipped.

What cannot be read is reported with its place, and reading goes on behind it. Memory holds a whole file only where it
is a single object or YAML, of at most `MAX_WHOLE` characters; of arrays and lines it holds one document at a time.
"""

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import ijson

from app.catalogue.yaml_documents import yaml_documents
from app.domain import Json

MAX_WHOLE = 64 * 2**20
"""Characters, unpacked, of a file that can only be read whole; a larger one is reported as unreadable."""
_LINES = (".jsonl", ".ndjson")
_YAML = (".yaml", ".yml")
_KNOWN = (".json", *_LINES, *_YAML)
_FAILURES = (OSError, EOFError, zlib.error, ValueError, RecursionError, ijson.JSONError)


@dataclass(frozen=True)
class SourceDocument:
    """A document, and where it was found."""

    location: str
    """`file.json`, `file.jsonl:17` (a line), `file.json[17]` (an element of an array, from 0)."""
    raw: Json


@dataclass(frozen=True)
class Unreadable:
    """Why a file, a line or the rest of a file is no document."""

    location: str
    reason: str


def read_documents(path: Path) -> Iterator[SourceDocument | Unreadable]:
    """The documents of a file, or of every file in a folder and below it, in the order of their paths.

    Arrays, and objects with a list `tools`, are taken apart. A ToolBench tool (`api_list`) that does not name
    its category gets that of its folder. Nothing is raised for what the files hold.
    """
    if not path.is_dir():
        yield from _file(path, path.name)
        return
    files = [file for file in sorted(path.rglob("*")) if _suffix(file) in _KNOWN and file.is_file()]
    if not files:
        yield Unreadable(path.name, f"no file in this folder ends in {', '.join(_KNOWN)} (or that and .gz)")
    for file in files:
        yield from _file(file, str(file.relative_to(path)))


def _suffix(file: Path) -> str:
    """The file's suffix in lower case, without `.gz`."""
    name = file.name.lower()
    return Path(name.removesuffix(".gz")).suffix


def _file(file: Path, location: str) -> Iterator[SourceDocument | Unreadable]:
    found = False
    try:
        for result in _documents(file, location):
            found = True
            yield _with_category(result, file)
    except _FAILURES as error:
        yield Unreadable(location, _reason(error))
        return
    if not found:
        yield Unreadable(location, "the file is empty, or holds no documents")


def _reason(error: Exception) -> str:
    if isinstance(error, gzip.BadGzipFile | EOFError | zlib.error):
        return f"the gzip file is damaged: {error}"
    if isinstance(error, UnicodeDecodeError):
        return f"not {error.encoding.upper()} text: {error.reason} at byte {error.start}"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, RecursionError):
        return "the document is nested too deep"
    return f"not readable: {error}"


def _with_category(result: SourceDocument | Unreadable, file: Path) -> SourceDocument | Unreadable:
    """The result; a ToolBench tool without a category of its own gets the name of its folder."""
    if isinstance(result, Unreadable) or not isinstance(result.raw, dict) or "api_list" not in result.raw:
        return result
    named = any(result.raw.get(field) is not None for field in ("category_name", "category"))
    folder = file.absolute().parent.name
    if named or not folder:
        return result
    return SourceDocument(result.location, {**result.raw, "category_name": folder})


def _open(file: Path) -> IO[bytes]:
    with file.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(file, "rb")) if packed else file.open("rb")


def _encoding(stream: IO[bytes]) -> str:
    """The encoding by the byte order mark, or UTF-8 without one; the stream is left at its start."""
    start = stream.read(2)
    stream.seek(0)
    return "utf-16" if start in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"


def _documents(file: Path, location: str) -> Iterator[SourceDocument | Unreadable]:
    suffix = _suffix(file)
    with _open(file) as stream, io.TextIOWrapper(stream, encoding := _encoding(stream), newline="") as text:
        if suffix in _YAML:
            for number, raw in enumerate(yaml_documents(_read_whole(text))):
                yield from _split(location if number == 0 else f"{location}[{number}]", raw)
            return
        first = "" if suffix in _LINES else _first_character(text)
        text.seek(0)
        if first == "[":
            for number, raw in enumerate(ijson.items(_Utf8(text), "item", use_float=True)):
                yield SourceDocument(f"{location}[{number}]", raw)
        elif suffix in _LINES or _looks_like_lines(text):
            # Bytes where they can be split into lines, so that a wrong one spoils only its own line.
            yield from _lines(stream if encoding == "utf-8-sig" else text, location)
        elif first:
            yield from _single(text, location)


def _first_character(text: io.TextIOWrapper) -> str:
    """The first character that is no white space; empty where there is none."""
    while chunk := text.read(4096):
        if stripped := chunk.lstrip():
            return stripped[0]
    return ""


def _looks_like_lines(text: io.TextIOWrapper) -> bool:
    """Whether the first line is a whole document and more follows; the text is left at its start."""
    first = text.readline(MAX_WHOLE).strip()
    more = any(line.strip() for line in iter(lambda: text.readline(MAX_WHOLE), ""))
    text.seek(0)
    if not (first and more):
        return False
    with suppress(ValueError, RecursionError):
        return isinstance(json.loads(first), dict)
    return False


def _read_whole(text: io.TextIOWrapper) -> str:
    content = text.read(MAX_WHOLE + 1)
    if len(content) > MAX_WHOLE:
        raise ValueError(f"a single document of more than {MAX_WHOLE // 2**20} MiB; use an array or JSON lines")
    return content


def _single(text: io.TextIOWrapper, location: str) -> Iterator[SourceDocument]:
    try:
        content = _read_whole(text)
    except ValueError as error:
        if isinstance(error, UnicodeDecodeError):
            raise
        text.seek(0)
        found = False
        for number, raw in enumerate(ijson.items(_Utf8(text), "tools.item", use_float=True)):
            found = True
            yield SourceDocument(f"{location}[{number}]", raw)
        if not found:
            raise
        return
    yield from _split(location, json.loads(content))


def _split(location: str, raw: Json) -> Iterator[SourceDocument]:
    elements = raw.get("tools") if isinstance(raw, dict) and "openapi" not in raw else raw
    if not isinstance(elements, list):
        yield SourceDocument(location, raw)
        return
    for number, each in enumerate(elements):
        yield SourceDocument(f"{location}[{number}]", each)


def _lines(lines: Iterable[bytes | str], location: str) -> Iterator[SourceDocument | Unreadable]:
    """The document of each line that is not empty; a broken line is reported, and the next is read."""
    for number, line in enumerate(lines, 1):
        place = f"{location}:{number}"
        try:
            content = line.decode("utf-8-sig" if number == 1 else "utf-8") if isinstance(line, bytes) else line
            if not content.strip():
                continue
            raw = json.loads(content)
        except UnicodeDecodeError as error:
            yield Unreadable(place, _reason(error))
        except (ValueError, RecursionError) as error:
            yield Unreadable(place, f"not JSON: {error}")
        else:
            yield from _split(place, raw)


class _Utf8:
    """Text as the UTF-8 bytes that ijson reads."""

    def __init__(self, text: io.TextIOWrapper) -> None:
        self._text = text

    def read(self, size: int = -1) -> bytes:
        return self._text.read(size).encode("utf-8")
