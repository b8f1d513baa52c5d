"""Instructions as people write them fill the parameters that they state."""

from datetime import UTC, datetime
from typing import Any

import pytest

from app.domain import Tool
from app.extraction import extract_parameters
from tests.support.extraction_tools import (
    ACCOUNT,
    EMAIL,
    EVENT,
    EXCHANGE,
    FLIGHTS,
    PROPERTIES,
    ROUTE,
    SEARCH,
    TRANSLATE,
    WEATHER,
    may,
    need,
    tool,
)

NOW = datetime(2024, 3, 13, 10, tzinfo=UTC)


def filled(given: Tool, instruction: str) -> dict[str, Any]:
    return extract_parameters(instruction, given, now=NOW).parameters


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("What's the weather like in Oslo for the next 5 days?", {"city": "Oslo", "days": 5}),
        ("3-day forecast for New York, please", {"city": "New York", "days": 3}),
        ("weather berlin", {"city": "berlin"}),
        ("I'm visiting my sister in Kuala Lumpur next week. Do I need an umbrella?", {"city": "Kuala Lumpur"}),
    ],
)
def test_a_place_and_a_number_of_days_are_found(instruction: str, expected: dict[str, Any]) -> None:
    assert filled(WEATHER, instruction) == expected


@pytest.mark.parametrize(
    ("instruction", "query"),
    [
        ("Find me articles about renewable energy storage", "renewable energy storage"),
        ("search for 'quantum error correction'", "quantum error correction"),
        ("best laptops for students", "best laptops for students"),
        ("What do people say about intermittent fasting?", "intermittent fasting"),
        ("Find cheap hotels near the Eiffel Tower", "cheap hotels near the Eiffel Tower"),
        ("I'm writing a report. Could you look up the Champions League?", "Champions League"),
    ],
)
def test_a_query_is_the_topic_and_not_the_whole_instruction(instruction: str, query: str) -> None:
    assert filled(SEARCH, instruction) == {"query": query}


@pytest.mark.parametrize(
    "quoted", ['"solar power"', "'solar power'", "“solar power”", "‘solar power’", "«solar power»", "`solar power`"]
)
def test_every_kind_of_quotes_is_read(quoted: str) -> None:
    assert filled(SEARCH, f"Don't guess; search for {quoted} in today's news") == {"query": "solar power"}


@pytest.mark.parametrize(
    ("instruction", "source", "target", "amount"),
    [
        ("Convert 100 USD to EUR", "USD", "EUR", 100),
        ("how many yen do I get for 75 pounds?", "GBP", "JPY", 75),
        ("What is €50 in Swiss francs?", "EUR", "CHF", 50),
        ("I need the value of 2,500.75 Canadian dollars in Mexican pesos", "CAD", "MXN", 2500.75),
        ("$20k to euros", "USD", "EUR", 20_000),
    ],
)
def test_currencies_are_told_apart_and_written_as_codes(
    instruction: str, source: str, target: str, amount: float
) -> None:
    assert filled(EXCHANGE, instruction) == {"from_currency": source, "to_currency": target, "amount": amount}


@pytest.mark.parametrize(
    ("instruction", "origin", "destination", "date"),
    [
        ("Flights from Berlin to Rome next Friday", "Berlin", "Rome", "2024-03-15"),
        ("I want to fly to Tokyo from London on 2024-05-02", "London", "Tokyo", "2024-05-02"),
        ("Book me a flight to Madrid on March 20th, leaving from Vienna", "Vienna", "Madrid", "2024-03-20"),
        ("JFK to LAX tomorrow", "JFK", "LAX", "2024-03-14"),
    ],
)
def test_origin_and_destination_follow_the_prepositions(
    instruction: str, origin: str, destination: str, date: str
) -> None:
    assert filled(FLIGHTS, instruction) == {"origin": origin, "destination": destination, "date": date}


def test_a_text_to_translate_is_taken_as_a_whole() -> None:
    expected = {"text": "Where is the station, please?", "target_language": "Italian"}
    assert filled(TRANSLATE, "Translate “Where is the station, please?” into Italian") == expected
    after_colon = filled(TRANSLATE, "Please translate the following to German: I would like a coffee.")
    assert after_colon == {"text": "I would like a coffee.", "target_language": "German"}


def test_a_date_with_a_time_of_day_becomes_a_date_time() -> None:
    instruction = "Schedule a meeting called 'Budget review' tomorrow at 3pm for 45 minutes"
    assert filled(EVENT, instruction) == {
        "title": "Budget review",
        "start_time": "2024-03-14T15:00:00Z",
        "duration_minutes": 45,
    }


def test_an_email_is_composed_from_its_parts() -> None:
    instruction = "Send an email to anna@example.com with the subject 'Lunch' and the body 'See you at noon?'"
    assert filled(EMAIL, instruction) == {"to": "anna@example.com", "subject": "Lunch", "body": "See you at noon?"}


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        (
            "homes in Denver over $200,000 and under $350k",
            {"city": "Denver", "price_min": 200_000, "price_max": 350_000},
        ),
        ("the cheapest homes in Denver", {"city": "Denver", "sort": "PRICE_LOW"}),
        ("homes in Denver, include photos", {"city": "Denver", "include_photos": True}),
        ("homes in Denver without photos, not furnished", {"city": "Denver", "furnished": False}),
        (
            "homes in Denver with the tags 'garden', 'garage' and 'pool'",
            {"city": "Denver", "tags": ["garden", "garage", "pool"]},
        ),
    ],
)
def test_bounds_members_switches_and_lists_are_understood(instruction: str, expected: dict[str, Any]) -> None:
    result = filled(PROPERTIES, instruction)
    assert {name: result.get(name) for name in expected} == expected


def test_two_pairs_of_coordinates_are_start_and_end() -> None:
    assert filled(ROUTE, "Route from 0.3476, 32.5825 to -0.0512, 32.4637 in miles") == {
        "start_lat": 0.3476,
        "start_lon": 32.5825,
        "end_lat": -0.0512,
        "end_lon": 32.4637,
        "unit": "mi",
    }


def test_ids_pages_offsets_and_limits_are_told_apart() -> None:
    instruction = "Show 25 posts of the user with ID 86420, skipping the first 50, page 3"
    assert filled(ACCOUNT, instruction) == {"user_id": "86420", "page": 3, "offset": 50, "limit": 25}


@pytest.mark.parametrize(
    ("default", "description", "expected"),
    [
        (None, "Format YYYY-MM-DD", "2024-03-05"),
        (None, "MM/DD/YYYY", "03/05/2024"),
        ("16.02.2022", "", "05.03.2024"),
        (None, "Unix timestamp of the day", "1709596800"),
        (None, "", "2024-03-05"),
    ],
)
def test_a_date_is_written_as_the_document_asks(default: str | None, description: str, expected: str) -> None:
    asks = tool("history", need("date", description, default))
    assert filled(asks, "Show what happened on March 5th, 2024") == {"date": expected}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("yesterday", "2024-03-12"),
        ("3 days ago", "2024-03-10"),
        ("next Monday", "2024-03-18"),
        ("the day after tomorrow", "2024-03-15"),
        ("14 August 1998", "1998-08-14"),
    ],
)
def test_relative_dates_are_read_at_the_given_time(words: str, expected: str) -> None:
    assert filled(tool("history", need("date", format="date")), f"news of {words}") == {"date": expected}


def test_an_impossible_date_is_no_date() -> None:
    extraction = extract_parameters("news of February 31, 2024", tool("history", need("date", format="date")), now=NOW)
    assert extraction.missing == ("date",)


def test_optional_parameters_stay_empty_unless_stated() -> None:
    shop = tool(
        "search_products",
        need("q"),
        may("brand"),
        may("color"),
        may("min_price", type="number"),
        may("page", type="integer"),
    )
    assert filled(shop, "look for 'running shoes'") == {"q": "running shoes"}


def test_the_default_of_the_document_serves_a_required_parameter_that_is_not_stated() -> None:
    extraction = extract_parameters("show me some homes", PROPERTIES, now=NOW)
    assert extraction.parameters == {"city": "Boston"}
    assert extraction.sources == {"city": "default"}


def test_a_required_parameter_without_any_value_is_missing() -> None:
    extraction = extract_parameters("book me a flight", FLIGHTS, now=NOW)
    assert extraction.parameters == {}
    assert extraction.missing == ("origin", "destination", "date")


def test_a_default_that_its_own_schema_forbids_is_not_used() -> None:
    broken = tool("get", need("id", default="", minLength=1))
    assert extract_parameters("get it", broken, now=NOW).missing == ("id",)


def test_a_piece_of_text_serves_one_parameter() -> None:
    team = tool("get_player", need("first_name"), need("last_name"))
    assert filled(team, "the player with the first name Dustin and the last name Moskoz") == {
        "first_name": "Dustin",
        "last_name": "Moskoz",
    }


def test_names_become_codes_where_codes_are_wanted() -> None:
    coded = tool("holidays", need("country_code", "ISO 3166-1 alpha-2"), need("language", "ISO 639-1"))
    assert filled(coded, "Public holidays in South Korea, in French") == {"country_code": "KR", "language": "fr"}


def test_the_sentence_that_suits_the_tool_is_read_first() -> None:
    instruction = "Send 20 flowers to Anna. Also, show me the weather forecast in Lima for 7 days."
    assert filled(WEATHER, instruction) == {"city": "Lima", "days": 7}
