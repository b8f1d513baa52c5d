"""The JSON Schema that the model's answer is decoded under: one of these tools, with its own parameters.

Two libraries read it, vLLM's grammar backend and llguidance; what it may say is what both take, and mean alike
(tests/vllm). Both write JSON without white space (`app.json_data.values.SEPARATORS`), keys in the schema's order.
"""

from collections.abc import Sequence
from threading import Lock

from cachetools import LRUCache

from app.answers.schema.bounds import Limits
from app.answers.schema.values import closed_object, value_schema
from app.domain import AnswerStyle, Json, Tool
from app.json_data.tool_names import alias
from app.json_data.values import value_size

SHORTEST_BOUND, LONGEST_BOUND = 256, 2_048
"""Characters of a text in the answer: the instruction's, as the next power of two between these."""
FEWEST_ITEMS, MOST_ITEMS = 16, 128
_CHARACTERS_OF_ITEM = 4
"""Items of an array in the answer: as many as the instruction can name, as the next power of two between these."""
_MEMORY, _LARGEST = 32 * 1024 * 1024, 256 * 1024
"""Bytes of the schemas and tools that are kept, and of one of them."""


def answer_schema(
    tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle, *, instruction: str = ""
) -> dict[str, Json]:
    """`{"tool_name": ..., "parameters": {...}}` for one of the tools; the same input gives the same bytes.

    `labels` are the tools' own, in their order. Names are written as `app.json_data.tool_names.alias` has them. Texts,
    which are taken from the instruction, have at most as many characters as it has, within `SHORTEST_BOUND` and
    `LONGEST_BOUND`; arrays as many items as it can name. Every other value has an end, too
    (`app.answers.schema.values`). vLLM is to read it with its `guidance` backend: under `xgrammar` texts hold nothing
    that JSON escapes (`app.answers.schema.scalars.text`). What is not said here is checked by `app.answers.validation`.
    Do not change what comes back: its parts are kept.
    Raises ValueError without tools, or where a tool has no label.
    """
    if not tools or len(tools) != len(labels):
        raise ValueError(f"{len(tools)} tools and {len(labels)} labels: there must be as many, and at least one")
    limits = Limits(text_bound(len(instruction)), items_bound(len(instruction)))
    answers = []
    for tool, label in zip(tools, labels, strict=True):
        choice = {
            "tool_name": {"const": written_name(tool, label, style)},
            "parameters": _kept.parameters(tool, limits),
        }
        answers.append(closed_object(choice, ["tool_name", "parameters"]))
    return answers[0] if len(answers) == 1 else {"anyOf": answers}


def written_name(tool: Tool, label: str, style: AnswerStyle) -> str:
    """What the answer says under `tool_name`."""
    if style is AnswerStyle.LABEL:
        return label
    return alias(tool.name) if style is AnswerStyle.NAME else f"{label} {alias(tool.name)}"


def text_bound(instruction_characters: int) -> int:
    """Characters of a text: few values, so that schemas are alike from one instruction to the next."""
    return _power_of_two(instruction_characters, SHORTEST_BOUND, LONGEST_BOUND)


def items_bound(instruction_characters: int) -> int:
    """Items of an array."""
    return _power_of_two(instruction_characters // _CHARACTERS_OF_ITEM, FEWEST_ITEMS, MOST_ITEMS)


def _power_of_two(wanted: int, least: int, most: int) -> int:
    """The next one, between two others."""
    bound = least
    while bound < min(wanted, most):
        bound *= 2
    return bound


class _Kept:
    """Schemas of tools' parameters, the recent ones; found by the tool itself, as comparing documents costs what it
    saves. Safe to use from many threads at once."""

    def __init__(self, memory: int, largest: int) -> None:
        """`memory` of all entries together, `largest` of one: bytes, roughly (`value_size`)."""
        self._largest = largest
        # The tool is kept with its schema, so that its id stays its own; so its size counts too.
        self._entries: LRUCache[tuple[int, Limits], tuple[Tool, dict[str, Json], int]] = LRUCache(
            maxsize=memory, getsizeof=lambda entry: entry[2]
        )
        self._lock = Lock()

    def parameters(self, tool: Tool, limits: Limits) -> dict[str, Json]:
        """The schema of the tool's parameters."""
        key = (id(tool), limits)
        with self._lock:
            found = self._entries.get(key)
        if found is not None and found[0] is tool:
            return found[1]
        schema = _parameters(tool, limits)
        size = value_size([schema, [[vars(each) for each in tool.parameters], tool.description, tool.response_schema]])
        if size <= self._largest:
            with self._lock:
                self._entries[key] = (tool, schema, size)
        return schema


_kept = _Kept(_MEMORY, _LARGEST)


def _parameters(tool: Tool, limits: Limits) -> dict[str, Json]:
    declared = {parameter.name: parameter for parameter in tool.parameters}
    properties = {alias(name): value_schema(each.schema, limits) for name, each in declared.items()}
    return closed_object(properties, [alias(name) for name, each in declared.items() if each.required])
