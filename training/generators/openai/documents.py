"""Tools, parameters and past calls as they stand in a prompt: compact, and never longer than there is room for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from app.domain import Json, Parameter, Tool
from app.json_data.tool_names import alias
from app.prompting.text import cut, json_text, one_line, shorten

MAX_DOCUMENT: Final = 16_000
"""Characters of a tool's document, as far as leaving things out gets it there."""
_NESTED: Final = frozenset({"array", "object"})
_BOUNDS: Final = ("format", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")


@dataclass(frozen=True)
class _Detail:
    """Characters and numbers of what a document has."""

    description: int
    parameter: int
    """Of a parameter's description."""
    members: int
    """Of an enumeration."""
    optional: int
    """Parameters that a call can do without."""
    depth: int
    """Levels of a value that is itself an array or object."""


_DETAILS: Final = (
    _Detail(1_500, 400, 50, 40, 6),
    _Detail(800, 100, 20, 20, 4),
    _Detail(300, 40, 8, 8, 2),
    _Detail(100, 0, 4, 0, 1),
)


def document(tool: Tool, room: int = MAX_DOCUMENT) -> dict[str, Json]:
    """Name, description and parameters, without the response schema. Can be written as JSON whatever the tool holds."""
    written: dict[str, Json] = {}
    for detail in _DETAILS:
        written = _document(tool, detail)
        if len(json_text(written)) <= room:
            break
    return written


def values(parameters: Mapping[str, Json]) -> Json:
    """A call's parameters, as JSON that can be written."""
    return shorten(dict(parameters), characters=400, items=40, depth=6)


def _document(tool: Tool, detail: _Detail) -> dict[str, Json]:
    required = [each for each in tool.parameters if each.required]
    optional = [each for each in tool.parameters if not each.required][: detail.optional]
    return {
        "tool_name": alias(tool.name),
        "description": cut(one_line(tool.description), detail.description),
        "parameters": [_parameter(each, detail) for each in [*required, *optional]],
    }


def _parameter(parameter: Parameter, detail: _Detail) -> dict[str, Json]:
    schema = parameter.schema
    written: dict[str, Json] = {
        "name": alias(parameter.name),
        "type": shorten(schema.get("type", "any"), characters=20, items=7, depth=1),
        "required": parameter.required,
    }
    if parameter.description and detail.parameter:
        written["description"] = cut(one_line(parameter.description), detail.parameter)
    if parameter.default is not None:
        written["default"] = shorten(parameter.default, characters=200, items=20, depth=detail.depth)
    members = schema.get("enum")
    if isinstance(members, list):
        # None that is cut: the model would write what the tool does not know.
        written["enum"] = [shorten(each, characters=200, items=20, depth=3) for each in members[: detail.members]]
    bounds = {key: schema[key] for key in _BOUNDS if key in schema}
    if bounds:
        written |= shorten(bounds, characters=100, items=8, depth=2)
    if _has_parts(schema):
        written["schema"] = shorten(dict(schema), characters=200, items=20, depth=detail.depth)
    return written


def _has_parts(schema: Mapping[str, Json]) -> bool:
    type_ = schema.get("type")
    types = type_ if isinstance(type_, list) else [type_]
    return any(isinstance(each, str) and each in _NESTED for each in types) or "anyOf" in schema or "oneOf" in schema
