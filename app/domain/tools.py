"""Tools and calls of them, as the paper defines them (section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list of Json, or dict of str to Json."""


class ToolSource(StrEnum):
    """Format of a tool document."""

    RAPIDAPI = "rapidapi"
    OPENAI = "openai"
    OPENAPI = "openapi"


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool. `schema` is the JSON Schema of its value (type, enum, format, items, bounds)."""

    name: str
    schema: Mapping[str, Json]
    required: bool = False
    description: str = ""
    default: Json = None
    """Default or example from the document, in the schema's type. None if the document has none."""


@dataclass(frozen=True)
class Tool:
    """A tool that can be called, with its document: `d(t)` of the paper.

    `name` is unique and kept unchanged: `<category>.<provider>.<api>` for RapidAPI and OpenAPI documents, the
    function's own name for OpenAI tools. It is data: spaces, slashes, dots inside the parts, any Unicode.
    """

    name: str
    category: str
    provider: str
    """Provider of the tool: RapidAPI's tool name, OpenAPI's title. Empty for OpenAI tools."""
    api: str
    """Name that the provider gives it: RapidAPI's api name, OpenAPI's operation."""
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
    """A call: a tool, and values for its parameters (`c = (t, p)` of the paper)."""

    tool_name: str
    parameters: Mapping[str, Json]
