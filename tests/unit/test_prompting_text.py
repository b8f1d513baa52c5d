"""Data as JSON text, and long values cut short."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import Json
from app.prompting.text import cut, json_text, shorten

ANY: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(value=ANY)
def test_json_text_reads_back_on_one_line(value: Json) -> None:
    text = json_text(value)
    assert json.loads(text) == value
    assert len(text.splitlines()) == 1


@given(value=ANY)
def test_what_is_ordinary_is_written_as_the_answer_writes_it(value: Json) -> None:
    plain = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if plain.isprintable():
        assert json_text(value) == plain


def test_line_ends_and_lone_surrogates_are_escaped() -> None:
    assert json_text("a\u2028b\u0085c\ud800d\x7fé") == r'"a\u2028b\u0085c\ud800d\u007fé"'
    assert json.loads(json_text("\ud800 \udfff")) == "\ud800 \udfff"


def test_a_text_is_cut_to_its_limit_with_an_ellipsis() -> None:
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("ab cdefg", 4) == "ab…"
    assert cut("abc", 1) == "…"


@given(value=ANY, characters=st.integers(1, 50), items=st.integers(0, 5), depth=st.integers(0, 4))
def test_what_is_within_the_limits_is_not_changed_and_what_is_not_gets_shorter(
    value: Json, characters: int, items: int, depth: int
) -> None:
    short = shorten(value, characters=characters, items=items, depth=depth)
    assert len(json_text(short)) <= max(len(json_text(value)), 1_000 * characters * (items + 1) ** (depth + 1))
    assert shorten(value, characters=10_000, items=10_000, depth=100) == value


@pytest.mark.parametrize(
    ("value", "short"),
    [
        ("abcdef", "abc…"),
        ([1, 2, 3], [1, 2, "…"]),
        ((1, 2), [1, 2]),
        ({"a": 1, "b": 2, "c": 3}, {"a": 1, "b": 2, "…": "…"}),
        ({"abcdef": 1}, {"abc…": 1}),
        ([[[1]]], [["…"]]),
        ([[[]]], [[[]]]),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ({1, 2}, "{1,…"),
    ],
)
def test_values_are_shortened(value: Json, short: Json) -> None:
    assert shorten(value, characters=4, items=2, depth=2) == short


def test_an_integer_that_python_would_not_print_is_left_out() -> None:
    assert shorten({"a": 10**5_000}, characters=4, items=2, depth=2) == {"a": "…"}
