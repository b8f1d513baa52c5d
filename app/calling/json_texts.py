"""JSON objects in what a language model writes: between other text, and not always JSON to the letter."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from json_repair import loads as repaired_loads

from app.domain import Json

MAX_DEPTH = 64
"""Braces and brackets within each other; what is nested deeper ends the search."""
MAX_REPAIRED = 16_384
"""Characters that are read although they are no JSON, of all objects of a text together."""
MAX_DIGITS = 400
"""Of an integer; a longer one counts as null."""
MAX_BRACKETS = 500
"""Opening braces and brackets of a value that comes as a text."""
_STRAYS = 8
"""Braces that open nothing, after which the search begins again."""

_MARK = re.compile(r"[\"'{}\[\]]")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# An apostrophe ends the text where JSON goes on behind it.
_SINGLE_QUOTED = re.compile(r"'(?:[^'\\]++|\\.|'(?!\s*+[,:}\]]))*+'", re.DOTALL)
_BEFORE_VALUE = frozenset("{[,:")
_OPENS_OBJECT = re.compile(r"\{\s*[\"']")


class Truncated(Exception):
    """The text ends within an object, or an object is nested too deep to find its end."""


@dataclass(frozen=True)
class Found:
    value: dict[str, Json]
    is_json: bool
    """False: read with faults."""


def objects_in(text: str) -> Iterator[Found]:
    """The outermost JSON objects, in order. Time is linear in the text's length.

    JSON first; an object that is none is read as a Python literal or with small faults (commas, quotes), if it is
    closed. NaN, infinities and integers of more than `MAX_DIGITS` digits become null; of a key that comes twice the
    last counts. Raises Truncated where an object begins and does not end, or not within `MAX_DEPTH`.
    """
    at, strays, repaired = 0, 0, 0
    while (start := text.find("{", at)) >= 0:
        closed = _closed(text, start)
        if closed is not None:
            end = closed
            value = _strict(text[start:end])
            is_json = isinstance(value, dict)
            if not is_json and repaired + end - start <= MAX_REPAIRED:
                repaired += end - start
                value = _repaired(text[start:end])
            if isinstance(value, dict):
                yield Found(value, is_json)
                at = end
                continue
        # A brace that opens nothing readable; there may be something within.
        strays += 1
        if strays > _STRAYS or (closed is None and _OPENS_OBJECT.match(text, start)):
            raise Truncated
        at = start + 1


def json_value(text: str) -> Json:
    """The JSON value that the whole text is. Raises ValueError where it is none, or may be nested too deep."""
    if text.count("[") + text.count("{") > MAX_BRACKETS:
        raise ValueError("it may be nested too deep")
    return _strict_or_raise(text)


def _closed(text: str, start: int) -> int | None:
    """Where the brace that opens at `start` closes; None where it does not. Raises Truncated where it is too deep."""
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
    """Whether an apostrophe is a quotation mark: what comes before it says so."""
    at -= 1
    while at >= 0 and text[at].isspace():
        at -= 1
    return at >= 0 and text[at] in _BEFORE_VALUE


def _repaired(text: str) -> Json:
    try:
        return _finite(repaired_loads(text, skip_json_loads=True))
    except (ValueError, RecursionError):
        return None


def _strict(text: str) -> Json:
    try:
        return _strict_or_raise(text)
    except ValueError:
        return None


def _strict_or_raise(text: str) -> Json:
    # Not strict on control characters in texts: xgrammar lets them pass.
    return json.loads(text, strict=False, parse_int=_integer, parse_float=_finite_number, parse_constant=_no_number)


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


def _finite_number(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _no_number(_name: str) -> None:
    return None


def _finite(value: Json) -> Json:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return value if abs(value) < 10**MAX_DIGITS else None
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return value
