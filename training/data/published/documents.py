"""A tool as the published prompts write it, and back."""

from collections.abc import Mapping
from dataclasses import replace

from app.catalogue.checks import check_depth, check_tool
from app.catalogue.rapidapi import parse_document
from app.domain import Json, Parameter, Tool
from app.errors import DocumentError
from training.data.published.layout import name_parts, published_name

_DESCRIPTIONS = ("tool_description", "api_description", "description")
_DECLARED = {
    "string": ("STRING", "ENUM", "DATE (YYYY-MM-DD)", "TIME (24-hour HH:MM)"),
    "number": ("NUMBER",),
    "integer": ("INTEGER",),
    "boolean": ("BOOLEAN",),
    "array": ("ARRAY",),
    "object": ("OBJECT",),
}
"""RapidAPI's types for a JSON Schema type, the most usual first."""


def tool_document(tool: Tool) -> dict[str, Json]:
    """Required and optional parameters apart, so that an order that mixes them is lost.

    Of a parameter's schema there is only RapidAPI's type. What a tool of RapidAPI has beyond it stands in its
    description, and comes back from there; what a schema of OpenAPI or OpenAI has beyond it is lost.
    """
    document: dict[str, Json] = {"tool_name": published_name(tool), "tool_description": tool.description}
    for key, required in (("required_parameters", True), ("optional_parameters", False)):
        document[key] = [_entry(each) for each in tool.parameters if each.required is required]
    if tool.response_schema is not None:
        document["response_schema"] = tool.response_schema
    return document


def tool_of(document: Mapping[str, Json]) -> Tool:
    """Raises DocumentError with the reason. Where a name has not three parts, category and provider are empty."""
    name = document.get("tool_name")
    if not isinstance(name, str) or not name.strip():
        raise DocumentError("a tool has no tool_name")
    check_depth(document)
    parts = name_parts(name)
    category, provider, api = parts or ("-", "-", "-")
    described = (document[key] for key in _DESCRIPTIONS if document.get(key) is not None)
    tool = parse_document(
        {
            **document,
            "category_name": category,
            "tool_name": provider,
            "api_name": api,
            "api_description": next(described, None),
        }
    )
    return tool if parts is not None else check_tool(replace(tool, name=name, category="", provider="", api=name))


def undocumented(name: str, parts: tuple[str, str, str] | None) -> Tool:
    """A tool that histories name and no prompt describes."""
    category, provider, api = parts or ("", "", name)
    return Tool(name=name, category=category, provider=provider, api=api, description="")


def is_kept(tool: Tool, document: Mapping[str, Json]) -> bool:
    """Whether the document says all that the tool's own does, in its order."""
    try:
        read = tool_of(document)
    except DocumentError:
        return False
    return (read.name, read.description, read.parameters, read.response_schema) == (
        tool.name,
        tool.description,
        tool.parameters,
        tool.response_schema,
    )


def _entry(parameter: Parameter) -> dict[str, Json]:
    """With the type from which the parameter is read again as it is, if there is one."""
    given = parameter.schema.get("type")
    first = next((each for each in given if each in _DECLARED), None) if isinstance(given, list) else given
    entries = [_written(parameter, declared) for declared in _DECLARED.get(str(first), _DECLARED["string"])]
    return next((entry for entry in entries if _read(entry, parameter.required) == parameter), entries[0])


def _written(parameter: Parameter, declared: str) -> dict[str, Json]:
    return {
        "name": parameter.name,
        "type": declared,
        "description": parameter.description,
        "default": "" if parameter.default is None else parameter.default,
    }


def _read(entry: Mapping[str, Json], required: bool) -> Parameter | None:
    key = "required_parameters" if required else "optional_parameters"
    try:
        return parse_document({"category_name": "-", "tool_name": "-", "api_name": "-", key: [entry]}).parameters[0]
    except DocumentError:
        return None
