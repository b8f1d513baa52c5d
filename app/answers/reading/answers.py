"""A model's text as the call it means, and the text a perfect model writes (the paper's section 5.5 names the errors).

Training, evaluation and service read and write answers here, and nowhere else.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.answers.reading.json_texts import Truncated, behind, json_value, objects_in
from app.answers.reading.names import Contradiction, meant_tool
from app.answers.schema.answer import written_name
from app.answers.validation import ParameterProblem, ProblemKind, invalid_parameters
from app.domain import AnswerStyle, Json, Tool
from app.errors import InvalidAnswer
from app.json_data.tool_names import alias
from app.json_data.values import SEPARATORS, storable

_NAMES = ("tool_name", "tool")
_OPENAI_NAMES = ("name", "function_name")
_PARAMETERS = ("parameters", "arguments", "params", "args", "tool_parameters", "input")
_WRAPPERS = ("function", "tool_call", "function_call", "tool_calls", "call")
_THOUGHT_END, _THOUGHT = "</think>", "<think>"


class ErrorType(StrEnum):
    """What can be wrong with an answer by itself (paper, section 5.5).

    The paper's other types (functionality, preference and value mismatch) compare it with the right call.
    """

    INVALID_FORMAT = "invalid_format"
    """There is no call in it."""
    TOOL_HALLUCINATION = "tool_hallucination"
    """It calls a tool that is no candidate."""
    PARAMETER_NAME_MISMATCH = ProblemKind.NAME_MISMATCH.value
    MISSING_VALUE = ProblemKind.MISSING_VALUE.value
    WRONG_VALUE = ProblemKind.WRONG_VALUE.value


@dataclass(frozen=True)
class Answer:
    text: str
    """As the model wrote it."""
    tool: Tool
    parameters: dict[str, Json]
    """In the model's order, under the tool's own names. U+FFFD stands for what cannot be stored (NUL, half of a
    surrogate pair), null for what is no JSON number."""
    problems: tuple[ParameterProblem, ...] = ()


def read_answer(
    text: str, tools: Sequence[Tool], labels: Sequence[str], *, style: AnswerStyle = AnswerStyle.LABELLED_NAME
) -> Answer:
    """The call in the text. `labels` are the tools' own, in their order; `style` decides where a text fits two.

    Read is what models are known to write: a call between other text, in a code fence, after `<think>`, in
    `<tool_call>`; several objects, of which the first call counts; Python's quotes and literals, commas too many;
    OpenAI's `name` and `arguments`, parameters as a JSON text, null or left out; the name with or without label,
    in angle brackets, in other case (`app.answers.reading.names`). A label with the name of another candidate is no
    call to either. Time is linear in the text's length.
    Raises InvalidAnswer: `invalid_format` where there is no call, or it is cut off; `tool_hallucination` where it
    calls no candidate.
    """
    unknown: str | None = None
    try:
        for found in objects_in(_answer_part(text)):
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
                raise _hallucination(name, text)
            return _answer(text, tool, written)
    except Truncated:
        if unknown is None:
            raise _invalid_format("the answer ends within an object, or nests too deep", text) from None
    if unknown is not None:
        raise _hallucination(unknown, text)
    raise _invalid_format("the answer holds no call", text)


def write_answer(tool: Tool, parameters: Mapping[str, Json], label: str, style: AnswerStyle) -> str:
    """The text a perfect model writes, as `answer_schema` lets it; `read_answer` of it is the same call.

    Parameters in the document's order, unknown ones last. Raises ValueError for NaN and infinite numbers.
    """
    order = {parameter.name: place for place, parameter in enumerate(tool.parameters)}
    sorted_names = sorted(parameters, key=lambda name: order.get(name, len(order)))
    call = {
        "tool_name": written_name(tool, label, style),
        "parameters": {alias(name): parameters[name] for name in sorted_names},
    }
    text = json.dumps(call, ensure_ascii=False, allow_nan=False, separators=SEPARATORS)
    # Python leaves DEL as it is; both grammars escape it.
    return text.replace("\x7f", "\\u007f")


def _answer_part(text: str) -> str:
    """The text behind what the model thought: where `<think>` opens it, behind the first `</think>`; else (the prompt
    may have opened it) behind the last that is not within an object."""
    if text.lstrip().startswith(_THOUGHT):
        return text.partition(_THOUGHT_END)[2]
    return behind(text, _THOUGHT_END)


def _call_in(found: Mapping[str, Json]) -> tuple[str, Json] | None:
    """The tool's name as written and what stands for the parameters; None where the object is no call."""
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
        position = meant_tool(name, tools, labels, style)
    except Contradiction:
        return None
    return None if position is None else tools[position]


def _answer(text: str, tool: Tool, written: Json) -> Answer:
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
        own_names.get(name) or storable(name): storable(value) for name, value in written.items()
    }
    return Answer(text, tool, parameters, tuple(invalid_parameters(tool, parameters)))


def _invalid_format(detail: str, text: str) -> InvalidAnswer:
    return InvalidAnswer(detail, kind=ErrorType.INVALID_FORMAT, text=text)


def _hallucination(name: str, text: str) -> InvalidAnswer:
    shown = storable(name if len(name) <= 80 else f"{name[:79]}…")
    return InvalidAnswer(
        f"the answer calls {shown!r}, which is no candidate", kind=ErrorType.TOOL_HALLUCINATION, text=text
    )
