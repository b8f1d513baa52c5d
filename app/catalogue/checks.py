"""What every imported tool has to keep to, whatever format it came in."""

import json
import math
from collections.abc import Iterator

from app.domain import Json, Tool
from app.errors import DocumentError
from app.json_data.tools import tool_to_json
from app.json_data.values import UNSTORABLE, replace_unstorable

MAX_NAME = 512
"""Characters of a tool's name."""
MAX_DESCRIPTION = 32_768
"""Characters of a description, the tool's or a parameter's."""
MAX_PARAMETERS = 256
MAX_DEPTH = 100
"""Levels of nesting of a document: far above any real one, far below where recursion ends."""


def text_of(value: Json) -> str:
    """A description as text: nothing for null, the JSON of what is not a string."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def shown(value: Json) -> str:
    """A text fit for a report: at most 512 characters, U+FFFD for what cannot be stored; empty if no text."""
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
    """Raise DocumentError for a document that is nested more than `MAX_DEPTH` levels deep."""
    for depth, _ in enumerate(_levels(value)):
        if depth > MAX_DEPTH:
            raise DocumentError(f"the document is nested more than {MAX_DEPTH} levels deep")


def _check_value(value: Json) -> None:
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


def checked(tool: Tool) -> Tool:
    """The tool itself, where it can be stored and keeps to the limits.

    Raises DocumentError with the reason: too long, too many parameters, or values that neither PostgreSQL nor
    JSON can hold.
    """
    if len(tool.name) > MAX_NAME:
        raise DocumentError(f"the name has {len(tool.name)} characters; at most {MAX_NAME} are allowed")
    if len(tool.parameters) > MAX_PARAMETERS:
        raise DocumentError(f"{len(tool.parameters)} parameters; at most {MAX_PARAMETERS} are allowed")
    for what, text in [("the description", tool.description)] + [
        (f"the description of the parameter {shown(parameter.name)!r}", parameter.description)
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
