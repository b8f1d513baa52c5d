"""Errors, values, intervals, tests of significance; and that the paper's tables agree with how we read them."""

from dataclasses import replace
from typing import Any

import pytest

from app.domain import HistorySetting, ToolCall
from tests.support.published_cases import DOTS, PLAIN, UNICODE, instance
from training.data.records import Part
from training.evaluate.metrics import AnsweredCall, ErrorKind, judge, same_value
from training.evaluate.report.paper import TABLE_1, TABLE_2
from training.evaluate.statistics import Share, paired_test

ASKED = replace(
    instance(1, HistorySetting.PREFERRED_ONLY, Part.TEST), answer=ToolCall(DOTS.name, {"days": 3, "city": "Oslo"})
)
"""PLAIN could do the job too, UNICODE could not."""
RIGHT = {"days": 3, "city": "Oslo"}


@pytest.mark.parametrize(
    ("call", "tool", "parameters"),
    [
        (AnsweredCall(DOTS.name, RIGHT), None, None),
        (AnsweredCall(DOTS.name, {"city": "Oslo", "days": 3.0}), None, None),
        (AnsweredCall(PLAIN.name, RIGHT), "tool_preference_mismatch", None),
        (AnsweredCall(UNICODE.name, {}), "tool_functionality_mismatch", "parameter_name_mismatch"),
        (AnsweredCall("Nobody.Knows.This", RIGHT), "tool_hallucination", None),
        (AnsweredCall(None, RIGHT, "tool_hallucination"), "tool_hallucination", None),
        (AnsweredCall(None, None, "tool_hallucination"), "tool_hallucination", "parameter_name_mismatch"),
        (AnsweredCall(None, None, "invalid_format"), "invalid_format", "invalid_format"),
        (AnsweredCall(None, None, "failed_request"), "failed_request", "failed_request"),
        (AnsweredCall(DOTS.name, {"city": "Oslo"}), None, "parameter_name_mismatch"),
        (AnsweredCall(DOTS.name, {**RIGHT, "ratio": 0.5}), None, "parameter_name_mismatch"),
        (AnsweredCall(DOTS.name, {**RIGHT, "days": 4}), None, "parameter_value_mismatch"),
    ],
)
def test_an_answer_has_one_error_on_the_tools_side_and_one_on_the_parameters(
    call: AnsweredCall, tool: str | None, parameters: str | None
) -> None:
    judgement = judge(call, ASKED)
    assert (judgement.tool_error, judgement.parameter_error) == (tool, parameters)
    assert judgement.error == (tool or parameters)
    assert judgement.joint == (tool is None and parameters is None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, True, False),
        (0, False, False),
        ("1", 1, False),
        ("Oslo", "oslo", False),
        ({"a": [1, {"b": None}], "c": 2}, {"c": 2.0, "a": [1, {"b": None}]}, True),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([True], [1], False),
        ({"a": [1, {"b": 2.0}]}, {"a": [1.0, {"b": 2}]}, True),
        ({"a": None}, {}, False),
        ("a\x00", "a\ufffd", True),
        (None, "", False),
    ],
)
def test_values_are_equal_as_json_values(one: Any, other: Any, same: bool) -> None:
    assert same_value(one, other) is same
    assert same_value(other, one) is same


def test_the_papers_tables_agree_in_our_reading_of_its_metrics() -> None:
    """All but one printed figure: GPT-4o's TPM (see `training.evaluate.report.paper`)."""
    of_tool = list(ErrorKind)[1:5]
    of_parameters = [ErrorKind.INVALID_FORMAT, *list(ErrorKind)[5:]]
    odd = []
    for setting, rows in TABLE_2.items():
        for method, errors in rows.items():
            tool, parameters = TABLE_1[method][setting.value]
            assert 100 - sum(errors[kind] for kind in of_parameters) == pytest.approx(parameters, abs=0.21)
            if 100 - sum(errors[kind] for kind in of_tool) != pytest.approx(tool, abs=0.21):
                odd.append((method, setting.value))
    assert odd == [("GPT-4o", "preferred_only")]


def test_wilsons_interval() -> None:
    assert Share(8, 10).interval == pytest.approx((49.02, 94.33), abs=0.01)
    assert Share(0, 10).interval == pytest.approx((0.0, 27.75), abs=0.01)
    assert Share(9, 9).interval[1] == 100.0
    assert Share(0, 0).interval == (0.0, 100.0)


def test_mcnemars_exact_test_and_the_difference() -> None:
    first = [True] * 9 + [False] * 1 + [True] * 50 + [False] * 40
    second = [False] * 9 + [True] * 1 + [True] * 50 + [False] * 40
    test = paired_test(first, second)
    assert (test.only_first, test.only_second, test.count, test.difference) == (9, 1, 100, 8.0)
    # Twice the chance of at most one head in ten throws.
    assert test.p == pytest.approx(2 * 11 / 1024)
    assert test.interval[0] < 8.0 < test.interval[1]
    assert paired_test(second, first).interval == pytest.approx((-test.interval[1], -test.interval[0]), abs=0.6)
    assert paired_test(first, first).p == 1.0
    with pytest.raises(ValueError):
        paired_test([], [])
