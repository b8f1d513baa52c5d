"""The schemas of single values in an answer (texts, numbers, members of an enum), each with an end.

Both grammar libraries, vLLM's and llguidance, keep the bounds that are given here.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from app.domain import Json
from app.json_data import json_schemas

INTEGER_LIMIT = 9 * 10**18
"""The largest integer or number: 19 digits, exact as a float, within 64 bits."""
_BOUND_DECIMALS = 6
_SMALLEST_BOUND = 1e-6
"""The smallest step of a bound: xgrammar knows six decimals, and finds no number between two closer bounds."""
_BOUNDS = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
_DAYS = "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8])"
_YEAR = "(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_LEAP_YEAR = "([0-9]{2}(0[48]|[2468][048]|[13579][26])|(0[48]|[2468][048]|[13579][26])00)"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]{0,1}[0-9])"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9]"
FORMATS: Mapping[str, str] = {
    "date": f"^({_YEAR}-({_DAYS})|{_LEAP_YEAR}-02-29)$",
    "time": f"^{_CLOCK}(:[0-5][0-9](\\.[0-9]{{1,6}}){{0,1}}){{0,1}}(Z|[+-]{_CLOCK}){{0,1}}$",
    "ipv4": f"^({_OCTET}\\.){{3,3}}{_OCTET}$",
    "uuid": "^[0-9a-fA-F]{8,8}(-[0-9a-fA-F]{4,4}){3,3}-[0-9a-fA-F]{12,12}$",
    "email": "^[^@ ]{1,64}@[^@ ]{1,128}$",
}
"""Formats as patterns with an end, which the libraries' own lack; they say what the validator says, dates exactly."""
_MAX_MEMBERS = 500
"""Members of an enum that a grammar gets. Of a longer enum it gets the type; the value is checked afterwards."""
_MAX_MEMBER_CHARACTERS = 20_000
"""Characters of all members of an enum together, as JSON."""
_KEYWORDS = frozenset(
    {"patternProperties", "propertyNames", "multipleOf", "uniqueItems", "contains", "format", "allOf"}
)
"""What vLLM's checks of a schema take for keywords wherever they stand, also within a member."""
_PATTERN_SECONDS = 1.0
"""Most seconds for all patterns together, for all members of an enum."""
_NOTES = frozenset({"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"})
"""Keywords that every value meets."""
_JSON_TYPES: Mapping[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    str: ("string",),
    list: ("array",),
    dict: ("object",),
    type(None): ("null",),
}


@dataclass(frozen=True)
class Limits:
    """The most that a value may have where its document sets no limit."""

    text: int
    """Characters."""
    items: int
    """Elements of an array."""


def text(least: int, most: int) -> dict[str, Json]:
    """A text of `least` to `most` characters.

    llguidance (the local engine, and vLLM's `guidance` backend, which is the one to use) writes any characters in it.
    Under vLLM's `xgrammar` backend such a text holds nothing that JSON escapes (quotes, backslashes, line ends), and
    with a large vocabulary it takes seconds to compile.
    """
    return {"type": "string", **({"minLength": least} if least else {}), "maxLength": most}


def text_of_format(name: str) -> dict[str, Json]:
    """A text of one of the `FORMATS`."""
    return {"type": "string", "pattern": FORMATS[name]}


def integer(least: int, most: int) -> dict[str, Json]:
    """An integer from `least` to `most`, both included."""
    return {"type": "integer", "minimum": least, "maximum": most}


def number(bounds: Mapping[str, Json]) -> dict[str, Json]:
    """A number within the bounds that `number_bounds` gives."""
    return {"type": "number", **bounds}


def scalar(longest: int) -> dict[str, Json]:
    """Any value that is no array and no object; a text of at most `longest` characters."""
    bounds = {"minimum": -INTEGER_LIMIT, "maximum": INTEGER_LIMIT}
    return {"anyOf": [text(0, longest), number(bounds), {"type": "boolean"}, {"type": "null"}]}


def count_bounds(schema: Mapping[str, Json], what: str, *, longest: int, most_asked: int) -> tuple[int, int]:
    """Least and most `what` (Length, Items, Properties): at most `longest`, or twice what the schema asks for.

    (0, longest) where the schema asks for more than `most_asked`, or for more than it allows.
    """
    least = _count(schema.get(f"min{what}"), 0)
    ours = max(longest, 2 * least)
    most = min(_count(schema.get(f"max{what}"), ours), ours)
    return (0, longest) if least > most or least > most_asked else (least, most)


def _count(value: Json, otherwise: int) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0 else otherwise


def _bound(schema: Mapping[str, Json], key: str) -> Json:
    """The number under the key; None where there is none, or one that is too large for the libraries."""
    value = schema.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= INTEGER_LIMIT:
        return None
    return value


def integer_bounds(schema: Mapping[str, Json]) -> tuple[int, int]:
    """Least and most integer; the limits where the schema has no bounds, or bounds that no integer meets."""
    low, above, high, below = (_bound(schema, key) for key in _BOUNDS)
    lows = [-INTEGER_LIMIT] + ([] if low is None else [math.ceil(low)])
    highs = [INTEGER_LIMIT] + ([] if high is None else [math.floor(high)])
    lows += [] if above is None else [math.floor(above) + 1]
    highs += [] if below is None else [math.ceil(below) - 1]
    least, most = max(lows), min(highs)
    return (least, most) if least <= most else (-INTEGER_LIMIT, INTEGER_LIMIT)


def number_bounds(schema: Mapping[str, Json]) -> dict[str, Json]:
    """The lower and the upper bound, rounded outwards to six decimals, each under its keyword."""
    low, above, high, below = (_bound(schema, key) for key in _BOUNDS)
    open_low = above is not None and (low is None or above >= low)
    open_high = below is not None and (high is None or below <= high)
    least = _rounded(above if open_low else low, math.floor, -INTEGER_LIMIT)
    most = _rounded(below if open_high else high, math.ceil, INTEGER_LIMIT)
    if most - least < 10 * _SMALLEST_BOUND:
        open_low = open_high = False
    if least > most:
        least, most = -INTEGER_LIMIT, INTEGER_LIMIT
    return {_BOUNDS[open_low]: least, _BOUNDS[2 + open_high]: most}


def _rounded(value: Json, towards: Callable[[float], int], otherwise: int) -> int | float:
    if value is None:
        return otherwise
    if isinstance(value, int) or value.is_integer():
        return int(value)
    return round(towards(value / _SMALLEST_BOUND) * _SMALLEST_BOUND, _BOUND_DECIMALS)


# Members of an enum.


def enum_members(schema: Mapping[str, Json]) -> list[Json]:
    """The members of `enum` or `const` that fit the rest of the schema, each once; all of them where none does.

    Empty where the schema has neither, or too many, or none that a grammar can write. The schema is one without a
    `json_schemas.schema_problem`.
    """
    listed = [schema["const"]] if "const" in schema else schema.get("enum") or []
    if len(listed) > _MAX_MEMBERS:
        return []
    members = {text: value for value in map(_without_point, listed) if (text := _as_json(value)) is not None}
    if sum(map(len, members)) > _MAX_MEMBER_CHARACTERS:
        return []
    fits = _fit_check({key: value for key, value in schema.items() if key not in ("enum", "const")})
    with json_schemas.limit_pattern_seconds(_PATTERN_SECONDS):
        fitting = [value for value in members.values() if fits(value)]
    return fitting or list(members.values())


def _fit_check(rest: Mapping[str, Json]) -> Callable[[Json], bool]:
    """A check whether a value fits the schema, made once for all members. Integers must not be written as 2.0."""
    if rest.keys() - _NOTES <= {"type"}:
        named = rest.get("type", [])
        return partial(_is_of_types, [named] if isinstance(named, str) else named)
    validator = json_schemas.make_validator(rest, formats=True)
    return lambda value: json_schemas.first_problem(validator, value) is None


def _is_of_types(types: list[str], value: Json) -> bool:
    return not types or any(each in types for each in _JSON_TYPES.get(type(value), ()))


def _without_point(value: Json) -> Json:
    """The value with 2.0 as 2, which is the same to JSON Schema and what both libraries write."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _as_json(value: Json) -> str | None:
    """The member as JSON; None where a grammar cannot write it, or would write another value."""
    if not _is_exact(value):
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
        text.encode()
    except ValueError:
        return None
    return text


def _is_exact(value: Json) -> bool:
    """Whether a grammar writes this very value."""
    if isinstance(value, list):
        return all(map(_is_exact, value))
    if isinstance(value, dict):
        return _KEYWORDS.isdisjoint(value) and all(map(_is_exact, value.values()))
    if isinstance(value, int):
        return abs(value) < 2**63
    return not isinstance(value, float) or 1e-9 < abs(value) < 2**53
