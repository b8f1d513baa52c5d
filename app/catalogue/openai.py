"""Reads and writes OpenAI's tool definitions: a function as a Tool, and a Tool as a function."""

import hashlib
import re
from collections.abc import Iterator, Mapping

from app.catalogue.checks import Refusal, as_text, check_tool, report_text
from app.catalogue.schemas import Schemas, make_parameter
from app.domain import Json, Parameter, Tool, ToolSource
from app.errors import DocumentError

_SAFE = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_HASH_DIGITS = 12


def parse_documents(raw: Json) -> Iterator[Tool | Refusal]:
    """The one tool of an element of an OpenAI `tools` array, or the reason why it is none."""
    try:
        yield parse_document(raw)
    except DocumentError as error:
        function = raw.get("function", raw) if isinstance(raw, Mapping) else None
        yield Refusal(report_text(function.get("name")) if isinstance(function, Mapping) else "", error.detail)


def parse_document(raw: Json) -> Tool:
    """The tool of `{"type": "function", "function": {...}}`, or of the bare function (Responses API).

    Its name is the function's. Raises DocumentError with the reason.
    """
    if not isinstance(raw, Mapping):
        raise DocumentError("the document is not a JSON object")
    kind = raw.get("type", "function")
    if kind != "function":
        raise DocumentError(f"a tool of the type {as_text(kind)[:60]!r} is not a function")
    function = raw.get("function", raw)
    if not isinstance(function, Mapping):
        raise DocumentError("function is not a JSON object")
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        raise DocumentError("the function has no name" if not name else "the function's name is not text, or blank")
    return check_tool(
        Tool(
            name=name,
            category="",
            provider="",
            api=name,
            description=as_text(function.get("description")),
            parameters=_parameters(function.get("parameters")),
            source=ToolSource.OPENAI,
        )
    )


def _parameters(declared: Json) -> tuple[Parameter, ...]:
    if declared is None:
        return ()
    if not isinstance(declared, Mapping):
        raise DocumentError("parameters is not a JSON Schema object")
    schema = Schemas(declared).resolve(declared)
    if schema.get("type", "object") != "object":
        raise DocumentError("parameters is a JSON Schema, but not one of an object")
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        raise DocumentError("parameters.properties is not a JSON object")
    listed = schema.get("required", [])
    required = {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
    required |= _marked_as_required(declared)
    if unknown := sorted(report_text(name) for name in required - set(properties)):
        raise DocumentError(f"required parameters that have no schema: {', '.join(unknown)[:300]}")
    return tuple(make_parameter(name, each, name in required) for name, each in properties.items())


def _marked_as_required(declared: Mapping[str, Json]) -> set[str]:
    """Names of the properties with a `required` of their own, as in Draft 3 and still in many documents."""
    properties = declared.get("properties")
    entries = properties.items() if isinstance(properties, Mapping) else ()
    return {name for name, each in entries if isinstance(each, Mapping) and each.get("required") is True}


def openai_name(name: str) -> str:
    """The function name that OpenAI accepts (`^[a-zA-Z0-9_-]{1,64}$`) for a tool's name; always the same.

    An acceptable name stays as it is. Of another one, the readable part comes with 12 hexadecimal digits of its
    SHA-256, so that names stay distinct; to get back, compare with the names of the tools at hand.
    """
    if _SAFE.fullmatch(name):
        return name
    digits = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
    readable = re.sub(r"[^a-zA-Z0-9-]+", "_", name).strip("_")[: 64 - _HASH_DIGITS - 1].rstrip("_")
    return f"{readable}_{digits}" if readable else f"tool_{digits}"


def to_openai(tool: Tool) -> dict[str, Json]:
    """The tool as an element of an OpenAI `tools` array, under `openai_name` of its name."""
    return {
        "type": "function",
        "function": {
            "name": openai_name(tool.name),
            "description": tool.description,
            "parameters": tool.parameters_schema,
        },
    }
