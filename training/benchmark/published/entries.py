"""The entries of a large JSON array, one by one; behind a broken one reading goes on.

ijson reads streams too, but stops for good at the first fault.
"""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from app.domain import Json
from app.errors import SetupError
from training.benchmark.published.reading import DECODER

MAX_ENTRY = 16 * 2**20
"""Characters, after which a broken entry is not read further; a usual one has 20,000."""
_CHUNK = 2**20
_BETWEEN = re.compile(r"[\s,]*")
# An entry begins behind a comma. Within a text the quotes would have backslashes before them, so this is none.
_BEGINS = re.compile(
    r",\s*(?=\{\s*\"(?:instruction\w*|input|output|chosen|rejected|query|api_call_ground_truth|entry_id|history_length)"
    r"\"\s*:)"
)
_NO_UTF8 = re.compile("[\udc80-\udcff]")
"""Bytes as `surrogateescape` reads them; in JSON's own escapes a half surrogate pair is ASCII."""


@dataclass(frozen=True)
class Entry:
    index: int
    """From 0, as far as broken ones can be counted."""
    value: Json


@dataclass(frozen=True)
class Broken:
    index: int
    reason: str


def read_entries(path: Path, read: Callable[[int], None] = lambda _bytes: None) -> Iterator[Entry | Broken]:
    """Memory holds an entry and a mebibyte. `read` is told, after each entry, the bytes read of the file.

    Raises SetupError where the file cannot be read, or is no array.
    """
    try:
        with (
            path.open("rb") as file,
            io.TextIOWrapper(file, "utf-8-sig", errors="surrogateescape", newline="") as text,
        ):
            for found in _Reader(text, path).entries():
                read(file.tell())
                yield found
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error


class _Reader:
    def __init__(self, stream: TextIO, path: Path) -> None:
        self._stream = stream
        self._path = path
        self._text = ""
        self._at = 0
        self._index = 0

    def entries(self) -> Iterator[Entry | Broken]:
        if self._next() != "[":
            raise SetupError(
                f"{self._path} is not a JSON array of entries, as PEToolBench publishes them: it should begin with "
                "“[”. Download it again, or take it away."
            )
        self._at += 1
        while (char := self._next()) not in ("", "]"):
            found, goes_on = self._entry()
            yield found
            if not goes_on:
                return
            self._index += 1
        if char == "":
            yield Broken(self._index, "the file ends before its array does")
            return
        self._at += 1
        if self._next():
            yield Broken(self._index, "something follows the end of the array, and was not read")

    def _next(self) -> str:
        """The first character of what comes next, at which the reader then stands; empty at the end."""
        while True:
            between = _BETWEEN.match(self._text, self._at)
            self._at = between.end() if between else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        chunk = self._stream.read(_CHUNK)
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)

    def _entry(self) -> tuple[Entry | Broken, bool]:
        """And whether the reader stands behind it."""
        while True:
            try:
                value, end = DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                reason, fault = "it is nested too deep", self._at
            except ValueError as error:
                reason, fault = f"it is not JSON: {error}", getattr(error, "pos", self._at)
            else:
                start, self._at = self._at, end
                if _NO_UTF8.search(self._text, start, end):
                    return Broken(self._index, "it is not UTF-8"), True
                return Entry(self._index, value), True
            # Whatever text is not read to its end yet began before the fault, so that it is one if an entry follows.
            following = _BEGINS.search(self._text, max(fault, self._at + 1))
            if following is not None:
                self._at = following.end()
                return Broken(self._index, reason), True
            if len(self._text) - self._at > MAX_ENTRY:
                return Broken(self._index, f"{reason}; no other entry was found behind it"), False
            if not self._more():
                return Broken(self._index, f"{reason}; nothing behind it was read"), False
