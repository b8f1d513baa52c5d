"""Brings the JSON Schemas of tool documents to one dialect (Draft 2020-12) without references.

Documents mix dialects: OpenAPI 3.0's `nullable`, Draft 4's boolean `exclusiveMinimum`, type names of
programming languages. What Draft 2020-12 says in other words is translated; the rest stays as it is.
"""

from collections.abc import Mapping
from typing import cast
from urllib.parse import unquote

from app.catalogue.checks import MAX_DEPTH, as_text, report_text
from app.catalogue.defaults import read_default
from app.domain import Json, Parameter
from app.errors import DocumentError
from app.json_data import json_schemas

MAX_NODES = 4_000
"""Schemas within one schema, up to which references are followed; a later one becomes {}, which allows anything."""

# `additionalItems` and `dependencies` are of older drafts.
_SCHEMA = json_schemas.SCHEMA | {"additionalItems"}
_MAPS = json_schemas.SCHEMA_MAPS | {"dependencies"}
_DATA = frozenset({"default", "enum", "const", "examples", "required", "dependentRequired", "type"})
_REFERRING = ("$ref", "$defs", "definitions", "$id", "id", "$anchor", "$dynamicRef", "$dynamicAnchor")
_DROPPED = frozenset(
    {
        *_REFERRING,
        *("$recursiveRef", "$recursiveAnchor", "$schema", "$vocabulary", "$comment"),
        # OpenAPI's own; `nullable` and `example` are translated.
        *("nullable", "discriminator", "xml", "externalDocs", "example"),
    }
)
_TYPES: Mapping[str, str | None] = {
    **{name: name for name in ("string", "number", "integer", "boolean", "array", "object", "null")},
    "str": "string",
    "text": "string",
    "file": "string",
    "int": "integer",
    "long": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "list": "array",
    "tuple": "array",
    "dict": "object",
    "map": "object",
    "any": None,
}


class Schemas:
    """Resolves the schemas of one document; `root` is what its local references (`#/...`) point into."""

    def __init__(self, root: Json) -> None:
        self._root = root
        self._nodes = 0

    def follow(self, node: Json) -> Json:
        """What the node means: itself, or the target at the end of its `$ref`s; {} where there is none."""
        for _ in range(MAX_DEPTH):
            if not (isinstance(node, Mapping) and isinstance(node.get("$ref"), str)):
                return node
            node = self._find(node["$ref"])
        return {}

    def resolve(self, schema: Json) -> dict[str, Json]:
        """The schema with every local reference replaced by its target, in Draft 2020-12.

        A reference into itself, to another document, or to nothing becomes {}, which allows anything.
        """
        self._nodes = 0
        return self._schema(schema, (), 0)

    def _find(self, reference: str) -> Json:
        if not reference.startswith("#"):
            return {}
        node = self._root
        for part in reference[1:].split("/")[1:]:
            key = unquote(part).replace("~1", "/").replace("~0", "~")
            if isinstance(node, Mapping):
                node = node.get(key, {})
            elif isinstance(node, list) and key.isdecimal() and len(key) < 9 and int(key) < len(node):
                node = node[int(key)]
            else:
                return {}
        return node

    def _schema(self, node: Json, inside: tuple[str, ...], depth: int) -> dict[str, Json]:
        """The schema of the node; `inside` are the references that led here, as to meet one again is a cycle."""
        self._nodes += 1
        if isinstance(node, bool):
            return {} if node else {"not": {}}
        if not isinstance(node, Mapping):
            raise DocumentError(f"a schema is not an object but {as_text(node)[:60]}")
        found: dict[str, Json] = {}
        reference = node.get("$ref")
        if isinstance(reference, str) and self._worth_following(reference, inside, depth):
            found = self._schema(self._find(reference), (*inside, reference), depth + 1)
        own = {key: self._keyword(key, value, inside, depth + 1) for key, value in node.items() if key not in _DROPPED}
        found.update(own)
        return _merge_all_of(_translate(found, node))

    def _worth_following(self, reference: str, inside: tuple[str, ...], depth: int) -> bool:
        return reference not in inside and self._nodes < MAX_NODES and depth < MAX_DEPTH // 4

    def _keyword(self, key: str, value: Json, inside: tuple[str, ...], depth: int) -> Json:
        if key in _DATA:
            return value
        if key in _MAPS and isinstance(value, Mapping):
            schemas = {
                # A dependency may be a list of names.
                name: each if key == "dependencies" and _are_names(each) else self._schema(each, inside, depth)
                for name, each in value.items()
            }
            return {n: s for n, s in schemas.items() if key != "patternProperties" or json_schemas.is_pattern(n)}
        if key in _SCHEMA and not isinstance(value, bool | list):
            return self._schema(value, inside, depth)
        if (key in json_schemas.SCHEMA_LISTS or key == "items") and isinstance(value, list):
            return [self._schema(each, inside, depth) for each in value]
        return self._without_references(value)

    def _without_references(self, value: Json) -> Json:
        """A value that is no schema by its keyword, without its references all the same."""
        self._nodes += 1
        if isinstance(value, Mapping):
            kept = {key: each for key, each in value.items() if key not in json_schemas.REFERENCES}
            return {key: self._without_references(each) for key, each in kept.items()}
        return [self._without_references(each) for each in value] if isinstance(value, list) else value


def _are_names(value: Json) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _translate(schema: dict[str, Json], node: Mapping[str, Json]) -> dict[str, Json]:
    """The schema with keywords of older dialects as those of Draft 2020-12; `node` is the original schema."""
    _translate_type(schema)
    if node.get("nullable") is True and isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
    for exclusive, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(schema.get(exclusive), bool) and schema.pop(exclusive) and bound in schema:
            schema[exclusive] = schema.pop(bound)
    if isinstance(schema.get("items"), list):
        schema["prefixItems"] = schema.pop("items")
    if "example" in node and "examples" not in schema:
        schema["examples"] = [node["example"]]
    if isinstance(schema.get("examples"), Mapping):
        schema["examples"] = list(schema["examples"].values())
    # Draft 3 marks the property itself as required; whoever reads the object looks there.
    if isinstance(schema.get("required"), bool):
        del schema["required"]
    # A pattern that Python cannot read would fail at every validation.
    if isinstance(schema.get("pattern"), str) and not json_schemas.is_pattern(schema["pattern"]):
        del schema["pattern"]
    return schema


def _translate_type(schema: dict[str, Json]) -> None:
    declared = schema.get("type")
    if isinstance(declared, str):
        known = _TYPES.get(declared.lower(), declared)
        if known is None:
            del schema["type"]
        else:
            schema["type"] = known


def _merge_all_of(schema: dict[str, Json]) -> dict[str, Json]:
    """The schema with its `allOf` merged in; the schema as it is where two parts contradict each other."""
    parts = schema.get("allOf")
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return schema
    whole: dict[str, Json] = {}
    notes = {"title", "description", "default", "examples"}
    for part in [{key: value for key, value in schema.items() if key != "allOf"}, *parts]:
        for key, value in part.items():
            if key not in whole or whole[key] == value:
                whole[key] = value
            elif key == "properties" and isinstance(value, dict) and isinstance(whole[key], dict):
                # A property in two parts has to fit both.
                shared = [name for name in value if whole[key].get(name, value[name]) != value[name]]
                both = {name: {"allOf": [whole[key][name], value[name]]} for name in shared}
                whole[key] = {**whole[key], **value, **both}
            elif key == "required" and isinstance(value, list) and isinstance(whole[key], list):
                whole[key] = [*whole[key], *(name for name in value if name not in whole[key])]
            elif key not in notes:
                return schema
    return whole


def make_parameter(name: str, schema: dict[str, Json], required: bool, description: str = "") -> Parameter:
    """The parameter of a resolved schema, whose description and default move out of the schema.

    A default that does not fit the schema is read as the schema's type ("10" is 10), or left out; without a default,
    the first example takes its place. Raises DocumentError where the schema is no valid JSON Schema.
    """
    schema = dict(schema)
    own = as_text(schema.pop("description", None))
    default = schema.pop("default", None)
    what = f"the schema of the parameter {report_text(name)!r}"
    try:
        problem = json_schemas.schema_problem(schema)
    except RecursionError as error:
        raise DocumentError(f"{what} is nested too deep to be checked") from error
    if problem is not None:
        raise DocumentError(f"{what} is not valid: {problem[:300]}")
    for candidate in (default, *_examples(schema)):
        if (valid := _read_valid(schema, candidate)) is not None:
            return Parameter(name, schema, required, description or own, valid)
    return Parameter(name, schema, required, description or own)


def _examples(schema: Mapping[str, Json]) -> list[Json]:
    return cast(list[Json], schema["examples"])[:1] if isinstance(schema.get("examples"), list) else []


def _read_valid(schema: Mapping[str, Json], value: Json) -> Json:
    """The value if it fits the schema, else what it is as the schema's type; None where that does not fit either."""
    if value is None or _valid(schema, value):
        return value
    if not isinstance(schema.get("type"), str) or schema["type"] == "null":
        return None
    read = read_default({"type": schema["type"]}, value)
    return read if read is not None and _valid(schema, read) else None


def _valid(schema: Mapping[str, Json], value: Json) -> bool:
    return json_schemas.first_problem(json_schemas.make_validator(schema, formats=False), value) is None
