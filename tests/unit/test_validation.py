"""What is wrong with a call's parameters is named in the paper's terms."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calling.validation import ProblemKind, invalid_parameters, value_problem
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
    return [(problem.name, problem.kind) for problem in invalid_parameters(FORECAST, parameters)]


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
    problems = invalid_parameters(FORECAST, {"city": "Oslo", **value})
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
    started = time.monotonic()
    assert value_problem({"type": "string", "pattern": "^(a|aa)+$"}, "a" * 60 + "b") is not None
    assert time.monotonic() - started < 5


def test_a_long_value_is_not_repeated_in_the_reason() -> None:
    problem = value_problem({"type": "integer"}, "x" * 5000)
    assert problem is not None
    assert len(problem) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda each: st.lists(each, max_size=3)
)


@given(st.dictionaries(st.text(), JSON, max_size=4))
def test_any_parameters_can_be_checked(parameters: dict[str, Any]) -> None:
    for problem in invalid_parameters(FORECAST, parameters):
        assert problem.reason
