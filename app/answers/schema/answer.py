"""The JSON Schema under which a model's answer is decoded: one of these tools, with its own parameters.

Two libraries read it, vLLM's grammar backend and llguidance, so it says only what both take and read alike
(`tests/vllm`). Both write JSON without white space (`app.json_data.values.SEPARATORS`), keys in the schema's order.
"""

from collections.abc import Sequence
from threading import Lock

from cachetools import LRUCache

from app.answers.schema.scalars import Limits
from app.answers.schema.values import closed_object, value_schema
from app.domain import AnswerStyle, Json, Tool
from app.json_data.tool_names import alias
from app.json_data.values import value_size

SHORTEST_BOUND, LONGEST_BOUND = 256, 2_048
"""The longest text of an answer: characters of the instruction, rounded up to a power of two between these."""
FEWEST_ITEMS, MOST_ITEMS = 16, 128
"""The most items of an array: those an instruction can name, rounded up to a power of two between these."""
_CHARACTERS_OF_ITEM = 4
"""Characters of an instruction that can name one item."""
_CACHE_BYTES, _ENTRY_BYTES = 32 * 1024 * 1024, 256 * 1024
"""Most memory of the cached schemas with their tools, all together and each."""


def answer_schema(
    tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle, *, instruction: str = ""
) -> dict[str, Json]:
    """The schema of `{"tool_name": ..., "parameters": {...}}` for one of the tools; equal input gives equal bytes.

    `labels` are the tools', in their order; names are written as `app.json_data.tool_names.alias` has them. Texts are
    taken from the instruction, so they have at most as many characters as it has (within `SHORTEST_BOUND` and
    `LONGEST_BOUND`), and arrays as many items as it can name; every other value has an end, too. vLLM must read the
    schema with its `guidance` backend: under `xgrammar` texts hold nothing that JSON escapes. What a schema cannot say
    is checked by `app.answers.validation`. Do not change the result: parts of it are cached.
    Raises ValueError without tools, or where there are not as many labels as tools.
    """
    if not tools or len(tools) != len(labels):
        raise ValueError(f"{len(tools)} tools and {len(labels)} labels: there must be as many, and at least one")
    limits = Limits(text_bound(len(instruction)), items_bound(len(instruction)))
    answers = []
    for tool, label in zip(tools, labels, strict=True):
        choice = {
            "tool_name": {"const": spell_tool(tool, label, style)},
            "parameters": _cache.parameters(tool, limits),
        }
        answers.append(closed_object(choice, ["tool_name", "parameters"]))
    return answers[0] if len(answers) == 1 else {"anyOf": answers}


def spell_tool(tool: Tool, label: str, style: AnswerStyle) -> str:
    """What the answer says under `tool_name`: the label, the name's alias, or both."""
    if style is AnswerStyle.LABEL:
        return label
    return alias(tool.name) if style is AnswerStyle.NAME else f"{label} {alias(tool.name)}"


def text_bound(instruction_characters: int) -> int:
    """Most characters of a text: one of few values, so that instructions of like length share a schema."""
    return _power_of_two(instruction_characters, SHORTEST_BOUND, LONGEST_BOUND)


def items_bound(instruction_characters: int) -> int:
    """Most items of an array: one of few values, too."""
    return _power_of_two(instruction_characters // _CHARACTERS_OF_ITEM, FEWEST_ITEMS, MOST_ITEMS)


def _power_of_two(wanted: int, least: int, most: int) -> int:
    """The least power of two that is no less than `wanted`, between two others."""
    bound = least
    while bound < min(wanted, most):
        bound *= 2
    return bound


class _SchemaCache:
    """The recent schemas of tools' parameters, by the tool object: comparing documents would cost what the cache saves.

    Safe to use from many threads at once.
    """

    def __init__(self, all_bytes: int, entry_bytes: int) -> None:
        """Most memory (`value_size`) of all entries together, and of one; a larger one is not cached."""
        self._entry_bytes = entry_bytes
        # The entry holds the tool, so that no other object gets its id; so the tool's size counts, too.
        self._entries: LRUCache[tuple[int, Limits], tuple[Tool, dict[str, Json], int]] = LRUCache(
            maxsize=all_bytes, getsizeof=lambda entry: entry[2]
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
        if size <= self._entry_bytes:
            with self._lock:
                self._entries[key] = (tool, schema, size)
        return schema


_cache = _SchemaCache(_CACHE_BYTES, _ENTRY_BYTES)


def _parameters(tool: Tool, limits: Limits) -> dict[str, Json]:
    declared = {parameter.name: parameter for parameter in tool.parameters}
    properties = {alias(name): value_schema(each.schema, limits) for name, each in declared.items()}
    return closed_object(properties, [alias(name) for name, each in declared.items() if each.required])
