"""What is wrong with a call's parameters is named in the paper's terms."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.answers.validation import ProblemKind, parameter_problems, value_problem
from app.domain import Parameter, Tool

FORECAST = Tool(
    name="get_forecast",
    category="Weather",
    provider="",
    api="get_forecast",
    description="",
    parameters=(
        Parameter("city", {"type": "string", "minLength": 1}, required=True),
        Parameter("days", {"type": "integer", "minimum": 1, "maximum": 16}),
        Parameter("units", {"type": "string", "enum": ["metric", "imperial"]}),
        Parameter("start", {"type": "string", "format": "date"}),
    ),
)


def kinds(parameters: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.name, problem.kind) for problem in parameter_problems(FORECAST, parameters)]


def test_valid_parameters_have_no_problem() -> None:
    assert kinds({"city": "Oslo", "days": 3, "units": "metric", "start": "2024-03-01"}) == []


def test_an_unknown_name_is_a_name_mismatch() -> None:
    assert kinds({"city": "Oslo", "town": "Oslo"}) == [("town", ProblemKind.NAME_MISMATCH)]


def test_a_required_parameter_that_is_not_there_is_missing() -> None:
    assert kinds({"days": 3}) == [("city", ProblemKind.MISSING_VALUE)]


@pytest.mark.parametrize(
    "value", [{"days": "3"}, {"days": 0}, {"days": 17}, {"units": "Metric"}, {"start": "tomorrow"}, {"city": None}]
)
def test_a_value_that_breaks_its_schema_is_wrong(value: dict[str, Any]) -> None:
    problems = parameter_problems(FORECAST, {"city": "Oslo", **value})
    assert [(problem.name, problem.kind) for problem in problems] == [(next(iter(value)), ProblemKind.WRONG_VALUE)]
    assert problems[0].reason.startswith(problems[0].name)


@pytest.mark.parametrize("clock", ["09:00", "09:00:30", "23:59"])
def test_a_time_may_leave_out_its_seconds(clock: str) -> None:
    assert value_problem({"type": "string", "format": "time"}, clock) is None


def test_a_time_that_does_not_exist_is_wrong() -> None:
    assert value_problem({"type": "string", "format": "time"}, "25:00") is not None


@pytest.mark.parametrize(
    "schema",
    [{"type": "text"}, {"enum": 3}, {"$ref": "https://example.org/x.json"}, {"$ref": "#/nowhere"}, {"pattern": "("}],
)
def test_a_schema_that_cannot_be_used_allows_every_value(schema: dict[str, Any]) -> None:
    assert value_problem(schema, "x") is None


def test_a_pattern_that_backtracks_without_end_is_given_up() -> None:
    assert value_problem({"type": "string", "pattern": "^(a|aa)+$"}, "a" * 60 + "b") is not None


def test_a_long_value_is_not_repeated_in_the_reason() -> None:
    problem = value_problem({"type": "integer"}, "x" * 5000)
    assert problem is not None
    assert len(problem) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda each: st.lists(each, max_size=3)
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_parameters_can_be_checked(parameters: dict[str, Any]) -> None:
    for problem in parameter_problems(FORECAST, parameters):
        assert problem.reason


HOSTILE = "^(a|aa)+$"
ENDLESS = "a" * 60 + "!"


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"patternProperties": {HOSTILE: {}}}, {ENDLESS: 1}),
        ({"patternProperties": {HOSTILE: {}}, "additionalProperties": False}, {ENDLESS: 1}),
        ({"propertyNames": {"pattern": HOSTILE}}, {ENDLESS: 1}),
        ({"not": {"contains": {"pattern": HOSTILE}}}, [f"{ENDLESS}{n}" for n in range(1000)]),
        ({"patternProperties": {f"(a|a{'a' * n})+$": {} for n in range(1, 200)}}, {ENDLESS: 1}),
    ],
)
def test_no_keyword_backtracks_without_end(schema: dict[str, Any], value: Any) -> None:
    assert "in time" in (value_problem(schema, value) or "")


def test_many_items_are_compared_by_value() -> None:
    items = [{"n": n, "x": [n, {}]} for n in range(20_000)]
    assert value_problem({"uniqueItems": True}, items) is None
    assert value_problem({"uniqueItems": True}, [*items, {"x": [3.0, {}], "n": 3}]) is not None


@pytest.mark.parametrize(("items", "unique"), [([1, True], True), ([0, False, "0"], True), ([1, 1.0], False)])
def test_items_are_unique_as_json_schema_means_it(items: list[Any], unique: bool) -> None:
    assert (value_problem({"uniqueItems": True}, items) is None) is unique


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"multipleOf": 0.5}, 10**400),
        ({"multipleOf": 0.1}, float("inf")),
        pytest.param({"type": "string"}, 10**5000, id="no text of it"),
        pytest.param({"uniqueItems": True}, [10**5000], id="no text of an item"),
        pytest.param({"items": {"type": "integer"}}, ["x" * 400, 10**5000], id="no text of another item"),
    ],
)
def test_a_number_too_large_for_its_check_is_wrong(schema: dict[str, Any], value: Any) -> None:
    assert "too large" in (value_problem(schema, value) or "")


def test_a_schema_cannot_leave_the_rules_by_naming_another_draft() -> None:
    schema = {"allOf": [{"$schema": "http://json-schema.org/draft-07/schema#", "pattern": HOSTILE}]}
    assert value_problem(schema, ENDLESS) is None


@pytest.mark.parametrize(
    ("schema", "value", "fits"),
    [
        (
            {"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False},
            {"a": 1, "xy": 1},
            1,
        ),
        ({"properties": {"a": {}}, "patternProperties": {"^x": {}}, "additionalProperties": False}, {"b": 1}, 0),
        ({"additionalProperties": {"type": "integer"}}, {"b": "1"}, 0),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"x": "1"}, 0),
        ({"patternProperties": {"^x": {"type": "integer"}}}, {"y": "1"}, 1),
    ],
)
def test_patterns_of_names_select_properties(schema: dict[str, Any], value: Any, fits: bool) -> None:
    assert (value_problem(schema, value) is None) is bool(fits)
