"""OpenAI tool definitions, both ways: a function as a Tool, and a Tool as a function."""

import hashlib
import re
from collections.abc import Iterator, Mapping

from app.catalogue.batch import Refusal
from app.catalogue.checks import checked, shown, text_of
from app.catalogue.schemas import Schemas, parameter_of
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
        yield Refusal(shown(function.get("name")) if isinstance(function, Mapping) else "", error.detail)


def parse_document(raw: Json) -> Tool:
    """The tool of `{"type": "function", "function": {...}}`, or of the bare function (Responses API).

    Its name is the function's. Raises DocumentError with the reason.
    """
    if not isinstance(raw, Mapping):
        raise DocumentError("the document is not a JSON object")
    kind = raw.get("type", "function")
    if kind != "function":
        raise DocumentError(f"a tool of the type {text_of(kind)[:60]!r} is not a function")
    function = raw.get("function", raw)
    if not isinstance(function, Mapping):
        raise DocumentError("function is not a JSON object")
    name = function.get("name")
    if not isinstance(name, str) or not name.strip():
        raise DocumentError("the function has no name" if not name else "the function's name is not text, or blank")
    return checked(
        Tool(
            name=name,
            category="",
            provider="",
            api=name,
            description=text_of(function.get("description")),
            parameters=_parameters(function.get("parameters")),
            source=ToolSource.OPENAI,
        )
    )


def _parameters(declared: Json) -> tuple[Parameter, ...]:
    if declared is None:
        return ()
    if not isinstance(declared, Mapping):
        raise DocumentError("parameters is not a JSON Schema object")
    schema = Schemas(declared).resolved(declared)
    if schema.get("type", "object") != "object":
        raise DocumentError("parameters is a JSON Schema, but not one of an object")
    properties = schema.get("properties", {})
    if not isinstance(properties, Mapping):
        raise DocumentError("parameters.properties is not a JSON object")
    listed = schema.get("required", [])
    required = {each for each in listed if isinstance(each, str)} if isinstance(listed, list) else set()
    required |= _marked(declared)
    if unknown := sorted(shown(name) for name in required - set(properties)):
        raise DocumentError(f"required parameters that have no schema: {', '.join(unknown)[:300]}")
    return tuple(parameter_of(name, each, name in required) for name, each in properties.items())


def _marked(declared: Mapping[str, Json]) -> set[str]:
    """The properties that are marked as required one by one, as Draft 3 does and many documents still do."""
    properties = declared.get("properties")
    entries = properties.items() if isinstance(properties, Mapping) else ()
    return {name for name, each in entries if isinstance(each, Mapping) and each.get("required") is True}


def openai_name(name: str) -> str:
    """A function name that OpenAI accepts (`^[a-zA-Z0-9_-]{1,64}$`) for any tool name, always the same.

    A name that is acceptable stays. Of another the readable part is followed by 12 hexadecimal digits of its
    SHA-256, so that two names do not meet; the way back is to compare with the names of the tools at hand.
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
