"""A tool as a JSON document and back, for storage; and the hash that tells whether it changed."""

import hashlib
import json
from collections.abc import Mapping

from app.domain import Json, Parameter, Tool, ToolSource


def tool_to_json(tool: Tool) -> dict[str, Json]:
    """Every field of the tool: `tool_from_json` of it is equal to the tool."""
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
    """The tool of a document that `tool_to_json` wrote (KeyError or ValueError for anything else)."""
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
    """SHA-256 (64 hexadecimal digits) of the tool's content; the order of keys in schemas does not count.

    The order of the parameters counts: a prompt lists them in it.
    """
    canonical = json.dumps(
        tool_to_json(tool), sort_keys=True, ensure_ascii=True, separators=(",", ":"), allow_nan=False
    )
    return hashlib.sha256(canonical.encode("ascii")).hexdigest()
