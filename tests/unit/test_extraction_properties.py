"""Whatever the instruction, extraction answers, and what it answers is valid."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.answers.validation import ProblemKind, parameter_problems
from app.domain import Parameter, Tool
from app.extraction import extract_parameters
from tests.support.extraction_tools import ALL, ROUTE, SEARCH, tool

NOW = datetime(2024, 3, 13, 10, tzinfo=UTC)
WORDS = (
    "from to in at for about between and not 'AAPL' “two words” 3 -4.5 1,200 $20 10% 5 km 2024-02-30 tomorrow next "
    "Friday 14:30 9am Berlin New York Germany French USD bob@x.org https://a.b/c 8.8.8.8 tt0111161 #tag @user 40.71, "
    "-74.01 page limit skip top user id is = : , . ? \n the first name query search İstanbul ſ 日本 \u0000 \ud800 ' "
    '" ` ( ) / // -- +49 30 123456 ff8800 a/b.txt 1e999 ٣'
)
PIECES = WORDS.split(" ")
INSTRUCTIONS = st.text(max_size=300) | st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join)
COMMON = (
    "q id name date from to lat lon limit page offset city country_code lang symbol email url text sort type year "
    "months amount weight api_key latlng tags zip ip phone color path s"
)
NAMES = st.sampled_from(COMMON.split()) | st.text(min_size=1, max_size=12)
SCHEMAS: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {},
        {"type": "string"},
        {"type": "string", "maxLength": 3},
        {"type": "string", "pattern": "^[a-z]+$"},
        {"type": "string", "enum": ["asc", "desc"]},
        {"type": "string", "format": "date"},
        {"type": "string", "format": "time"},
        {"type": "string", "format": "uuid"},
        {"type": "integer", "minimum": 1, "maximum": 9},
        {"type": "number"},
        {"type": ["number", "null"]},
        {"type": "boolean"},
        {"type": "array", "items": {"type": "integer"}},
        {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        {"type": "object"},
        {"enum": [1, "two", None, True]},
        {"type": "nonsense"},
    ]
)
DEFAULTS = st.none() | st.sampled_from(["", "2020-01-01", "en", "us", "12:00:00", "1d", 5, -1.5, True, ["a"], {"a": 1}])


@st.composite
def tools(draw: st.DrawFn) -> Tool:
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    return tool(
        draw(st.text(max_size=20)),
        *(
            Parameter(name, draw(SCHEMAS), draw(st.booleans()), draw(st.text(max_size=60)), draw(DEFAULTS))
            for name in names
        ),
    )


@settings(max_examples=400, deadline=None)
@given(INSTRUCTIONS, st.sampled_from(ALL) | tools())
def test_every_answer_is_valid_complete_and_the_same_again(instruction: str, given_tool: Tool) -> None:
    extraction = extract_parameters(instruction, given_tool, now=NOW)
    problems = parameter_problems(given_tool, extraction.parameters)
    assert {problem.kind for problem in problems} <= {ProblemKind.MISSING_VALUE}
    assert {problem.name for problem in problems} == set(extraction.missing)
    assert set(extraction.sources) == set(extraction.parameters)
    assert extract_parameters(instruction, given_tool, now=NOW) == extraction


REPEATED = (
    *("a", "a.", "a-", "1", "1,", "1.1 ", "+1 ", "'", "' ", "'a ", '"a ', "“", "/a", "a@", "a:", "#", "_", "A ", "A, "),
    *(
        "say ",
        " ",
        "translate a ",
        "three ",
        "in 1 A ",
        "from A to ",
        "limit is ",
        ": ",
        "12 A Street ",
        "Is it? ",
        "İ",
    ),
    *("page 1 ", "x y 1 ", ". ", "say  "),
)


@pytest.mark.parametrize("piece", REPEATED)
def test_a_long_instruction_of_one_piece_takes_no_time_to_speak_of(piece: str) -> None:
    instruction = piece * (10_000 // len(piece))
    for each in (SEARCH, ROUTE):
        extract_parameters(instruction, each, now=NOW)
    # Tenths of a second here; backtracking would take minutes.


def test_the_end_of_a_very_long_instruction_is_not_read() -> None:
    instruction = "x " * 20_000 + "in Oslo"
    assert "Oslo" not in extract_parameters(instruction, ALL[0], now=NOW).parameters.values()
