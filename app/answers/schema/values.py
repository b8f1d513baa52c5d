"""A parameter's JSON Schema as one that grammars can follow and a weak model cannot write on in without end.

What a grammar cannot say (uniqueItems, not, if, patternProperties, multipleOf, contains, lookarounds, ...) is left
out and checked afterwards by `app.answers.validation`. What comes out has at least one value, whatever goes in, and
where the document's schema has a value within the limits, one of those.
"""

from collections.abc import Mapping

from app.answers.schema import scalars
from app.answers.schema.bounds import Limits, counts, integer_bounds, number_bounds
from app.answers.schema.members import members_of
from app.answers.schema.patterns import bounded_pattern
from app.domain import Json
from app.json_data import json_schemas
from app.json_data.tool_names import is_writable

MOST_LEAST_TEXT = 4_096
"""Characters of a text, where the document asks for more than our longest."""
SHORT_TEXT = 64
"""Characters of a text in an object whose properties the document leaves open."""
MOST_LEAST_ITEMS = 128
"""Items of an array, where the document asks for more than our most."""
OPEN_PROPERTIES, MOST_LEAST_PROPERTIES = 4, 50
"""Properties of an object that the document leaves open. Their names are the only texts without a longest length:
neither library can limit them in a way that both understand. Ours, and the most that a document may ask for."""
ALTERNATIVES = 8
"""Schemas of an anyOf."""
DEPTH = 5
"""Objects and arrays within each other; vLLM takes 64 levels of JSON, and one of ours is up to eight."""
NODES = 400
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
    """The bounded schema.

    A schema that is not valid, or holds a reference, allows any scalar, as the validator then allows everything.
    """
    try:
        if json_schemas.schema_problem(dict(schema)) is not None:
            return scalars.scalar(limits.text)
        return _Bounding(limits).bounded(schema, 0)
    except RecursionError:
        return scalars.scalar(limits.text)


class _Bounding:
    """Of one parameter's schema."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._nodes = 0

    def bounded(self, schema: Json, depth: int) -> dict[str, Json]:
        self._nodes += 1
        if not isinstance(schema, Mapping) or not schema:
            return scalars.scalar(self._limits.text)
        schema = _one_of_all(schema)
        if members := members_of(schema):
            return {"enum": members}
        if choices := _choices(schema):
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
        least, most = counts(schema, "Length", longest=self._limits.text, most_asked=MOST_LEAST_TEXT)
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            bounded = bounded_pattern(pattern, most)
            return scalars.text(least, most) if bounded is None else {"type": "string", "pattern": bounded}
        form = schema.get("format")
        return (
            scalars.formatted(form) if isinstance(form, str) and form in scalars.FORMATS else scalars.text(least, most)
        )

    def _array(self, schema: Mapping[str, Json], depth: int) -> dict[str, Json]:
        items = schema.get("items")
        least, most = counts(schema, "Items", longest=self._limits.items, most_asked=MOST_LEAST_ITEMS)
        places = schema.get("prefixItems")
        if (items is False and not places) or most == 0 or self._is_full(depth):
            return {"type": "array", "items": {"type": "null"}, "maxItems": 0}
        if isinstance(places, list) and len(places) <= MOST_LEAST_ITEMS:
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
            if name in required or self._nodes < NODES:
                properties[name] = self.bounded(each, depth)
        return closed_object(properties, [name for name in required if name in properties])

    def _open_object(self, schema: Mapping[str, Json], additional: Json, depth: int) -> dict[str, Json]:
        least, most = counts(schema, "Properties", longest=OPEN_PROPERTIES, most_asked=MOST_LEAST_PROPERTIES)
        if most == 0:
            return closed_object({}, [])
        free = not isinstance(additional, Mapping) or not additional
        values = scalars.scalar(SHORT_TEXT) if free else self.bounded(additional, depth)
        return {
            "type": "object",
            "additionalProperties": values,
            **({"minProperties": least} if least else {}),
            "maxProperties": most,
        }

    def _is_full(self, depth: int) -> bool:
        return depth > DEPTH or self._nodes >= NODES


def closed_object(properties: Mapping[str, Json], required: list[str]) -> dict[str, Json]:
    """An object with these properties, in this order, and no others."""
    closed = {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}
    # xgrammar takes objects for one that differ in the order of their properties, or by one named title, description
    # or default, and follows the first of them. A keyword that nobody knows keeps them apart.
    return {**closed, "x-order": list(properties)} if properties else closed


def _any_of(schemas: list[dict[str, Json]]) -> dict[str, Json]:
    distinct = [each for at, each in enumerate(schemas) if each not in schemas[:at]]
    return distinct[0] if len(distinct) == 1 else {"anyOf": distinct}


def _one_of_all(schema: Mapping[str, Json]) -> Mapping[str, Json]:
    """`allOf` as one schema; of two parts that say different things of one keyword, the first counts."""
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts:
        if not isinstance(part, Mapping):
            continue
        for key, value in _one_of_all(part).items():
            if key == "properties" and isinstance(whole.get(key), Mapping):
                whole[key] = {**value, **whole[key]}
            elif key == "required" and isinstance(whole.get(key), list):
                whole[key] = [*whole[key], *(name for name in value if name not in whole[key])]
            else:
                whole.setdefault(key, value)
    return whole


def _choices(schema: Mapping[str, Json]) -> list[Mapping[str, Json]]:
    """The alternatives of anyOf or oneOf, each with what the schema says beside them.

    Empty where there are none, or where the schema itself says what its object or array holds.
    """
    listed = schema.get("anyOf") or schema.get("oneOf")
    if not isinstance(listed, list) or "properties" in schema or "items" in schema:
        return []
    base = {key: value for key, value in schema.items() if key not in ("anyOf", "oneOf")}
    of_base = set(_types(base))
    choices: list[Mapping[str, Json]] = []
    for each in listed[:ALTERNATIVES]:
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
