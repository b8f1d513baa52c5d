"""What can be saved of a call whose parameters are not all valid."""

import json
from collections.abc import Iterator, Mapping

from app.answers.json_text import json_value
from app.answers.reading import Answer
from app.answers.validation import value_problem
from app.domain import Json, Parameter


def mend(answer: Answer, extracted: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """Parameters that the tool's document allows, in its order, and the required ones that are missing.

    Kept is what is valid, or is so when read as another JSON type without loss ("5" as 5, 5 as "5", "true" as
    true). A required parameter that is wrong or not there takes its value from `extracted` (parameters read from
    the instruction), if that is valid. All else is left out: unknown names, wrong values of optional parameters.
    """
    mended: dict[str, Json] = {}
    missing: list[str] = []
    for parameter in {each.name: each for each in answer.tool.parameters}.values():
        sources = [answer.parameters, extracted] if parameter.required else [answer.parameters]
        values = [value for each in sources if parameter.name in each for value in _valid(parameter, each)]
        if values:
            mended[parameter.name] = values[0]
        elif parameter.required:
            missing.append(parameter.name)
    return mended, missing


def _valid(parameter: Parameter, source: Mapping[str, Json]) -> Iterator[Json]:
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
