"""The members of an enum that a grammar can write."""

import json
from collections.abc import Mapping

from app.calling.validation import value_problem
from app.domain import Json

MEMBERS = 500
"""A longer enum is only checked afterwards, by its type."""
CHARACTERS = 20_000
"""Of all members together."""
_KEYWORDS = frozenset(
    {"patternProperties", "propertyNames", "multipleOf", "uniqueItems", "contains", "format", "allOf"}
)
"""What vLLM's checks of a schema take for keywords wherever they stand, also within a member."""


def members_of(schema: Mapping[str, Json]) -> list[Json]:
    """The members of `enum` or `const` that fit the rest of the schema, each once; all of them where none does.

    Empty where the schema has neither, or too many, or none that a grammar can write.
    """
    listed = [schema["const"]] if "const" in schema else schema.get("enum") or []
    if len(listed) > MEMBERS:
        return []
    members = {text: value for value in map(_plain, listed) if (text := _written(value)) is not None}
    if sum(map(len, members)) > CHARACTERS:
        return []
    fitting = [value for value in members.values() if value_problem(schema, value) is None]
    return fitting or list(members.values())


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
