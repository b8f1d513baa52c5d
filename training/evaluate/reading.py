"""A model's text as what it said, also where that is no call of a candidate."""

from collections.abc import Mapping, Sequence

from app.answers.reading.answers import Answer, ErrorType, read_answer
from app.answers.reading.json_texts import Truncated, objects_in
from app.domain import AnswerStyle, Json, Tool
from app.errors import InvalidAnswer
from app.json_data.values import storable
from training.evaluate.metrics import AnsweredCall


def read(text: str, tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle) -> Answer | InvalidAnswer:
    try:
        return read_answer(text, tools, labels, style=style)
    except InvalidAnswer as error:
        return error


def said_of(answer: Answer | InvalidAnswer) -> AnsweredCall:
    if isinstance(answer, Answer):
        return AnsweredCall(answer.tool.name, answer.parameters)
    made_up = answer.kind == ErrorType.TOOL_HALLUCINATION
    return AnsweredCall(None, _parameters(answer.text) if made_up else None, str(answer.kind))


def _parameters(text: str) -> Mapping[str, Json] | None:
    """Of a call of a tool that there is not, which the paper compares too; None where they are no JSON object."""
    try:
        for found in objects_in(text):
            for key in ("parameters", "arguments"):
                if isinstance(found.value.get(key), dict):
                    return {storable(name): storable(value) for name, value in found.value[key].items()}
    except Truncated:
        pass
    return None
