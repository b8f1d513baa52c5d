"""The JSON Schema that the model's answer is decoded under: one of these tools, with its own parameters.

Two libraries read it, vLLM's grammar backend and llguidance; what it may say is what both take, and mean alike
(tests/vllm). Both write JSON without white space (`SEPARATORS`) and the keys in the schema's order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.calling.scalars import Scalars
from app.calling.texts import alias
from app.calling.value_schema import closed_object, value_schema
from app.domain import AnswerStyle, Json, Tool

SEPARATORS = (",", ":")
"""Between items and after keys, as `json.dumps` takes them: the grammars allow no space, so that a weak model
cannot write spaces until it is cut off."""
SHORTEST_BOUND, LONGEST_BOUND = 256, 2_048
"""Characters of a text in the answer: the instruction's, as the next power of two between these."""
_ESCAPED = re.compile(r'["\\\x00-\x1f\x7f]')
_TOOLS = 4_096
"""Tools whose schemas are kept."""


def answer_schema(
    tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle, *, instruction: str = ""
) -> dict[str, Json]:
    """`{"tool_name": ..., "parameters": {...}}` for one of the tools; the same input gives the same bytes.

    `labels` are the tools' own, in their order. Names are written as `app.calling.texts.alias` has them. Texts, which
    are taken from the instruction, have at most as many characters as it has, within `SHORTEST_BOUND` and
    `LONGEST_BOUND`; only where it holds what JSON escapes they have no end (`Scalars.text`). Every other value has one
    (`app.calling.value_schema`). What is not said here is checked by `app.calling.validation`. Do not
    change what comes back: its parts are kept.
    Raises ValueError without tools, or where a tool has no label.
    """
    if not tools or len(tools) != len(labels):
        raise ValueError(f"{len(tools)} tools and {len(labels)} labels: there must be as many, and at least one")
    longest, escapes = text_bound(len(instruction)), _ESCAPED.search(instruction) is not None
    answers = []
    for tool, label in zip(tools, labels, strict=True):
        choice = {
            "tool_name": {"const": written_name(tool, label, style)},
            "parameters": _parameters(_ByIdentity(tool), longest, escapes),
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
    bound = SHORTEST_BOUND
    while bound < min(instruction_characters, LONGEST_BOUND):
        bound *= 2
    return bound


@dataclass(frozen=True, eq=False)
class _ByIdentity:
    """A tool as a key: its schemas are dicts, which have no hash, and comparing documents costs what it saves."""

    tool: Tool

    def __hash__(self) -> int:
        return id(self.tool)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByIdentity) and other.tool is self.tool


@lru_cache(maxsize=_TOOLS)
def _parameters(key: _ByIdentity, longest: int, escapes: bool) -> dict[str, Json]:
    """The schema of a tool's parameters."""
    scalars = Scalars(longest, escapes=escapes)
    declared = {parameter.name: parameter for parameter in key.tool.parameters}
    properties = {alias(name): value_schema(each.schema, scalars) for name, each in declared.items()}
    return closed_object(properties, [alias(name) for name, each in declared.items() if each.required])
