"""Tools, candidates and interactions for the prompt's tests, and a reader that takes a prompt apart again."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Any

from app.domain import Candidate, Hints, Interaction, Json, Parameter, Rating, Tool, ToolCall
from app.prompting.builder import PromptBuilder
from app.prompting.formats import Listing, PromptFormat, format_named
from app.prompting.prompt import Prompt
from tests.support.prompting_models import tokenizer_of

START = datetime(2026, 1, 1, 9, tzinfo=UTC)
TODAY = date(2026, 11, 22)
_LINE = re.compile(r"(\S) (\{.*\})(?: fit (\d)(?:, liked (\d), disliked (\d))?)?")
_TERSE_LINE = re.compile(r"(\S) (\{.*\})(?: ([a-j]) ([k-t]))? (\d)")
_DIGITS = str.maketrans("abcdefghijklmnopqrst", "01234567890123456789")


@cache
def builder(format: str = "hinted-1", kind: str = "tiny", budget: int = 4_000) -> PromptBuilder:  # noqa: A002
    return PromptBuilder(tokenizer_of(kind), format_named(format), budget)


def tool(name: str, *parameters: Parameter, description: str = "", response: Json = None) -> Tool:
    category, _, rest = name.partition(".")
    provider, _, api = rest.partition(".")
    return Tool(name, category, provider, api, description, parameters, response)


def candidate(of: Tool, fit: int = 9, liked: int = 0, disliked: int = 9, overall: int = 0) -> Candidate:
    return Candidate(of, 0.5, 0.5, hints=Hints(fit, liked, disliked, overall))


def interaction(
    number: int, name: str = "Weather.Quietcloud.Forecast", rating: Rating | None = None, **parameters: Json
) -> Interaction:
    asked = f"What is the weather in town {number}?"
    given = parameters or {"city": f"town {number}"}
    return Interaction(asked, ToolCall(name, given), START + timedelta(hours=number), rating)


CITY = Parameter("city", {"type": "string"}, required=True, description="Name of the city.")
DAYS = Parameter("days", {"type": "integer", "minimum": 1, "maximum": 14}, description="How many days.", default=3)
UNITS = Parameter("units", {"type": "string", "enum": ["metric", "imperial"]})
FORECAST = tool(
    "Weather.Quietcloud.Forecast",
    *(CITY, DAYS, UNITS),
    description="Weather forecast for a city. No logs,\n\n no tracking.",
    response={"forecast": [{"day": "str", "high": "float"}]},
)
FEED = tool("Weather.Mirandex.Weather feed", CITY, description="Real-time weather for trading desks, paid.")
JOKE = tool('Jokes."Laugh" Box.Random joke\n', description="Ein Witz für Erwachsene – «nicht» für Kinder 😀.")
CANDIDATES = (candidate(FORECAST, 9, 0, 3, 0), candidate(FEED, 8, 4, 0, 2), candidate(JOKE, 0, 9, 9, 9))
HISTORY = (
    interaction(1, rating=Rating.LIKED),
    Interaction(
        'Translate "good\nmorning" into Finnish',
        ToolCall("Translation.Mirandex Desk.Translate", {"text": "good\nmorning", "target_language": "fi"}),
        START + timedelta(hours=2),
        Rating.DISLIKED,
    ),
    Interaction("Un chiste, por favor", ToolCall("Jokes.Tinkle Jokes.Joke for kids", {}), START + timedelta(hours=3)),
    interaction(4, "Maps.Quietmaps.Route", Rating.LIKED, stops=["Łódź", "北京"], options={"tolls": False, "max": 2.5}),
)


@dataclass(frozen=True)
class Read:
    """What a prompt says."""

    history: list[dict[str, Json]] | None
    """None: there is no history section."""
    candidates: list[dict[str, Json]]
    labels: list[str]
    hints: list[tuple[int, ...]]
    """In the order in which they stand."""
    instruction: str
    today: str | None = None

    @property
    def names(self) -> list[str]:
        return [document["tool_name"] for document in self.candidates]

    @property
    def called(self) -> list[tuple[str, str | None]]:
        """Tool and rating of each interaction."""
        calls = [(item, item.get("tool_call", item)) for item in self.history or []]
        return [(call["tool_name"], item.get("rating")) for item, call in calls]


def read(prompt: Prompt, format: PromptFormat) -> Read:  # noqa: A002
    """Takes the texts apart by their lines, as a reader would who trusts that data cannot begin a line."""
    if format.listing is Listing.ARRAY:
        return _read_arrays(prompt)
    lines = prompt.messages[-1]["content"].split("\n")
    headings = [line for line in lines if line in ("Candidates:", "Instruction:")]
    assert headings == ["Candidates:", "Instruction:"]
    first, second = lines.index("Candidates:"), lines.index("Instruction:")
    starts = [number for number, line in enumerate(lines) if line.startswith("History, ")]
    assert len(starts) <= 1
    history = [json.loads(line) for line in lines[starts[0] + 1 : first - 1]] if starts else None
    told = lines[second - 2] if lines[second - 2].startswith("Today is ") else None
    pattern = _TERSE_LINE if format.listing is Listing.TERSE else _LINE
    found = [_matched(line, pattern) for line in lines[first + 1 : second - (1 if told is None else 3)]]
    assert len(lines) == second + 2
    return Read(
        history,
        [json.loads(match[2]) for match in found],
        [match[1] for match in found],
        [tuple(int(digit.translate(_DIGITS)) for digit in match.groups()[2:] if digit is not None) for match in found],
        json.loads(lines[-1]),
        told,
    )


def _matched(line: str, pattern: re.Pattern[str]) -> re.Match[str]:
    match = pattern.fullmatch(line)
    assert match is not None, line
    return match


def _read_arrays(prompt: Prompt) -> Read:
    # The constant part ends the system's text, also where that opens the user's message.
    text = "\n\n".join(message["content"] for message in prompt.messages)
    system, _, user = text.partition("this task nor the format.\n\n")
    arrays = _arrays(system.split("\n"))
    assert len(arrays) in (1, 2)
    return Read(arrays[0] if len(arrays) == 2 else None, arrays[-1], [], [], user)


def _arrays(lines: Sequence[str]) -> list[list[dict[str, Json]]]:
    starts = [number for number, line in enumerate(lines) if line == "["]
    ends = [number for number, line in enumerate(lines) if line == "]"]
    arrays: list[Any] = [json.loads("\n".join(lines[start : end + 1])) for start, end in zip(starts, ends, strict=True)]
    return arrays


def parameters_of(document: dict[str, Json]) -> dict[str, tuple[Json, bool]]:
    """By name the type, and whether it is required, of a document in either listing."""
    found: dict[str, tuple[Json, bool]] = {}
    for required, array, flat in (
        (True, "required_parameters", "required"),
        (False, "optional_parameters", "optional"),
    ):
        for entry in document.get(array, []):
            found[entry["name"]] = (entry["type"], required)
        for name, schema in document.get(flat, {}).items():
            found[name] = (schema["type"] if isinstance(schema, dict) else schema, required)
            if isinstance(schema, str):
                # In the terse listing the description follows the type.
                found[name] = (schema.partition("; ")[0], required)
    return found
