"""Candidates' documents in the prompt, in as much detail as there is room for."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum, auto
from threading import Lock

from cachetools import LRUCache

from app.domain import Json, Parameter, Tool
from app.json_data.json_schemas import SCHEMA, SCHEMA_LISTS, SCHEMA_MAPS
from app.json_data.tool_names import alias
from app.json_data.values import value_size
from app.prompting.formats import Listing, PromptFormat
from app.prompting.text import ELLIPSIS, Segment, SegmentEncoder, cut, json_text, memory_bytes, one_line, shorten

_CACHE_BYTES = 64 * 1024 * 1024
"""Maximum bytes of the cache of encoded documents, including their tools."""
_RESPONSE_CHARACTERS = 2_000
_TYPES, _TYPE_CHARACTERS = 7, 20
"""Maximum number and length of JSON Schema types: there are seven, none longer than this."""
_TERSE_CHARACTERS = 90
"""Maximum characters of a description in `Listing.TERSE`."""
_NOTES = frozenset({"title", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"})
"""Keywords of a schema that add nothing to a parameter's name and description."""


class Detail(StrEnum):
    """How much of each document the prompt has, from most to least. All have names, types and what is required."""

    FULL = auto()
    WITHOUT_RESPONSES = auto()
    SHORT_OPTIONAL = auto()
    """Short descriptions, enumerations and defaults for optional parameters."""
    SHORT = auto()
    """Short descriptions, enumerations and defaults for everything."""
    BRIEF = auto()
    """A few words of the tool's description, and no descriptions of parameters."""
    NAMES = auto()
    """Names and types only."""


@dataclass(frozen=True)
class _ParameterLimits:
    """Limits of a parameter: characters of texts, members of an enumeration. 0 leaves it out."""

    description: int
    default: int
    enum: int
    depth: int
    """Maximum levels of nested schemas below the parameter's own."""


@dataclass(frozen=True)
class _Limits:
    description: int
    required: _ParameterLimits
    optional: _ParameterLimits
    response: bool = False


_LONG = _ParameterLimits(description=1_500, default=300, enum=100, depth=8)
_MEDIUM = _ParameterLimits(description=120, default=60, enum=20, depth=4)
_SHORT = _ParameterLimits(description=60, default=30, enum=8, depth=2)
_TYPED = _ParameterLimits(description=0, default=0, enum=4, depth=1)
_NAMED = _ParameterLimits(description=0, default=0, enum=0, depth=0)
_LIMITS = {
    Detail.FULL: _Limits(4_000, _LONG, _LONG, response=True),
    Detail.WITHOUT_RESPONSES: _Limits(4_000, _LONG, _LONG),
    Detail.SHORT_OPTIONAL: _Limits(4_000, _LONG, _SHORT),
    Detail.SHORT: _Limits(240, _MEDIUM, _SHORT),
    Detail.BRIEF: _Limits(60, _TYPED, _TYPED),
    Detail.NAMES: _Limits(0, _NAMED, _NAMED),
}


class DocumentWriter:
    """Writes and encodes tools' documents for a format, and caches them. Thread-safe."""

    def __init__(self, encoder: SegmentEncoder, format: PromptFormat) -> None:  # noqa: A002
        self._encoder = encoder
        self._format = format
        # The cache refers to the tool, so no other object can get its id; therefore the tool's size counts too.
        self._kept: LRUCache[tuple[int, Detail], tuple[Tool, Segment]] = LRUCache(
            maxsize=_CACHE_BYTES, getsizeof=lambda kept: _tool_bytes(kept[0]) + memory_bytes(kept[1])
        )
        self._lock = Lock()

    def segment(self, tool: Tool, detail: Detail) -> Segment:
        """The tool's document, encoded; in a format of lines, what stands between label and hints or line end."""
        kept = self.cached(tool, detail)
        if kept is not None:
            return kept
        segment = self._encoder.encode(self._text(tool, self._written_at(tool, detail)))
        with self._lock, suppress(ValueError):  # too large to be kept
            self._kept[self._key(tool, detail)] = (tool, segment)
        return segment

    def cached(self, tool: Tool, detail: Detail) -> Segment | None:
        """The cached document. None if `segment` would have to write it."""
        with self._lock:
            found = self._kept.get(self._key(tool, detail))
        return found[1] if found is not None else None

    def _key(self, tool: Tool, detail: Detail) -> tuple[int, Detail]:
        return id(tool), self._written_at(tool, detail)

    def _written_at(self, tool: Tool, detail: Detail) -> Detail:
        if detail is Detail.FULL and (not self._format.response_schemas or tool.response_schema is None):
            return Detail.WITHOUT_RESPONSES
        return detail

    def _text(self, tool: Tool, detail: Detail) -> str:
        limits = _LIMITS[detail]
        if self._format.listing is Listing.ARRAY:
            return json_text(_array_document(tool, limits))
        flat = _terse_document(tool, limits) if self._format.listing is Listing.TERSE else _line_document(tool, limits)
        return f" {json_text(flat)}" + ("" if self._format.hints else "\n")


def _tool_bytes(tool: Tool) -> int:
    """Memory that a tool takes, in bytes, roughly."""
    texts = [tool.name, tool.category, tool.provider, tool.api, tool.description]
    parameters = [[each.name, each.schema, each.description, each.default] for each in tool.parameters]
    return value_size([texts, parameters, tool.response_schema])


def _array_document(tool: Tool, limits: _Limits) -> dict[str, Json]:
    document: dict[str, Json] = {"tool_name": alias(tool.name)}
    if description := _description(tool.description, limits.description):
        document["description"] = description
    for key, required in (("required_parameters", True), ("optional_parameters", False)):
        of = limits.required if required else limits.optional
        name_first = [({"name": alias(each.name)}, _schema_of(each, of)) for each in _parameters(tool, required)]
        # The name is written first, and merged last too, so that no keyword of the schema replaces it.
        document[key] = [name | schema | name for name, schema in name_first]
    if limits.response and tool.response_schema is not None:
        document["response_schema"] = _response(tool.response_schema)
    return document


def _line_document(tool: Tool, limits: _Limits) -> dict[str, Json]:
    document: dict[str, Json] = {"tool_name": alias(tool.name)}
    if description := _description(tool.description, limits.description):
        document["description"] = description
    for key, required in (("required", True), ("optional", False)):
        of = limits.required if required else limits.optional
        written = {alias(each.name): _simplify_type(_schema_of(each, of)) for each in _parameters(tool, required)}
        if written:
            document[key] = written
    if limits.response and tool.response_schema is not None:
        document["response"] = _response(tool.response_schema)
    return document


def _terse_document(tool: Tool, limits: _Limits) -> dict[str, Json]:
    """The document with each parameter as the text `type`, or `type; description`."""
    document: dict[str, Json] = {"tool_name": alias(tool.name)}
    for key, required in (("required", True), ("optional", False)):
        of = limits.required if required else limits.optional
        written = {alias(each.name): _parameter_text(each, of) for each in _parameters(tool, required)}
        if written:
            document[key] = written
    return document


def _parameter_text(parameter: Parameter, limits: _ParameterLimits) -> str:
    kind = _type(parameter.schema)
    written = kind if isinstance(kind, str) else "|".join(kind)
    description = _description(parameter.description, min(limits.description, _TERSE_CHARACTERS))
    members = parameter.schema.get("enum")
    if isinstance(members, list) and limits.enum and not all(str(each) in description for each in members):
        written += " " + "|".join(cut(one_line(str(each)), _TYPE_CHARACTERS) for each in members[: limits.enum])
    return f"{written}; {description}" if description else written


def _parameters(tool: Tool, required: bool) -> Iterable[Parameter]:
    return (parameter for parameter in tool.parameters if parameter.required is required)


def _simplify_type(schema: dict[str, Json]) -> Json:
    """`"string"` for `{"type": "string"}`, which saves tokens: half of all parameters have only a type."""
    return schema["type"] if schema.keys() == {"type"} else schema


def _schema_of(parameter: Parameter, limits: _ParameterLimits) -> dict[str, Json]:
    written = {"type": _type(parameter.schema)} | _schema(parameter.schema, limits, limits.depth)
    written.pop("description", None)
    written.pop("default", None)
    if parameter.default is not None:
        default = shorten(parameter.default, characters=1_000, items=50, depth=6)
        if len(json_text(default)) <= limits.default:
            written["default"] = default
    if description := _description(parameter.description, limits.description):
        written["description"] = description
    return written


def _description(text: str, characters: int) -> str:
    return cut(one_line(text), characters) if characters else ""


def _type(schema: Mapping[str, Json]) -> Json:
    """The JSON type or types that the schema allows; `"any"` if it names none."""
    given = schema.get("type")
    if isinstance(given, str):
        return cut(given, _TYPE_CHARACTERS)
    if isinstance(given, list) and given and all(isinstance(each, str) for each in given):
        return [cut(each, _TYPE_CHARACTERS) for each in given[:_TYPES]]
    choices = schema.get("anyOf") or schema.get("oneOf")
    members = choices if isinstance(choices, list) else []
    types = [each["type"] for each in members if isinstance(each, Mapping) and isinstance(each.get("type"), str)]
    found = [cut(each, _TYPE_CHARACTERS) for each in list(dict.fromkeys(types))[:_TYPES]]
    return (found[0] if len(found) == 1 else found) or "any"


def _schema(schema: Json, limits: _ParameterLimits, depth: int) -> dict[str, Json]:
    """The schema within the limits. At depth 0 it is only the type."""
    if not isinstance(schema, Mapping):
        return {}
    written: dict[str, Json] = {}
    if isinstance(schema.get("type"), str | list):
        written["type"] = _type(schema)
    if depth == 0:
        return written
    for key, value in schema.items():
        if key == "description":
            if isinstance(value, str) and (description := _description(value, limits.description)):
                written[key] = description
        elif key == "enum" and isinstance(value, list):
            if limits.enum:
                written[key] = _enum(value, limits)
        elif key != "type" and key not in _NOTES and not key.startswith("x-"):
            written[key] = _keyword(key, value, limits, depth - 1)
    return written


def _keyword(key: str, value: Json, limits: _ParameterLimits, depth: int) -> Json:
    if key in SCHEMA_MAPS and isinstance(value, Mapping):
        return {name: _schema(each, limits, depth) for name, each in value.items()}
    if key in SCHEMA_LISTS and isinstance(value, list):
        return [_schema(each, limits, depth) for each in value]
    if key in SCHEMA and isinstance(value, Mapping):
        return _schema(value, limits, depth)
    return shorten(value, characters=200, items=50, depth=depth)


def _enum(members: list[Json], limits: _ParameterLimits) -> list[Json]:
    shown = [shorten(each, characters=80, items=8, depth=2) for each in members[: limits.enum]]
    return [*shown, ELLIPSIS] if len(members) > limits.enum else shown


def _response(schema: Json) -> Json:
    for items, depth in ((50, 8), (20, 3), (10, 1)):
        written = shorten(schema, characters=80, items=items, depth=depth)
        if len(json_text(written)) <= _RESPONSE_CHARACTERS:
            return written
    return shorten(schema, characters=80, items=10, depth=1)
