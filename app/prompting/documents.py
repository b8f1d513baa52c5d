"""Candidates' documents in the prompt, at as much detail as there is room for."""

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
from app.prompting.segments import Segment, SegmentEncoder, size
from app.prompting.text import ELLIPSIS, cut, json_text, one_line, shortened

_MEMORY = 64 * 1024 * 1024
"""Bytes of documents, and of their tools, that are found again by the tool itself, without writing them out."""
_RESPONSE_CHARACTERS = 2_000
_TYPES, _TYPE_CHARACTERS = 7, 20
"""JSON Schema has seven types; longer is none of them."""
_TERSE_CHARACTERS = 90
"""Of a description in `Listing.TERSE`."""
_NOTES = frozenset({"title", "examples", "example", "deprecated", "readOnly", "writeOnly", "$comment", "$schema"})
"""Keywords that say nothing of a value which its name and description do not."""


class Detail(StrEnum):
    """How much of each document the prompt has, from most to least. Names, types, required marks are in all of them."""

    FULL = auto()
    WITHOUT_RESPONSES = auto()
    SHORT_OPTIONAL = auto()
    """Only short descriptions, enumerations and defaults of optional parameters."""
    SHORT = auto()
    """Only short ones everywhere."""
    BRIEF = auto()
    """A few words of the tool's description, none of the parameters'."""
    NAMES = auto()
    """Nothing else."""


@dataclass(frozen=True)
class _ParameterLimits:
    """How long something may be in characters, and how much there may be of it."""

    description: int
    default: int
    enum: int
    depth: int
    """Levels of nested schemas below the parameter's own."""


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
    """Safe to use from many threads at once."""

    def __init__(self, encoder: SegmentEncoder, format: PromptFormat) -> None:  # noqa: A002
        self._encoder = encoder
        self._format = format
        # The tool is kept with its segment, so that its id stays its own; so its size counts too.
        self._kept: LRUCache[tuple[int, Detail], tuple[Tool, Segment]] = LRUCache(
            maxsize=_MEMORY, getsizeof=lambda kept: _tool_size(kept[0]) + size(kept[1])
        )
        self._lock = Lock()

    def segment(self, tool: Tool, detail: Detail) -> Segment:
        """The document; in `Listing.LINES` what follows the label, up to the hints or the line's end."""
        kept = self.kept(tool, detail)
        if kept is not None:
            return kept
        segment = self._encoder.one(self._text(tool, self._written_at(tool, detail)))
        with self._lock, suppress(ValueError):  # too large to be kept
            self._kept[self._key(tool, detail)] = (tool, segment)
        return segment

    def kept(self, tool: Tool, detail: Detail) -> Segment | None:
        """What `segment` gives without writing the document; None where it would write it."""
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
            return json_text(_published(tool, limits))
        flat = _terse(tool, limits) if self._format.listing is Listing.TERSE else _flat(tool, limits)
        return f" {json_text(flat)}" + ("" if self._format.hints else "\n")


def _tool_size(tool: Tool) -> int:
    """Bytes of memory, roughly."""
    texts = [tool.name, tool.category, tool.provider, tool.api, tool.description]
    parameters = [[each.name, each.schema, each.description, each.default] for each in tool.parameters]
    return value_size([texts, parameters, tool.response_schema])


def _published(tool: Tool, limits: _Limits) -> dict[str, Json]:
    document: dict[str, Json] = {"tool_name": alias(tool.name)}
    if description := _description(tool.description, limits.description):
        document["description"] = description
    for key, required in (("required_parameters", True), ("optional_parameters", False)):
        of = limits.required if required else limits.optional
        name_first = [({"name": alias(each.name)}, _schema_of(each, of)) for each in _parameters(tool, required)]
        # The name comes first and last: no keyword of the schema takes its place.
        document[key] = [name | schema | name for name, schema in name_first]
    if limits.response and tool.response_schema is not None:
        document["response_schema"] = _response(tool.response_schema)
    return document


def _flat(tool: Tool, limits: _Limits) -> dict[str, Json]:
    document: dict[str, Json] = {"tool_name": alias(tool.name)}
    if description := _description(tool.description, limits.description):
        document["description"] = description
    for key, required in (("required", True), ("optional", False)):
        of = limits.required if required else limits.optional
        written = {alias(each.name): _brief(_schema_of(each, of)) for each in _parameters(tool, required)}
        if written:
            document[key] = written
    if limits.response and tool.response_schema is not None:
        document["response"] = _response(tool.response_schema)
    return document


def _terse(tool: Tool, limits: _Limits) -> dict[str, Json]:
    """Of each parameter `type`, or `type; description`."""
    document: dict[str, Json] = {"tool_name": alias(tool.name)}
    for key, required in (("required", True), ("optional", False)):
        of = limits.required if required else limits.optional
        written = {alias(each.name): _typed(each, of) for each in _parameters(tool, required)}
        if written:
            document[key] = written
    return document


def _typed(parameter: Parameter, limits: _ParameterLimits) -> str:
    kind = _type(parameter.schema)
    written = kind if isinstance(kind, str) else "|".join(kind)
    description = _description(parameter.description, min(limits.description, _TERSE_CHARACTERS))
    members = parameter.schema.get("enum")
    if isinstance(members, list) and limits.enum and not all(str(each) in description for each in members):
        written += " " + "|".join(cut(one_line(str(each)), _TYPE_CHARACTERS) for each in members[: limits.enum])
    return f"{written}; {description}" if description else written


def _parameters(tool: Tool, required: bool) -> Iterable[Parameter]:
    return (parameter for parameter in tool.parameters if parameter.required is required)


def _brief(schema: dict[str, Json]) -> Json:
    """`"string"` for `{"type": "string"}`: half of all parameters have no more than a type."""
    return schema["type"] if schema.keys() == {"type"} else schema


def _schema_of(parameter: Parameter, limits: _ParameterLimits) -> dict[str, Json]:
    written = {"type": _type(parameter.schema)} | _schema(parameter.schema, limits, limits.depth)
    written.pop("description", None)
    written.pop("default", None)
    if parameter.default is not None:
        default = shortened(parameter.default, characters=1_000, items=50, depth=6)
        if len(json_text(default)) <= limits.default:
            written["default"] = default
    if description := _description(parameter.description, limits.description):
        written["description"] = description
    return written


def _description(text: str, characters: int) -> str:
    return cut(one_line(text), characters) if characters else ""


def _type(schema: Mapping[str, Json]) -> Json:
    """The JSON types of the values, as far as the schema says; "any" where it says nothing."""
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
    """The schema without what has no room. At depth 0 only its type."""
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
    return shortened(value, characters=200, items=50, depth=depth)


def _enum(members: list[Json], limits: _ParameterLimits) -> list[Json]:
    shown = [shortened(each, characters=80, items=8, depth=2) for each in members[: limits.enum]]
    return [*shown, ELLIPSIS] if len(members) > limits.enum else shown


def _response(schema: Json) -> Json:
    for items, depth in ((50, 8), (20, 3), (10, 1)):
        written = shortened(schema, characters=80, items=items, depth=depth)
        if len(json_text(written)) <= _RESPONSE_CHARACTERS:
            return written
    return shortened(schema, characters=80, items=10, depth=1)
