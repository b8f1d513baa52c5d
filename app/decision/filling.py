"""Whose parameters a call gets where a model chose its tool: the model's own, or those read from the instruction.

A small model copies what is like its training without a slip, and garbles a word that it has never met. That shows even
where nobody knows the right call: what it wrote stands nowhere in the instruction.
"""

import re
from collections.abc import Mapping

from app.domain import Json, ParameterRule, Tool
from app.extraction import Extraction
from app.extraction.numbers import WORD_PATTERN, parse_number, parse_words

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"[-+−–]?\d(?:[\d.,’]*\d)?")
_NUMBER_WORD = re.compile(rf"\b(?:{WORD_PATTERN})", re.IGNORECASE | re.VERBOSE)
# A day or a time is written in the document's way, not in the user's.
_WHEN = re.compile(r"\d{4}-\d\d(?:-\d\d)?(?:[T ].*)?|\d\d?:\d\d(?::\d\d)?")


def filled(
    rule: ParameterRule, instruction: str, tool: Tool, written: Mapping[str, Json], extraction: Extraction
) -> dict[str, Json]:
    """The parameters by the rule, in the order of the tool's document.

    `written`: the model's, valid for the tool. `extraction`: of the instruction for the tool; of required parameters
    that it lacks the model's are taken.
    """
    values = written
    if rule is ParameterRule.RULES or (
        rule is ParameterRule.CHECKED and not _is_borne_out(instruction, tool, written, extraction.parameters)
    ):
        values = {**{name: written[name] for name in extraction.missing if name in written}, **extraction.parameters}
    return {each.name: values[each.name] for each in tool.parameters if each.name in values}


def _is_borne_out(instruction: str, tool: Tool, written: Mapping[str, Json], extracted: Mapping[str, Json]) -> bool:
    """Whether each value stands in the instruction, or was read from it too, and none that was read is missing."""
    if not extracted.keys() <= written.keys():
        return False
    said = _Said(instruction)
    schemas = {each.name: each.schema for each in tool.parameters}
    return all(
        (name in extracted and extracted[name] == value) or said.tells(value, schemas.get(name, {}))
        for name, value in written.items()
    )


class _Said:
    def __init__(self, instruction: str) -> None:
        self._words = f" {' '.join(_words(instruction))} "
        self._text = instruction
        self._numbers = {parse_number(text) for text in _NUMBER.findall(instruction)}
        self._numbers |= {parse_words(match[0].lower()) for match in _NUMBER_WORD.finditer(instruction)}

    def tells(self, value: Json, schema: Mapping[str, Json]) -> bool:
        """Flags, choices of the document, days and times, and objects are not looked for."""
        if isinstance(value, list):
            items = schema.get("items")
            return all(self.tells(each, items if isinstance(items, Mapping) else {}) for each in value)
        if isinstance(value, str):
            if value in (schema.get("enum") or ()) or _WHEN.fullmatch(value):
                return True
            words = _words(value)
            return f" {' '.join(words)} " in self._words if words else value in self._text
        if isinstance(value, int | float) and not isinstance(value, bool):
            return value in self._numbers or abs(value) in self._numbers
        return True


def _words(text: str) -> list[str]:
    return [word.casefold() for word in _WORD.findall(text)]
