"""A tool's input and output format, by which tools with the same functionality are known (paper, section 3.2.2)."""

import re
from collections.abc import Iterator, Mapping

from app.domain import Json, Tool

Inputs = tuple[str, tuple[tuple[str, str, bool], ...]]
_PLAIN = re.compile(r"[\W_]+")
_DEPTH = 6
_NOTES = frozenset({"_list_length"})
"""Keys that ToolBench's sampler added."""


def inputs(tool: Tool) -> Inputs:
    """Category, and the parameters' names (however they are spelled), types and required marks, in no order."""
    parameters = (
        (_PLAIN.sub("", each.name).casefold() or each.name, str(each.schema.get("type")), each.required)
        for each in tool.parameters
    )
    return tool.category, tuple(sorted(parameters))


def output(tool: Tool) -> frozenset[str] | None:
    """The paths of the response's fields; None where the document tells none."""
    return frozenset(_paths(tool.response_schema, "", 0)) or None


def same_output(one: frozenset[str] | None, other: frozenset[str] | None) -> bool:
    """Two thirds of real documents tell no response; that is no difference."""
    return one is None or other is None or one == other


def _paths(value: Json, path: str, depth: int) -> Iterator[str]:
    if depth == _DEPTH:
        return
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if key not in _NOTES:
                yield f"{path}.{key}"
                yield from _paths(inner, f"{path}.{key}", depth + 1)
    elif isinstance(value, list) and value:
        yield from _paths(value[0], f"{path}[]", depth + 1)
