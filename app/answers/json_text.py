"""Finds JSON objects in what a language model writes: between other text, and not always JSON to the letter."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from app.domain import Json

MAX_DEPTH = 64
"""Braces and brackets within each other; an object that is nested deeper ends the search."""
MAX_REPAIRED = 16_384
"""Characters of objects with faults that are repaired, in all objects of a text together."""
MAX_DIGITS = 400
"""Digits of an integer; a longer one is read as null."""
MAX_BRACKETS = 500
"""Opening braces and brackets in the text of `json_value`; with more it may be nested too deep."""
_MAX_STRAYS = 8
"""Braces that open nothing and are passed over; one more ends the search."""

_MARK = re.compile(r"[\"'{}\[\]]")
_QUOTE = re.compile("[\"']")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# An apostrophe ends the text where JSON goes on behind it.
_SINGLE_QUOTED = re.compile(r"'(?:[^'\\]++|\\.|'(?!\s*+[,:}\]]))*+'", re.DOTALL)
_BEFORE_VALUE = frozenset("{[,:")
_PYTHON = re.compile(r"\b(?:True|False|None)\b")
_LITERALS = {"True": "true", "False": "false", "None": "null"}
_SUPERFLUOUS_COMMA = re.compile(r",(?=\s*+[}\]])")
_ESCAPE = re.compile(r"\\.", re.DOTALL)
# An apostrophe that is not within a word, and so may be a quotation mark.
_MAY_END = re.compile(r"(?<!\w)'|'(?!\w)")
_IN_QUOTES = re.compile(r"\\'|\\x(?=[0-9a-fA-F]{2})|\\.|\"", re.DOTALL)
_AS_JSON = {"\\'": "'", "\\x": "\\u00", '"': '\\"'}
_OPENS_OBJECT = re.compile(r"\{\s*[\"']")


class Truncated(Exception):
    """The text ends within an object, or an object is nested too deep to find its end."""


@dataclass(frozen=True)
class FoundObject:
    """A JSON object, and whether it was JSON as it stood."""

    value: dict[str, Json]
    is_json: bool
    """False where faults were repaired."""


def find_objects(text: str) -> Iterator[FoundObject]:
    """The outermost JSON objects, in order. Time is linear in the text's length.

    An object that is no JSON but closed is read as a Python literal, and without superfluous commas; no other fault is
    repaired, as the result might not be what was meant. NaN, infinities and integers of more than
    `MAX_DIGITS` digits become null; of two equal keys the last counts. Raises Truncated where an object begins
    and does not end, or not within `MAX_DEPTH`.
    """
    at, strays, repaired = 0, 0, 0
    while (start := text.find("{", at)) >= 0:
        closed = _object_end(text, start)
        if closed is not None:
            end = closed
            value = _read_json_or_none(text[start:end])
            is_json = isinstance(value, dict)
            if not is_json and repaired + end - start <= MAX_REPAIRED:
                repaired += end - start
                value = _read_repaired(text[start:end])
            if isinstance(value, dict):
                yield FoundObject(value, is_json)
                at = end
                continue
        # A brace that opens nothing readable; there may be something within.
        strays += 1
        if strays > _MAX_STRAYS or (closed is None and _OPENS_OBJECT.match(text, start)):
            raise Truncated
        at = start + 1


def json_value(text: str) -> Json:
    """The JSON value that the whole text is. Raises ValueError where it is none, or may be nested too deep."""
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise ValueError("it may be nested too deep")
    return _read_json(text)


def _object_end(text: str, start: int) -> int | None:
    """The offset behind the brace that closes the one at `start`; None if none does. Raises Truncated if too deep."""
    depth, at = 0, start
    while (mark := _MARK.search(text, at)) is not None:
        char, at = mark[0], mark.end()
        if char in "{[":
            depth += 1
            if depth > MAX_DEPTH:
                raise Truncated
        elif char in "}]":
            depth -= 1
            if depth == 0:
                return at
        elif char == '"' or _stands_before_value(text, mark.start()):
            quoted = (_DOUBLE_QUOTED if char == '"' else _SINGLE_QUOTED).match(text, mark.start())
            if quoted is None:
                return None
            at = quoted.end()
    return None


def _stands_before_value(text: str, at: int) -> bool:
    """Whether the apostrophe at the offset is a quotation mark: a brace, bracket, comma or colon stands before it."""
    at -= 1
    while at >= 0 and text[at].isspace():
        at -= 1
    return at >= 0 and text[at] in _BEFORE_VALUE


def text_after(text: str, mark: str) -> str:
    """The text behind the last mark that is within no object, or all of it; time is linear in its length."""
    at = last = 0
    while (found := text.find(mark, at)) >= 0:
        while (opening := _OPENS_OBJECT.search(text, at, found)) is not None:
            end = _object_end_or_none(text, opening.start())
            if end is None:
                # Everything that follows may be within it.
                return text[last:]
            at = end
        if at <= found:
            last = at = found + len(mark)
    return text[last:]


def _object_end_or_none(text: str, start: int) -> int | None:
    try:
        return _object_end(text, start)
    except Truncated:
        return None


def _read_repaired(text: str) -> Json:
    """The value of JSON with Python's quotes and literals and superfluous commas; None for anything else."""
    parts, at = [], 0
    while (mark := _QUOTE.search(text, at)) is not None:
        quoted = (_DOUBLE_QUOTED if mark[0] == '"' else _SINGLE_QUOTED).match(text, mark.start())
        if quoted is None or (mark[0] == "'" and _MAY_END.search(_ESCAPE.sub(" ", quoted[0][1:-1]))):
            return None
        inner = _IN_QUOTES.sub(lambda found: _AS_JSON.get(found[0], found[0]), quoted[0][1:-1])
        parts += [_without_faults(text[at : mark.start()]), f'"{inner}"']
        at = quoted.end()
    return _read_json_or_none("".join([*parts, _without_faults(text[at:])]))


def _without_faults(between_texts: str) -> str:
    return _SUPERFLUOUS_COMMA.sub("", _PYTHON.sub(lambda found: _LITERALS[found[0]], between_texts))


def _read_json_or_none(text: str) -> Json:
    try:
        return _read_json(text)
    except ValueError:
        return None


def _read_json(text: str) -> Json:
    # Not strict on control characters in texts: xgrammar lets them pass.
    return json.loads(text, strict=False, parse_int=_integer, parse_float=_finite_number, parse_constant=_null)


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _finite_number(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _null(_name: str) -> None:
    return None
