"""The smallest value that a JSON Schema allows, for the kinds of schemas that answers have."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from app.domain import Json
from app.json_data import json_schemas

_MAX_DEPTH = 64
_BY_FORMAT = {
    "date": "2000-01-01",
    "time": "00:00:00Z",
    "date-time": "2000-01-01T00:00:00Z",
    "duration": "P1D",
    "email": "a@example.com",
    "hostname": "example.com",
    "ipv4": "0.0.0.0",
    "ipv6": "::",
    "uuid": "00000000-0000-0000-0000-000000000000",
    "uri": "http://example.com/",
}

_FOR_PATTERNS = ("00:00", "a-a", "en-US", "#000000", "+100")


class NoInstance(ValueError):
    """The schema allows nothing, or says it in a way that is not understood here."""


def smallest_instance(schema: Json) -> Json:
    """A value the schema allows: required members only, the fewest items, the shortest text, the first alternative.

    Understood: const, enum, type (or several), anyOf, oneOf, properties, required, additionalProperties, items,
    prefixItems, and all bounds, formats; references to the schema's own `$defs`. Of patterns only those that a few
    simple texts match. Raises NoInstance for anything else.
    """
    if isinstance(schema, Mapping) and "$defs" in schema:
        definitions = schema["$defs"]
        schema = _inlined({key: value for key, value in schema.items() if key != "$defs"}, definitions, 0)
    problem = json_schemas.schema_problem(schema)
    if problem is not None:
        raise NoInstance(f"The schema cannot be used: {problem}")
    value = _instance(schema, 0)
    if isinstance(schema, Mapping):
        problem = json_schemas.first_problem(json_schemas.make_validator(schema, formats=False), value)
    if problem is not None:
        raise NoInstance(f"No value was found that the schema allows: {problem}")
    return value


def _inlined(schema: Json, definitions: Mapping[str, Json], depth: int) -> Json:
    """Without references: what `$ref` names, with what stands beside it."""
    if depth > _MAX_DEPTH:
        raise NoInstance(f"The schema is nested more than {_MAX_DEPTH} deep.")
    if isinstance(schema, list):
        return [_inlined(item, definitions, depth + 1) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    beside = {key: _inlined(value, definitions, depth + 1) for key, value in schema.items() if key != "$ref"}
    if "$ref" not in schema:
        return beside
    name = str(schema["$ref"]).removeprefix("#/$defs/")
    if name not in definitions:
        raise NoInstance(f"The schema has no definition {name!r}.")
    return {**_inlined(definitions[name], definitions, depth + 1), **beside}


def _instance(schema: Json, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        raise NoInstance(f"The schema is nested more than {_MAX_DEPTH} deep.")
    if schema is True or schema == {}:
        return None
    if not isinstance(schema, Mapping):
        raise NoInstance("The schema allows nothing.")
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return _first_fitting(schema, schema["enum"])
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return _alternative(schema, schema[keyword], depth)
    kinds = schema.get("type", _implied_type(schema))
    return _of_type(kinds if isinstance(kinds, str) else kinds[0], schema, depth)


def _of_type(kind: str, schema: Mapping[str, Any], depth: int) -> Json:
    match kind:
        case "object":
            return _object(schema, depth)
        case "array":
            return _array(schema, depth)
        case "string":
            return _string(schema)
        case "integer" | "number":
            return _number(schema, kind)
        case "boolean":
            return False
        case _:
            return None


def _alternative(schema: Mapping[str, Any], alternatives: list[Json], depth: int) -> Json:
    """Of the first alternative that allows anything, with what stands beside them."""
    beside = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
    reason = "no alternatives"
    for alternative in alternatives:
        if isinstance(alternative, bool):
            alternative = {} if alternative else {"enum": []}
        try:
            value = _instance({**beside, **alternative}, depth + 1)
        except NoInstance as error:
            reason = str(error)
            continue
        if _allows(alternative, value):
            return value
    raise NoInstance(reason)


def _implied_type(schema: Mapping[str, Any]) -> str:
    if "properties" in schema or "required" in schema:
        return "object"
    if "items" in schema or "minItems" in schema:
        return "array"
    if "minLength" in schema or "pattern" in schema or "format" in schema:
        return "string"
    return "number" if "minimum" in schema or "maximum" in schema else "null"


def _object(schema: Mapping[str, Any], depth: int) -> dict[str, Json]:
    properties, required = schema.get("properties", {}), schema.get("required", [])
    other = schema.get("additionalProperties", True)
    # In the order of the schema, as a grammar writes them.
    names = [name for name in properties if name in required]
    names += [name for name in required if name not in properties]
    return {name: _instance(properties.get(name, other), depth + 1) for name in names}


def _array(schema: Mapping[str, Any], depth: int) -> list[Json]:
    first, rest = schema.get("prefixItems", []), schema.get("items", True)
    count = schema.get("minItems", 0)
    return [_instance(first[at] if at < len(first) else rest, depth + 1) for at in range(count)]


def _string(schema: Mapping[str, Any]) -> Json:
    shortest = schema.get("minLength", 0)
    if "format" in schema:
        return _BY_FORMAT.get(schema["format"], "a" * shortest)
    if "pattern" not in schema:
        return "a" * shortest
    longest = min(schema.get("maxLength", 32), 32)
    plain = [letter * length for length in range(shortest, longest + 1) for letter in ("a", "A", "0", "1", " ")]
    return _first_fitting(schema, [*plain, *_BY_FORMAT.values(), *_FOR_PATTERNS])


def _number(schema: Mapping[str, Any], kind: str) -> Json:
    """0, or else a number near the bounds."""
    low = max(schema.get("minimum", -math.inf), schema.get("exclusiveMinimum", -math.inf))
    high = min(schema.get("maximum", math.inf), schema.get("exclusiveMaximum", math.inf))
    multiple = schema.get("multipleOf", 1)
    ends = [end for end in (low, high) if math.isfinite(end)]
    tried = [0, *ends, *(end + 1 for end in ends), *(end - 1 for end in ends)]
    tried += [
        sum(ends) / 2,
        *(end // multiple * multiple for end in ends),
        *(-(-end // multiple) * multiple for end in ends),
    ]
    if kind == "integer":
        tried = [rounded for number in tried for rounded in (math.floor(number), math.ceil(number))]
    return _first_fitting(schema, tried)


def _first_fitting(schema: Mapping[str, Any], values: Sequence[Json]) -> Json:
    for value in values:
        if _allows(schema, value):
            return value
    raise NoInstance("None of the values fits the rest of the schema.")


def _allows(schema: Mapping[str, Any], value: Json) -> bool:
    return json_schemas.first_problem(json_schemas.make_validator(schema, formats=False), value) is None
