"""How well an instruction fills a tool's parameters: a sign of whether it asks for what the tool does."""

from collections.abc import Sequence
from datetime import datetime

from app.domain import Tool
from app.extraction.extract import extract_parameters

FEATURES = 8
_CHARACTERS = 20.0


def input_features(instruction: str, tools: Sequence[Tool], *, now: datetime) -> list[tuple[float, ...]]:
    """Of each tool `FEATURES` numbers: whether a required parameter finds no value, how many find none, how many
    required and how many optional ones do, how many optional ones do not, the length of what was found (in twenties of
    characters), whether none is required, whether there is none."""
    found: list[tuple[float, ...]] = []
    for tool in tools:
        extraction = extract_parameters(instruction, tool, now=now)
        required = sum(parameter.required for parameter in tool.parameters)
        missing = len(extraction.missing)
        filled = required - missing
        optional = len(extraction.parameters) - filled
        found.append(
            (
                float(missing > 0),
                float(missing),
                float(filled),
                float(optional),
                float(len(tool.parameters) - required - optional),
                sum(len(str(value)) for value in extraction.parameters.values()) / _CHARACTERS,
                float(required == 0),
                float(not tool.parameters),
            )
        )
    return found
