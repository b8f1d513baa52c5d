"""Values: allowed by their types, said in plain words, and decided by names alone."""

import re
from collections.abc import Sequence
from datetime import date
from random import Random

import pytest
from dateutil.parser import parse as read_date
from hypothesis import given, settings
from hypothesis import strategies as st

from app.answers.validation import parameter_problems
from app.catalogue.rapidapi import parse_document
from app.domain import Tool
from training.common.seeding import rng, shuffled_by_hash
from training.generators.values import KINDS, TODAY, TYPES, Value, make_value, word_lists, words

SEEDS = st.integers(0, 2**64)
MEMBERS = ("newest_first", "oldest_first", "best")
NUMERALS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
CODED = {"country_code": "countries", "language_code": "languages", "currency": "currencies"}
DAYS = ("date", "past_date", "future_date")


def tool(declared: str, description: str = "") -> Tool:
    parameter = {"name": "x", "type": declared, "description": description, "default": ""}
    return parse_document(
        {
            "category_name": "Data",
            "tool_name": "Acme",
            "api_name": "Get",
            "api_description": "",
            "required_parameters": [parameter],
        }
    )


TOOLS = {kind: tool(TYPES.get(kind, "STRING")) for kind in (*KINDS, "boolean")}


def draws(kind: str | Sequence[str], count: int = 300) -> list[Value]:
    random = Random(str(kind))
    return [make_value(kind, random) for _ in range(count)]


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_every_kind_gives_what_its_type_allows_and_the_same_for_the_same_seed(seed: int) -> None:
    for kind, of_type in TOOLS.items():
        made = make_value(kind, Random(seed))
        assert parameter_problems(of_type, {"x": made.value}) == [], kind
        assert made == make_value(kind, Random(seed))


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_texts_are_said_as_they_are_apart_from_marks_around_them(seed: int) -> None:
    for kind in KINDS.keys() - TYPES.keys() - CODED.keys():
        made = make_value(kind, Random(seed))
        assert made.said.strip('"“”#@') == str(made.value).strip("#"), kind


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_numbers_and_times_are_said_in_digits_or_as_numerals(seed: int) -> None:
    for kind in TYPES.keys() - {*DAYS, "boolean"}:
        made = make_value(kind, Random(seed))
        in_words = made.said in NUMERALS and NUMERALS.index(made.said) + 2 == made.value
        assert in_words or made.said == str(made.value), kind


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_days_are_said_so_that_they_can_be_read_back(seed: int) -> None:
    for kind in DAYS:
        made = make_value(kind, Random(seed))
        day = date.fromisoformat(made.value)
        assert read_date(made.said).date() == day
        assert kind == "date" or (day > TODAY) is (kind == "future_date")


@pytest.mark.parametrize(("kind", "names"), CODED.items())
def test_codes_are_said_by_their_name_or_as_they_are(kind: str, names: str) -> None:
    codes = word_lists()[names]
    made = draws(kind)
    assert all(each.value in (codes.get(each.said), each.said) for each in made)
    by_name = sum(each.said in codes for each in made)
    assert 0.2 * len(made) < by_name < len(made)


@pytest.mark.parametrize("names", CODED.values())
def test_codes_are_text_and_each_stands_for_one_name(names: str) -> None:
    """YAML reads a bare NO, for Norway, as false."""
    codes = word_lists()[names]
    assert all(isinstance(code, str) and re.fullmatch(r"[a-z]{2}|[A-Z]{2,3}", code) for code in codes.values())
    assert len(set(codes.values())) == len(codes)


def test_no_word_stands_twice_in_its_list() -> None:
    for kind in word_lists().keys() - {"brand"}:
        assert len({word.casefold() for word in words(kind)}) == len(words(kind)), kind


def test_of_an_enumeration_every_member_comes_and_is_said_without_underscores() -> None:
    allowed = tool("ENUM", f"One of: {', '.join(MEMBERS)}")
    assert allowed.parameters[0].schema["enum"] == list(MEMBERS)
    made = draws(MEMBERS, 60)
    assert {each.value for each in made} == set(MEMBERS)
    assert {each.said for each in made} == {"newest first", "oldest first", "best"}


def test_a_wish_that_is_only_named_is_true_and_said_in_no_words() -> None:
    assert make_value("boolean", Random(1)) == Value(True, "")


@pytest.mark.parametrize("kind", KINDS)
def test_values_vary(kind: str) -> None:
    assert len({str(each.value) for each in draws(kind)}) >= 10


def test_numbers_are_never_said_in_exponents() -> None:
    for kind in ("latitude", "longitude", "amount", "price", "radius"):
        assert all(re.fullmatch(r"-?\d+(\.\d+)?|[a-z]+", each.said) for each in draws(kind, 1_000))


def test_a_kind_there_is_not_is_an_error() -> None:
    with pytest.raises(KeyError, match="colour"):
        make_value("colour", Random(1))


# ---------------------------------------------------------------- randomness by names


def test_randomness_is_that_of_its_key_on_every_machine() -> None:
    assert [rng(7, "user", number).randrange(1_000) for number in (1, 1, 2)] == [106, 106, 630]
    assert shuffled_by_hash(["a", "b", "c", "d"], 7) == ["d", "b", "c", "a"]


def test_keys_that_look_alike_give_other_numbers() -> None:
    keys: list[tuple[object, ...]] = [(1, 23), (12, 3), (123,), ("1", "2", "3"), ("é",), ("\ud800",)]
    assert len({rng(*key).random() for key in keys}) == len(keys)


@given(st.sets(st.text(max_size=5), min_size=2, max_size=20), st.data())
def test_a_name_less_moves_none_of_the_rest(names: set[str], data: st.DataObject) -> None:
    gone = data.draw(st.sampled_from(sorted(names)))
    order = shuffled_by_hash(names, "key")
    assert sorted(order) == sorted(names)
    assert shuffled_by_hash(names - {gone}, "key") == [name for name in order if name != gone]
