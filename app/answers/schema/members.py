"""The members of an enum that a grammar can write."""

import json
from collections.abc import Callable, Mapping
from functools import partial

from app.domain import Json
from app.json_data import json_schemas

MEMBERS = 500
"""A longer enum is only checked afterwards, by its type."""
CHARACTERS = 20_000
"""Of all members together."""
_KEYWORDS = frozenset(
    {"patternProperties", "propertyNames", "multipleOf", "uniqueItems", "contains", "format", "allOf"}
)
"""What vLLM's checks of a schema take for keywords wherever they stand, also within a member."""
_PATTERN_SECONDS = 1.0
"""All patterns together get this long for all members."""
_NOTES = frozenset({"title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"})
"""Keywords that refuse no value."""
_TYPES: Mapping[type, tuple[str, ...]] = {
    bool: ("boolean",),
    int: ("integer", "number"),
    float: ("number",),
    str: ("string",),
    list: ("array",),
    dict: ("object",),
    type(None): ("null",),
}


def members_of(schema: Mapping[str, Json]) -> list[Json]:
    """The members of `enum` or `const` that fit the rest of the schema, each once; all of them where none does.

    Empty where the schema has neither, or too many, or none that a grammar can write. The schema is one without a
    `json_schemas.schema_problem`.
    """
    listed = [schema["const"]] if "const" in schema else schema.get("enum") or []
    if len(listed) > MEMBERS:
        return []
    members = {text: value for value in map(_plain, listed) if (text := _written(value)) is not None}
    if sum(map(len, members)) > CHARACTERS:
        return []
    fits = _fits({key: value for key, value in schema.items() if key not in ("enum", "const")})
    with json_schemas.pattern_seconds(_PATTERN_SECONDS):
        fitting = [value for value in members.values() if fits(value)]
    return fitting or list(members.values())


def _fits(rest: Mapping[str, Json]) -> Callable[[Json], bool]:
    """Whether a value, integers not written as 2.0, is one of the schema's. Asked once for each of many members."""
    if rest.keys() - _NOTES <= {"type"}:
        named = rest.get("type", [])
        return partial(_is_of, [named] if isinstance(named, str) else named)
    validator = json_schemas.validator_of(rest, formats=True)
    return lambda value: json_schemas.value_problem(validator, value) is None


def _is_of(types: list[str], value: Json) -> bool:
    return not types or any(each in types for each in _TYPES.get(type(value), ()))


def _plain(value: Json) -> Json:
    """2.0 as 2: what both libraries write, and the same value to JSON Schema."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _written(value: Json) -> str | None:
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
    if isinstance(value, list):
        return all(map(_is_exact, value))
    if isinstance(value, dict):
        return _KEYWORDS.isdisjoint(value) and all(map(_is_exact, value.values()))
    if isinstance(value, int):
        return abs(value) < 2**63
    return not isinstance(value, float) or 1e-9 < abs(value) < 2**53
