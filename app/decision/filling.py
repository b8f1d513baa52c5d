"""The parameters of the chosen tool: written by the model, or read from the instruction, and never invalid.

A small model copies what is like its training without a slip, and garbles a word that it has never met. That shows even
where nobody knows the right call: what it wrote stands nowhere in the instruction.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from app.answers.json_text import json_value
from app.answers.reading import Answer
from app.answers.validation import value_problem
from app.decision.choice import Choice
from app.decision.model import PromptedModel, Written
from app.decision.policy import Policy
from app.domain import AnswerProblem, DecisionRule, Json, Parameter, ParameterRule, Tool
from app.errors import EngineError, InvalidAnswer
from app.extraction import Extraction, extract_parameters
from app.extraction.numbers import WORD_PATTERN, parse_number, parse_words
from app.retrieval.query import Query

_WORD = re.compile(r"\w+")
_NUMBER = re.compile(r"[-+−–]?\d(?:[\d.,’]*\d)?")
_NUMBER_WORD = re.compile(rf"\b(?:{WORD_PATTERN})", re.IGNORECASE | re.VERBOSE)
# A day or a time is written in the document's way, not in the user's.
_WHEN = re.compile(r"\d{4}-\d\d(?:-\d\d)?(?:[T ].*)?|\d\d?:\d\d(?::\d\d)?")
_MANY_PARAMETERS = 100


@dataclass(frozen=True)
class Filled:
    """A call of the tool that was chosen."""

    tool: Tool
    parameters: Mapping[str, Json]
    """Each valid for the tool, in its document's order."""
    missing: tuple[str, ...]
    """Required parameters without a value."""
    problems: tuple[AnswerProblem, ...]
    """What was wrong with the model's parameters and could not be made good."""
    decided_by: DecisionRule
    written: tuple[Written, ...]
    """All that the model wrote; the last is what the call was made of."""


async def fill(prompted: PromptedModel, choice: Choice, query: Query, policy: Policy) -> Filled:
    """The parameters by `policy.filler`. A tool that is not the model's own choice is written anew by it.

    Raises EngineError, and InvalidAnswer (with what was written) where there is no call of a candidate.
    """
    written: tuple[Written, ...] = (choice.written,)
    decided_by = choice.decided_by
    if choice.tool is not None and not _calls(choice.written, choice.tool):
        try:
            written = (choice.written, await prompted.write_call(only=choice.tool))
        except EngineError:
            # There is an answer already: the model's own.
            decided_by = DecisionRule.MODEL
    answer = written[-1].answer
    if isinstance(answer, InvalidAnswer):
        raise NoCall(answer, written)
    parameters, missing, problems = await _select(answer, query, policy.filler)
    return Filled(answer.tool, parameters, missing, problems, decided_by, written)


class NoCall(Exception):
    """The model wrote no call of a candidate."""

    def __init__(self, reason: InvalidAnswer, written: tuple[Written, ...]) -> None:
        super().__init__(reason.detail)
        self.reason = reason
        self.written = written


def _calls(written: Written, tool: Tool) -> bool:
    return isinstance(written.answer, Answer) and written.answer.tool is tool


async def _select(
    answer: Answer, query: Query, filler: ParameterRule
) -> tuple[Mapping[str, Json], tuple[str, ...], tuple[AnswerProblem, ...]]:
    """Parameters, missing ones, problems that remain."""
    problems = tuple(AnswerProblem(each.kind, each.name, each.reason) for each in answer.problems)
    if not problems and filler is ParameterRule.MODEL:
        return answer.parameters, (), ()
    extraction = await read_parameters(query, answer.tool)
    repaired, missing = repair_parameters(answer, extraction.parameters)
    if filler is ParameterRule.MODEL:
        return repaired, tuple(missing), problems
    selected = select_parameters(filler, query.text, answer.tool, repaired, extraction)
    return selected, tuple(missing), problems if missing else ()


async def read_parameters(query: Query, tool: Tool) -> Extraction:
    """Parameters read from the instruction by rules; off the event loop where that takes many milliseconds."""
    if len(tool.parameters) < _MANY_PARAMETERS:
        return extract_parameters(query.text, tool, now=query.asked_at)
    return await asyncio.to_thread(extract_parameters, query.text, tool, now=query.asked_at)


def select_parameters(
    filler: ParameterRule, instruction: str, tool: Tool, written: Mapping[str, Json], extraction: Extraction
) -> dict[str, Json]:
    """The parameters by the rule, in the order of the tool's document.

    `written`: the model's, valid for the tool. `extraction`: of the instruction for the tool; of required parameters
    that it lacks the model's are taken.
    """
    values = written
    if filler is ParameterRule.RULES or (
        filler is ParameterRule.CHECKED and not _is_supported(instruction, tool, written, extraction.parameters)
    ):
        values = {**{name: written[name] for name in extraction.missing if name in written}, **extraction.parameters}
    return {each.name: values[each.name] for each in tool.parameters if each.name in values}


def repair_parameters(answer: Answer, extracted: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """Parameters that the tool's document allows, in its order, and the required ones that are missing.

    Kept is what is valid, or is so when read as another JSON type without loss ("5" as 5, 5 as "5", "true" as
    true). A required parameter that is wrong or not there takes its value from `extracted` (parameters read from
    the instruction), if that is valid. All else is left out: unknown names, wrong values of optional parameters.
    """
    repaired: dict[str, Json] = {}
    missing: list[str] = []
    for parameter in {each.name: each for each in answer.tool.parameters}.values():
        sources = [answer.parameters, extracted] if parameter.required else [answer.parameters]
        values = [value for each in sources if parameter.name in each for value in _valid_readings(parameter, each)]
        if values:
            repaired[parameter.name] = values[0]
        elif parameter.required:
            missing.append(parameter.name)
    return repaired, missing


def _valid_readings(parameter: Parameter, source: Mapping[str, Json]) -> Iterator[Json]:
    for value in _readings(source[parameter.name]):
        if value_problem(parameter.schema, value) is None:
            yield value


def _readings(value: Json) -> Iterator[Json]:
    """The value, then the same as another JSON type."""
    yield value
    if isinstance(value, str):
        text = value.strip()
        try:
            yield json_value(text.lower() if text.lower() in ("true", "false", "null") else text)
        except ValueError:
            return
    elif isinstance(value, bool | int | float):
        yield json.dumps(value)


def _is_supported(instruction: str, tool: Tool, written: Mapping[str, Json], extracted: Mapping[str, Json]) -> bool:
    """Whether each value stands in the instruction, or was read from it too, and none that was read is missing."""
    if not extracted.keys() <= written.keys():
        return False
    stated = _Stated(instruction)
    schemas = {each.name: each.schema for each in tool.parameters}
    return all(
        (name in extracted and extracted[name] == value) or stated.includes(value, schemas.get(name, {}))
        for name, value in written.items()
    )


class _Stated:
    def __init__(self, instruction: str) -> None:
        self._words = f" {' '.join(_words(instruction))} "
        self._text = instruction
        self._numbers = {parse_number(text) for text in _NUMBER.findall(instruction)}
        self._numbers |= {parse_words(match[0].lower()) for match in _NUMBER_WORD.finditer(instruction)}

    def includes(self, value: Json, schema: Mapping[str, Json]) -> bool:
        """Flags, choices of the document, days and times, and objects are not looked for."""
        if isinstance(value, list):
            items = schema.get("items")
            return all(self.includes(each, items if isinstance(items, Mapping) else {}) for each in value)
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
