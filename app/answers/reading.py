"""Reads the call in a model's text, and writes the text that a perfect model writes for a call.

Training, evaluation and service read and write answers here and nowhere else. The error types are those of section 5.5
of the paper.
"""

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.answers.json_text import Truncated, find_objects, json_value, text_after
from app.answers.schema.answer import spell_tool
from app.answers.validation import ParameterProblem, ProblemKind, parameter_problems
from app.domain import AnswerStyle, Json, Tool
from app.errors import InvalidAnswer
from app.json_data.tool_names import alias
from app.json_data.values import SEPARATORS, replace_unstorable

_NAMES = ("tool_name", "tool")
_OPENAI_NAMES = ("name", "function_name")
_PARAMETERS = ("parameters", "arguments", "params", "args", "tool_parameters", "input")
_WRAPPERS = ("function", "tool_call", "function_call", "tool_calls", "call")
_THOUGHT_END, _THOUGHT = "</think>", "<think>"
_LEAST_LIKENESS = 0.5
"""How like the labelled tool's name a name after the label must be, to count as a slip in copying: Dice's coefficient
of their runs of three characters, 0 to 1."""
_LONGEST_NAME = 2_048
"""Characters of the longest text that may name a tool."""
_LABEL = re.compile(r"[\s(\[<]*(?P<label>[^\s()\[\]<>.:,;)]+)[)\]>.:,;]*(?:\s+(?P<name>\S.*))?\s*", re.DOTALL)


class ErrorType(StrEnum):
    """What can be wrong with an answer by itself (paper, section 5.5).

    The paper's other types (functionality, preference and value mismatch) need the right call to compare with.
    """

    INVALID_FORMAT = "invalid_format"
    """The answer holds no call."""
    TOOL_HALLUCINATION = "tool_hallucination"
    """The answer calls a tool that is no candidate."""
    PARAMETER_NAME_MISMATCH = ProblemKind.NAME_MISMATCH.value
    MISSING_VALUE = ProblemKind.MISSING_VALUE.value
    WRONG_VALUE = ProblemKind.WRONG_VALUE.value


@dataclass(frozen=True)
class Answer:
    """A model's call of a candidate, with what is wrong with its parameters."""

    text: str
    """All that the model wrote."""
    tool: Tool
    parameters: dict[str, Json]
    """In the model's order, under the tool's own names. U+FFFD stands for what cannot be stored (NUL, half of a
    surrogate pair), null for what is no JSON number."""
    problems: tuple[ParameterProblem, ...] = ()


def read_answer(
    text: str, tools: Sequence[Tool], labels: Sequence[str], *, style: AnswerStyle = AnswerStyle.LABELLED_NAME
) -> Answer:
    """The call in the text. `labels` are the tools', in their order; `style` decides where a name fits two tools.

    It reads what models are known to write: a call between other text, in a code fence, after `<think>`, in
    `<tool_call>`; several objects, of which the first call counts; Python's quotes and literals, commas too many;
    OpenAI's `name` and `arguments`, parameters as a JSON text, null or left out; the name with or without label,
    in angle brackets, in other case (`_match_tool`). A label with the name of another candidate calls neither. Time is
    linear in the text's length.
    Raises InvalidAnswer: `invalid_format` where there is no call, or it is cut off; `tool_hallucination` where it
    calls no candidate.
    """
    unknown: str | None = None
    try:
        for found in find_objects(_answer_part(text)):
            call = _call_in(found.value)
            if call is None:
                continue
            name, written = call
            tool = _candidate(name, tools, labels, style)
            if tool is None and not found.is_json:
                # What was read with faults may be a template or prose; a call after it counts.
                unknown = name if unknown is None else unknown
                continue
            if tool is None:
                raise _tool_hallucination(name, text)
            return _make_answer(text, tool, written)
    except Truncated:
        if unknown is None:
            raise _invalid_format("the answer ends within an object, or nests too deep", text) from None
    if unknown is not None:
        raise _tool_hallucination(unknown, text)
    raise _invalid_format("the answer holds no call", text)


def write_answer(tool: Tool, parameters: Mapping[str, Json], label: str, style: AnswerStyle) -> str:
    """The text a perfect model writes for the call: one that `answer_schema` allows and `read_answer` reads back.

    Parameters come in the document's order, unknown ones last. Raises ValueError for NaN and infinite numbers.
    """
    order = {parameter.name: place for place, parameter in enumerate(tool.parameters)}
    sorted_names = sorted(parameters, key=lambda name: order.get(name, len(order)))
    call = {
        "tool_name": spell_tool(tool, label, style),
        "parameters": {alias(name): parameters[name] for name in sorted_names},
    }
    text = json.dumps(call, ensure_ascii=False, allow_nan=False, separators=SEPARATORS)
    # Python leaves DEL as it is; both grammars escape it.
    return text.replace("\x7f", "\\u007f")


def _answer_part(text: str) -> str:
    """The text without the model's thoughts: what is behind the first `</think>` where `<think>` opens the text.

    Elsewhere the prompt may have opened it: then all behind the last `</think>` that is not within an object.
    """
    if text.lstrip().startswith(_THOUGHT):
        return text.partition(_THOUGHT_END)[2]
    return text_after(text, _THOUGHT_END)


def _call_in(found: Mapping[str, Json]) -> tuple[str, Json] | None:
    """The tool's name as the model wrote it, and its parameters as JSON; None where the object is no call."""
    for key in _NAMES:
        if isinstance(found.get(key), str):
            return found[key], _parameters_in(found)
    for key in _OPENAI_NAMES:
        if isinstance(found.get(key), str) and any(each in found for each in _PARAMETERS):
            return found[key], _parameters_in(found)
    for key in _WRAPPERS:
        inner = found.get(key)
        if isinstance(inner, list) and inner:
            inner = inner[0]
        if isinstance(inner, Mapping) and (call := _call_in(inner)) is not None:
            return call
    return None


def _parameters_in(found: Mapping[str, Json]) -> Json:
    return next((found[key] for key in _PARAMETERS if key in found), None)


def _candidate(name: str, tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle) -> Tool | None:
    try:
        position = _match_tool(name, tools, labels, style)
    except _LabelContradictsName:
        return None
    return None if position is None else tools[position]


def _make_answer(text: str, tool: Tool, written: Json) -> Answer:
    """The answer with its parameters under the tool's own names. Raises InvalidAnswer where they are no object."""
    if isinstance(written, str):
        try:
            written = json_value(written) if written.strip() else None
        except ValueError:
            raise _invalid_format("the parameters are a text that is no JSON", text) from None
    if written is None:
        written = {}
    if not isinstance(written, dict):
        raise _invalid_format("the parameters are no JSON object", text)
    own_names = {alias(parameter.name): parameter.name for parameter in tool.parameters}
    parameters: dict[str, Json] = {
        own_names.get(name) or replace_unstorable(name): replace_unstorable(value) for name, value in written.items()
    }
    return Answer(text, tool, parameters, tuple(parameter_problems(tool, parameters)))


def _invalid_format(detail: str, text: str) -> InvalidAnswer:
    return InvalidAnswer(detail, kind=ErrorType.INVALID_FORMAT, text=text)


def _tool_hallucination(name: str, text: str) -> InvalidAnswer:
    shown = replace_unstorable(name if len(name) <= 80 else f"{name[:79]}…")
    return InvalidAnswer(
        f"the answer calls {shown!r}, which is no candidate", kind=ErrorType.TOOL_HALLUCINATION, text=text
    )


# Which candidate a model's `tool_name` means.


class _LabelContradictsName(Exception):
    """A label comes with the name of another candidate."""


def _match_tool(written: str, tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle) -> int | None:
    """Position of the candidate that the text names; None where it names none.

    The text may be written exactly as in one of the styles, the given one first; or differ in case, white space,
    Unicode's compatible forms and angle brackets, if one candidate alone fits then; or be a label with a name after it
    that is nearly the labelled tool's: the label is what the model chose, and copying is what small models do worst.
    Raises `_LabelContradictsName` where the name after the label is another candidate's.
    """
    if len(written) > _LONGEST_NAME:
        return None
    names = [alias(tool.name) for tool in tools]
    by_style: dict[AnswerStyle, Sequence[str]] = {
        AnswerStyle.NAME: names,
        AnswerStyle.LABELLED_NAME: [f"{label} {name}" for label, name in zip(labels, names, strict=False)],
        AnswerStyle.LABEL: labels,
    }
    ordered = [by_style.pop(style), *by_style.values()]
    forms: tuple[Callable[[str], str], ...] = (str, _plain)
    for form in forms:
        for spellings in ordered:
            if (found := _only_match(form, written, spellings)) is not None:
                return found
    return _match_labelled(written, names, labels)


def _match_labelled(written: str, names: Sequence[str], labels: Sequence[str]) -> int | None:
    parts = _LABEL.fullmatch(written)
    if parts is None or parts["label"] not in labels:
        return None
    chosen = list(labels).index(parts["label"])
    if parts["name"] is None:
        return chosen
    named = _only_match(_plain, parts["name"], names)
    if named is not None and _plain(names[named]) != _plain(names[chosen]):
        raise _LabelContradictsName
    alike = named is not None or _likeness(_plain(parts["name"]), _plain(names[chosen])) >= _LEAST_LIKENESS
    return chosen if alike else None


def _likeness(one: str, other: str) -> float:
    """Dice's coefficient of two texts' runs of three characters: 1 where they are equal, 0 where they share none."""
    runs, others = (Counter(text[at : at + 3] for at in range(-2, len(text))) for text in (one, other))
    return 2 * (runs & others).total() / max(1, runs.total() + others.total())


def _only_match(form: Callable[[str], str], written: str, spellings: Sequence[str]) -> int | None:
    """Position of the first spelling equal to the text in this form; None where there is none, or two that differ."""
    wanted = form(written)
    found = [at for at, each in enumerate(spellings) if form(each) == wanted]
    return found[0] if found and len({spellings[at] for at in found}) == 1 else None


def _plain(text: str) -> str:
    """The text without case, quotes, angle brackets, and white space that tells nothing."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(re.sub("[<>\"'`]", " ", folded).split()).replace(" .", ".").replace(". ", ".")
