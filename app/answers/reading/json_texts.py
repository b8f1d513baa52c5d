"""JSON objects in what a language model writes: between other text, and not always JSON to the letter."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

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
_QUOTE = re.compile("[\"']")
_DOUBLE_QUOTED = re.compile(r'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
# An apostrophe ends the text where JSON goes on behind it.
_SINGLE_QUOTED = re.compile(r"'(?:[^'\\]++|\\.|'(?!\s*+[,:}\]]))*+'", re.DOTALL)
_BEFORE_VALUE = frozenset("{[,:")
_PYTHON = re.compile(r"\b(?:True|False|None)\b")
_LITERALS = {"True": "true", "False": "false", "None": "null"}
_COMMA_TOO_MANY = re.compile(r",(?=\s*+[}\]])")
_ESCAPE = re.compile(r"\\.", re.DOTALL)
# An apostrophe that is not within a word, and so may be a quotation mark.
_MAY_END = re.compile(r"(?<!\w)'|'(?!\w)")
_IN_QUOTES = re.compile(r"\\'|\\x(?=[0-9a-fA-F]{2})|\\.|\"", re.DOTALL)
_AS_JSON = {"\\'": "'", "\\x": "\\u00", '"': '\\"'}
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

    JSON first; an object that is none is read as a Python literal, or with commas too many, if it is closed; no other
    fault is mended, as what comes out might not be what was meant. NaN, infinities and integers of more than
    `MAX_DIGITS` digits become null; of a key that comes twice the last counts. Raises Truncated where an object begins
    and does not end, or not within `MAX_DEPTH`.
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


def behind(text: str, mark: str) -> str:
    """What stands behind the last mark that is within no object; linear in the text's length."""
    at = last = 0
    while (found := text.find(mark, at)) >= 0:
        while (opening := _OPENS_OBJECT.search(text, at, found)) is not None:
            end = _end_or_none(text, opening.start())
            if end is None:
                # Everything that follows may be within it.
                return text[last:]
            at = end
        if at <= found:
            last = at = found + len(mark)
    return text[last:]


def _end_or_none(text: str, start: int) -> int | None:
    try:
        return _closed(text, start)
    except Truncated:
        return None


def _repaired(text: str) -> Json:
    """JSON with Python's quotes and literals, and commas too many; None for anything else."""
    parts, at = [], 0
    while (mark := _QUOTE.search(text, at)) is not None:
        quoted = (_DOUBLE_QUOTED if mark[0] == '"' else _SINGLE_QUOTED).match(text, mark.start())
        if quoted is None or (mark[0] == "'" and _MAY_END.search(_ESCAPE.sub(" ", quoted[0][1:-1]))):
            return None
        inner = _IN_QUOTES.sub(lambda found: _AS_JSON.get(found[0], found[0]), quoted[0][1:-1])
        parts += [_without_faults(text[at : mark.start()]), f'"{inner}"']
        at = quoted.end()
    return _strict("".join([*parts, _without_faults(text[at:])]))


def _without_faults(between_texts: str) -> str:
    return _COMMA_TOO_MANY.sub("", _PYTHON.sub(lambda found: _LITERALS[found[0]], between_texts))


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
