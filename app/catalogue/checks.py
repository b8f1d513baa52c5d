"""Checks that every imported tool passes, whatever its format, and the texts of refusals."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

from app.domain import Json, Tool
from app.errors import DocumentError
from app.json_data.tools import tool_to_json
from app.json_data.values import UNSTORABLE, replace_unstorable

MAX_NAME = 512
"""Characters of a tool's name; a longer one is refused."""
MAX_DESCRIPTION = 32_768
"""Characters of a tool's or parameter's description; a longer one is refused."""
MAX_PARAMETERS = 256
"""Parameters of a tool; a tool with more is refused."""
MAX_DEPTH = 100
"""Levels of nesting of a document: far more than real ones have, far fewer than recursion can take."""


@dataclass(frozen=True)
class Refusal:
    """Why a tool, or a whole document, cannot be imported."""

    name: str
    """The tool's name as far as it could be read; empty if it could not."""
    reason: str


def as_text(value: Json) -> str:
    """A document's value as text: empty for null, JSON for what is no text."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def report_text(value: Json) -> str:
    """The text as a report may show and store it, at most `MAX_NAME` characters; empty for what is no text."""
    return replace_unstorable(value[:MAX_NAME]) if isinstance(value, str) else ""


def _levels(value: Json) -> Iterator[list[Json]]:
    """The values of each level of nesting, from the outside in; not recursive: a document may be hostile."""
    level = [value]
    while level:
        yield level
        inner: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                inner.extend(item.keys())
                inner.extend(item.values())
            elif isinstance(item, list | tuple):
                inner.extend(item)
        level = inner


def check_depth(value: Json) -> None:
    """Checks a document's nesting. Raises DocumentError beyond `MAX_DEPTH` levels."""
    for depth, _ in enumerate(_levels(value)):
        if depth > MAX_DEPTH:
            raise DocumentError(f"the document is nested more than {MAX_DEPTH} levels deep")


def _check_value(value: Json) -> None:
    """Checks one value by itself. Raises DocumentError for what PostgreSQL or JSON cannot hold."""
    if isinstance(value, str):
        if found := UNSTORABLE.search(value):
            what = "a NUL character" if found[0] == "\x00" else "half of a surrogate pair"
            raise DocumentError(f"the document holds {what} (\\u{ord(found[0]):04x}), which cannot be stored")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise DocumentError("the document holds NaN or an infinite number, which JSON does not have")
    elif isinstance(value, int):
        if not -(2**63) <= value < 2**64:
            raise DocumentError("the document holds an integer of more than 64 bits")
    elif value is not None and not isinstance(value, dict | list | tuple):
        raise DocumentError(f"the document holds a {type(value).__name__}, which JSON does not have")


def check_tool(tool: Tool) -> Tool:
    """The tool itself, if it is within the limits and can be stored.

    Raises DocumentError with the reason: a text too long, too many parameters, or a value that PostgreSQL or JSON
    cannot hold.
    """
    if len(tool.name) > MAX_NAME:
        raise DocumentError(f"the name has {len(tool.name)} characters; at most {MAX_NAME} are allowed")
    if len(tool.parameters) > MAX_PARAMETERS:
        raise DocumentError(f"{len(tool.parameters)} parameters; at most {MAX_PARAMETERS} are allowed")
    for what, text in [("the description", tool.description)] + [
        (f"the description of the parameter {report_text(parameter.name)!r}", parameter.description)
        for parameter in tool.parameters
    ]:
        if len(text) > MAX_DESCRIPTION:
            raise DocumentError(f"{what} has {len(text)} characters; at most {MAX_DESCRIPTION} are allowed")
    for depth, level in enumerate(_levels(tool_to_json(tool))):
        if depth > MAX_DEPTH:
            raise DocumentError(f"the document is nested more than {MAX_DEPTH} levels deep")
        for value in level:
            _check_value(value)
    return tool
