"""Turns a tool into a JSON document for storage and back, and hashes it to tell whether it changed."""

import hashlib
import json
from collections.abc import Mapping

from app.domain import Json, Parameter, Tool, ToolSource


def tool_to_json(tool: Tool) -> dict[str, Json]:
    """The tool with every field; `tool_from_json` makes an equal tool of it."""
    return {
        "name": tool.name,
        "category": tool.category,
        "provider": tool.provider,
        "api": tool.api,
        "description": tool.description,
        "parameters": [
            {
                "name": parameter.name,
                "schema": dict(parameter.schema),
                "required": parameter.required,
                "description": parameter.description,
                "default": parameter.default,
            }
            for parameter in tool.parameters
        ],
        "response_schema": tool.response_schema,
        "source": tool.source.value,
    }


def tool_from_json(document: Mapping[str, Json]) -> Tool:
    """The tool of a document that `tool_to_json` wrote. Raises KeyError or ValueError for any other document."""
    return Tool(
        name=document["name"],
        category=document["category"],
        provider=document["provider"],
        api=document["api"],
        description=document["description"],
        parameters=tuple(
            Parameter(
                name=parameter["name"],
                schema=parameter["schema"],
                required=parameter["required"],
                description=parameter["description"],
                default=parameter["default"],
            )
            for parameter in document["parameters"]
        ),
        response_schema=document["response_schema"],
        source=ToolSource(document["source"]),
    )


def document_hash(tool: Tool) -> str:
    """SHA-256 of the tool's content, 64 hexadecimal digits.

    The order of the parameters counts, as a prompt lists them in it; the order of keys in schemas does not.
    """
    canonical = json.dumps(
        tool_to_json(tool), sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
