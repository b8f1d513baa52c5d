"""The entries of a large JSON array, one by one; behind a broken one reading goes on.

ijson reads streams too, but stops for good at the first fault.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from app.domain import Json
from app.errors import SetupError
from training.data.published.reading import decoder

MAX_ENTRY = 16 * 2**20
"""Characters, after which a broken entry is not read further; a usual one has 20,000."""
_CHUNK = 2**20
_LONGEST_TOKEN = 16
"""Characters that stand together, texts and numbers aside: `-Infinity`, `\\ud83d\\ude00`."""
_DECODER = decoder(strict=True)
_BETWEEN = re.compile(r"[\s,]*")
# How an entry begins. In a text it cannot stand: there a quotation mark has a backslash before it.
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
            reason, cut_off = "it is nested too deep", False
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except RecursionError:
                pass
            except ValueError as error:
                reason, cut_off = f"it is not JSON: {error}", self._may_be_cut_off(error)
            else:
                start, self._at = self._at, end
                if _NO_UTF8.search(self._text, start, end):
                    return Broken(self._index, "it is not UTF-8"), True
                return Entry(self._index, value), True
            too_large = len(self._text) - self._at > MAX_ENTRY
            if cut_off and not too_large and self._more():
                continue
            following = _BEGINS.search(self._text, self._at + 1)
            if following is not None:
                self._at = following.end()
                return Broken(self._index, reason), True
            if too_large:
                return Broken(self._index, f"{reason}; no other entry was found behind it"), False
            if not self._more():
                return Broken(self._index, f"{reason}; nothing behind it was read"), False

    def _may_be_cut_off(self, error: ValueError) -> bool:
        """Whether it may be no fault of the entry, but that only a part of it is read."""
        if not isinstance(error, json.JSONDecodeError):
            return False
        return error.pos > len(self._text) - _LONGEST_TOKEN or error.msg.startswith("Unterminated string")
