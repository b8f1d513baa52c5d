"""Whose parameters a call gets: the model's, or those read from the instruction."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.decision.filling import select_parameters
from app.domain import Json, Parameter, ParameterRule, Tool
from app.extraction import extract_parameters

NOW = datetime(2026, 5, 1, tzinfo=UTC)
HOTELS = Tool(
    "Travel.Stay.hotels", "Travel", "Stay", "hotels", "Finds hotels.",
    (
        Parameter("city", {"type": "string"}, required=True, description="Name of the city"),
        Parameter("check_in", {"type": "string"}, description="Day of arrival, YYYY-MM-DD"),
        Parameter("guests", {"type": "integer"}, description="Number of guests"),
        Parameter("sort", {"type": "string", "enum": ["price", "rating"]}, description="Order"),
        Parameter("tags", {"type": "array", "items": {"type": "string"}}, description="Labels"),
    ),
)  # fmt: skip


def of(instruction: str, written: dict[str, Json], rule: ParameterRule = ParameterRule.CHECKED) -> Any:
    return select_parameters(rule, instruction, HOTELS, written, extract_parameters(instruction, HOTELS, now=NOW))


def test_a_word_that_the_user_never_said_is_not_taken_from_the_model() -> None:
    asked = "Find a hotel in Strasbourg."
    assert of(asked, {"city": "Strasfbg"}) == {"city": "Strasbourg"}
    assert of(asked, {"city": "Strasfbg"}, ParameterRule.MODEL) == {"city": "Strasfbg"}
    # Part of a word is no word.
    assert of(asked, {"city": "Stras"}) == {"city": "Strasbourg"}


@pytest.mark.parametrize(
    ("asked", "written"),
    [
        ("Find a hotel in São Paulo, best rated first.", {"city": "são paulo", "sort": "rating"}),
        ("Two guests need a hotel in Lisbon.", {"city": "Lisbon", "guests": 2}),
        ("A hotel in Lisbon from the third of May on.", {"city": "Lisbon", "check_in": "2026-05-03"}),
        ("A hotel in Lisbon, quiet and central.", {"city": "Lisbon", "tags": ["quiet", "central"]}),
    ],
)
def test_what_the_instruction_bears_out_is_the_models(asked: str, written: dict[str, Json]) -> None:
    extracted = extract_parameters(asked, HOTELS, now=NOW).parameters
    assert extracted.keys() <= written.keys()
    assert of(asked, written) == written


def test_a_number_that_the_user_never_said_is_not_the_models() -> None:
    assert of("4 guests need a hotel in Lisbon.", {"city": "Lisbon", "guests": 7}) == {"city": "Lisbon", "guests": 4}


def test_where_the_model_left_out_what_was_read_the_rules_fill_in() -> None:
    assert of("4 guests need a hotel in Lisbon.", {"city": "Lisbon"}) == {"city": "Lisbon", "guests": 4}


@pytest.mark.parametrize("rule", [ParameterRule.RULES, ParameterRule.CHECKED])
def test_required_parameters_that_the_rules_do_not_find_are_the_models(rule: ParameterRule) -> None:
    assert of("...", {"city": "Nowhere"}, rule) == {"city": "Nowhere"}


def test_parameters_stand_in_the_documents_order() -> None:
    asked = "4 guests need a hotel in Lisbon."
    for rule in ParameterRule:
        assert list(of(asked, {"guests": 4, "city": "Lisbon"}, rule)) == ["city", "guests"]
