"""Tools and calls of them, as the paper defines them (section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list of Json, or dict of str to Json."""


class ToolSource(StrEnum):
    """The format a tool document came in."""

    RAPIDAPI = "rapidapi"
    OPENAI = "openai"
    OPENAPI = "openapi"


@dataclass(frozen=True)
class Parameter:
    """One input of a tool. `schema` is the JSON Schema of its value (type, enum, format, items, bounds)."""

    name: str
    schema: Mapping[str, Json]
    required: bool = False
    description: str = ""
    default: Json = None
    """The document's default or example, already of the schema's type; None where it has none."""


@dataclass(frozen=True)
class Tool:
    """One callable API: `d(t)` of the paper.

    `name` is unique and kept as it came: `<category>.<provider>.<api>` for RapidAPI and OpenAPI documents, the
    function's own name for OpenAI tools. It is data: spaces, slashes, dots inside the parts, any Unicode.
    """

    name: str
    category: str
    provider: str
    """Who offers it: RapidAPI's tool name, OpenAPI's title; empty for OpenAI tools."""
    api: str
    """What it does in the provider's words: RapidAPI's api name, OpenAPI's operation."""
    description: str
    parameters: tuple[Parameter, ...] = ()
    response_schema: Json = None
    source: ToolSource = ToolSource.RAPIDAPI

    @cached_property
    def parameters_schema(self) -> dict[str, Json]:
        """JSON Schema of the whole parameters object, as in an OpenAI tool definition."""
        properties: dict[str, Json] = {}
        for parameter in self.parameters:
            schema = dict(parameter.schema)
            if parameter.description:
                schema["description"] = parameter.description
            if parameter.default is not None:
                schema["default"] = parameter.default
            properties[parameter.name] = schema
        return {
            "type": "object",
            "properties": properties,
            "required": [parameter.name for parameter in self.parameters if parameter.required],
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class ToolCall:
    """`c = (t, p)`: a tool and its parameters."""

    tool_name: str
    parameters: Mapping[str, Json]
