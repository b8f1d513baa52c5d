"""A model's text as what it said, also where that is no call of a candidate."""

from collections.abc import Mapping, Sequence

from app.answers.json_text import Truncated, find_objects
from app.answers.reading import Answer, ErrorType, read_answer
from app.domain import AnswerStyle, Json, Tool
from app.errors import InvalidAnswer
from app.json_data.values import replace_unstorable
from training.evaluate.metrics import Said


def read(text: str, tools: Sequence[Tool], labels: Sequence[str], style: AnswerStyle) -> Answer | InvalidAnswer:
    try:
        return read_answer(text, tools, labels, style=style)
    except InvalidAnswer as error:
        return error


def said_of(answer: Answer | InvalidAnswer) -> Said:
    if isinstance(answer, Answer):
        return Said(answer.tool.name, answer.parameters)
    made_up = answer.kind == ErrorType.TOOL_HALLUCINATION
    return Said(None, _parameters(answer.text) if made_up else None, str(answer.kind))


def _parameters(text: str) -> Mapping[str, Json] | None:
    """Of a call of a tool that there is not, which the paper compares too; None where they are no JSON object."""
    try:
        for found in find_objects(text):
            for key in ("parameters", "arguments"):
                if isinstance(found.value.get(key), dict):
                    return {
                        replace_unstorable(name): replace_unstorable(value) for name, value in found.value[key].items()
                    }
    except Truncated:
        pass
    return None
