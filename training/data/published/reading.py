"""The JSON in published entries, as far as it can be read without guessing: arrays in prompts, and calls."""

import ast
import json
import math
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast

from app.domain import Json, Rating

_OPENS_OBJECTS = re.compile(r"\[\s*\{")
_PYTHON_TOKEN = re.compile(r"'(?:[^'\\]++|\\.)*+'|\"(?:[^\"\\]++|\\.)*+\"|[\[\]{}]", re.DOTALL)
_RATINGS: Mapping[Json, Rating] = {
    1: Rating.LIKED,
    0: Rating.DISLIKED,
    **dict.fromkeys(("1", "true", "like", "liked"), Rating.LIKED),
    **dict.fromkeys(("0", "false", "dislike", "disliked"), Rating.DISLIKED),
}


class Unreadable(ValueError):
    """An entry that cannot be imported; its text is the reason, for people."""


@dataclass(frozen=True)
class Prompt:
    history: list[Mapping[str, Json]]
    tools: list[Mapping[str, Json]]


@dataclass(frozen=True)
class Call:
    tool_name: str
    """As published."""
    parameters: dict[str, Json]


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def decoder(*, strict: bool) -> json.JSONDecoder:
    """Null for what JSON has no number for, such as the NaN that Python writes. Not strict: line ends in texts."""
    return json.JSONDecoder(strict=strict, parse_constant=lambda _name: None, parse_float=_finite)


_DECODER = decoder(strict=False)


def read_prompt(text: str) -> Prompt:
    """The first array of interactions and the first of tools, whatever the words around them.

    An empty array counts as the history where there is no other. Raises Unreadable.
    """
    history: list[Mapping[str, Json]] | None = None
    tools: list[Mapping[str, Json]] | None = None
    empty = False
    for array in _arrays(text):
        empty = empty or not array
        if not array or not all(isinstance(each, dict) for each in array):
            continue
        if any("tool_call" in each or "instruction" in each for each in array):
            history = array if history is None else history
        elif any("tool_name" in each for each in array):
            tools = array if tools is None else tools
    if tools is None:
        raise Unreadable("the prompt has no array of tools")
    if history is None and not empty:
        raise Unreadable("the prompt has no array of interactions")
    return Prompt(history or [], tools)


def read_call(value: Json) -> Call:
    """Of an object or its text; parameters perhaps a text too. Raises Unreadable."""
    call = _object(value)
    if call is None:
        raise Unreadable("it is no JSON object")
    name, parameters = call.get("tool_name"), call.get("parameters", False)
    if not isinstance(name, str) or not name.strip():
        raise Unreadable("it has no tool_name")
    if parameters is None or (isinstance(parameters, str) and not parameters.strip()):
        return Call(name, {})
    read = _object(parameters)
    if read is None:
        raise Unreadable("it has no parameters that are a JSON object")
    return Call(name, dict(read))


def read_rating(value: Json) -> Rating | None:
    """None for no rating. Raises Unreadable for what is none."""
    if value is None:
        return None
    key = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(key, str | int | float) or key not in _RATINGS:
        raise Unreadable(f"the rating {value!r} is neither 1 nor 0")
    return _RATINGS[key]


def _object(value: Json) -> Mapping[str, Json] | None:
    """The object, or the one that the whole text is: no part of a text that is none is taken for what was meant."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value, end = _DECODER.raw_decode(text)
            if end != len(text):
                return None
        except (ValueError, RecursionError):
            try:
                value = _python_value(text)
            except ValueError:
                return None
    return value if isinstance(value, dict) else None


def _arrays(text: str) -> Iterator[list[Json]]:
    """The outermost ones. Raises Unreadable where an array of objects begins that is neither JSON nor Python."""
    at = 0
    while (at := text.find("[", at)) >= 0:
        try:
            array, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            if not _OPENS_OBJECTS.match(text, at):
                # A bracket in the words of the prompt.
                at += 1
                continue
            array, at = _python(text, at, error)
        yield cast(list[Json], array)


def _python(text: str, start: int, no_json: Exception) -> tuple[list[Json], int]:
    """The array as Python writes a list, and where it ends."""
    depth = 0
    for token in _PYTHON_TOKEN.finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth == 0:
            break
    else:
        raise Unreadable(f"the array of objects at character {start} of the prompt does not end ({no_json})")
    try:
        return _python_value(text[start : token.end()]), token.end()
    except ValueError:
        raise Unreadable(
            f"the array of objects at character {start} of the prompt is neither JSON ({no_json}) nor Python"
        ) from None


def _python_value(text: str) -> Json:
    """Of a text that is a Python literal. Raises ValueError."""
    try:
        with warnings.catch_warnings():
            # Of backslashes that Python has no meaning for.
            warnings.simplefilter("ignore")
            value = ast.literal_eval(text)
        # Tuples become lists; sets, bytes and infinities are no JSON.
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(str(error)) from error
