"""A parameter's JSON Schema as one that grammars can follow and a weak model cannot write on in without end.

What a grammar cannot say (uniqueItems, not, if, patternProperties, multipleOf, contains, lookarounds, ...) is left
out and checked afterwards by `app.answers.validation`. What comes out has at least one value, whatever goes in, and
where the document's schema has a value within the limits, one of those.
"""

from collections.abc import Mapping

from app.answers.schema import scalars
from app.answers.schema.patterns import bounded_pattern
from app.answers.schema.scalars import Limits, count_bounds, enum_members, integer_bounds, number_bounds
from app.domain import Json
from app.json_data import json_schemas
from app.json_data.tool_names import is_writable

_MAX_MIN_LENGTH = 4_096
"""The largest `minLength` that is kept: characters of a text, where a document asks for more than the limit."""
_OPEN_TEXT = 64
"""Most characters of a text in an object whose properties the document leaves open."""
_MAX_MIN_ITEMS = 128
"""The largest `minItems` that is kept: items of an array, where a document asks for more than the limit."""
_OPEN_PROPERTIES, _MAX_MIN_PROPERTIES = 4, 50
"""Most properties of an object that the document leaves open, and the largest `minProperties` that is kept. Names of
these properties are the only texts without a longest length: the libraries have no common way to limit them."""
_MAX_ALTERNATIVES = 8
"""Schemas of an `anyOf` that are kept."""
_MAX_DEPTH = 5
"""Objects and arrays within each other; vLLM takes 64 levels of JSON, of which one of these makes up to eight."""
_MAX_NODES = 400
"""Schemas within one parameter; later ones become empty objects and arrays, or text."""

_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")
_IMPLIED: Mapping[str, str] = {
    **dict.fromkeys(("properties", "required", "additionalProperties", "patternProperties"), "object"),
    **dict.fromkeys(("items", "prefixItems", "minItems", "maxItems", "uniqueItems"), "array"),
    **dict.fromkeys(("pattern", "format", "minLength", "maxLength"), "string"),
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"), "number"),
}
"""The type that a schema without one means by its keywords."""


def value_schema(schema: Mapping[str, Json], limits: Limits) -> dict[str, Json]:
    """The parameter's schema with an end to everything.

    For a schema that is not valid, or holds a reference: any scalar, as the validator then allows everything.
    """
    try:
        if json_schemas.schema_problem(dict(schema)) is not None:
            return scalars.scalar(limits.text)
        return _Bounding(limits).bounded(schema, 0)
    except RecursionError:
        return scalars.scalar(limits.text)


class _Bounding:
    """Bounds one parameter's schema, and counts the schemas within it."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._nodes = 0

    def bounded(self, schema: Json, depth: int) -> dict[str, Json]:
        self._nodes += 1
        if not isinstance(schema, Mapping) or not schema:
            return scalars.scalar(self._limits.text)
        schema = _merge_all_of(schema)
        if members := enum_members(schema):
            return {"enum": members}
        if choices := _alternatives(schema):
            return _any_of([self.bounded(each, depth) for each in choices])
        types = _types(schema)
        if not types:
            return scalars.scalar(self._limits.text)
        return _any_of([self._of_type(each, schema, depth) for each in types])

    def _of_type(self, kind: str, schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
        if kind == "string":
            return self._text(schema)
        if kind == "integer":
            return scalars.integer(*integer_bounds(schema))
        if kind == "number":
            bounds = number_bounds(schema)
            least, most = bounds.values()
            return {"enum": [least]} if least == most else scalars.number(bounds)
        if kind == "array":
            return self._array(schema, depth + 1)
        if kind == "object":
            return self._object(schema, depth + 1)
        return {"type": kind}

    def _text(self, schema: Mapping[str, Json]) -> dict[str, Json]:
        least, most = count_bounds(schema, "Length", longest=self._limits.text, most_asked=_MAX_MIN_LENGTH)
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            bounded = bounded_pattern(pattern, most)
            return scalars.text(least, most) if bounded is None else {"type": "string", "pattern": bounded}
        name = schema.get("format")
        if isinstance(name, str) and name in scalars.FORMATS:
            return scalars.text_of_format(name)
        return scalars.text(least, most)

    def _array(self, schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
        items = schema.get("items")
        least, most = count_bounds(schema, "Items", longest=self._limits.items, most_asked=_MAX_MIN_ITEMS)
        places = schema.get("prefixItems")
        if (items is False and not places) or most == 0 or self._is_full(depth):
            return {"type": "array", "items": {"type": "null"}, "maxItems": 0}
        if isinstance(places, list) and len(places) <= _MAX_MIN_ITEMS:
            each = [self.bounded(place, depth) for place in places]
            each += [self.bounded(items, depth)] * (least - len(each))
            return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each), "maxItems": len(each)}
        bounded: dict[str, Json] = {"type": "array", "items": self.bounded(items, depth)}
        return {**bounded, **({"minItems": least} if least else {}), "maxItems": most}

    def _object(self, schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
        declared = schema.get("properties") or {}
        additional = schema.get("additionalProperties", True)
        required = [name for name in schema.get("required") or [] if is_writable(name)]
        known = {name: each for name, each in declared.items() if each is not False and is_writable(name)}
        if additional is not False:
            known |= {name: additional for name in required if name not in declared}
        if not declared and not known and additional is not False and not self._is_full(depth):
            return self._open_object(schema, additional, depth)
        if self._is_full(depth):
            known = {}
        properties: dict[str, Json] = {}
        for name, each in known.items():
            if name in required or self._nodes < _MAX_NODES:
                properties[name] = self.bounded(each, depth)
        return closed_object(properties, [name for name in required if name in properties])

    def _open_object(self, schema: Mapping[str, Json], additional: Json, depth: int) -> dict[str, Json]:
        least, most = count_bounds(schema, "Properties", longest=_OPEN_PROPERTIES, most_asked=_MAX_MIN_PROPERTIES)
        if most == 0:
            return closed_object({}, [])
        free = not isinstance(additional, Mapping) or not additional
        values = scalars.scalar(_OPEN_TEXT) if free else self.bounded(additional, depth)
        return {
            "type": "object",
            "additionalProperties": values,
            **({"minProperties": least} if least else {}),
            "maxProperties": most,
        }

    def _is_full(self, depth: int) -> bool:
        return depth > _MAX_DEPTH or self._nodes >= _MAX_NODES


def closed_object(properties: Mapping[str, Json], required: list[str]) -> dict[str, Json]:
    """The schema of an object with these properties, in this order, and no others."""
    closed = {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}
    # xgrammar takes objects for one that differ in the order of their properties, or by one named title, description
    # or default, and follows the first of them. A keyword that nobody knows keeps them apart.
    return {**closed, "x-order": list(properties)} if properties else closed


def _any_of(schemas: list[dict[str, Json]]) -> dict[str, Json]:
    distinct = [each for at, each in enumerate(schemas) if each not in schemas[:at]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _merge_all_of(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """The schema with its `allOf` merged in; where two parts differ in a keyword, the first counts."""
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        for key, value in _merge_all_of(part).items():
            if key == "properties" and isinstance(whole.get(key), Mapping):
                whole[key] = {**value, **whole[key]}
            elif key == "required" and isinstance(whole.get(key), list):
                whole[key] = [*whole[key], *(name for name in value if name not in whole[key])]
            else:
                whole.setdefault(key, value)
    return whole


def _alternatives(schema: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The alternatives of anyOf or oneOf, each with what the schema says beside them.

    Empty where there are none, or where the schema itself says what its object or array holds.
    """
    listed = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(listed, list) or "properties" in schema or "items" in schema:
        return []
    base = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
    of_base = set(_types(base))
    choices: list[Mapping[str, Json]] = []
    for each in listed[:_MAX_ALTERNATIVES]:
        if isinstance(each, Mapping):
            fitting = [kind for kind in _types(each) if not of_base or kind in of_base]
            if fitting or not _types(each):
                choices.append({**base, **each, **({"type": fitting} if fitting else {})})
    return choices


def _types(schema: Mapping[str, Json]) -> list[str]:
    """The types that the schema names or means; empty where it does neither."""
    named = schema.get("type")
    if named is None:
        return list(dict.fromkeys(_IMPLIED[key] for key in schema if key in _IMPLIED))[:1]
    return [kind for kind in ([named] if isinstance(named, str) else named) if kind in _TYPES]
