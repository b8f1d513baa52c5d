import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.decision.choice import fuse, probabilities

logprobs = st.lists(st.integers(-800, 0).map(lambda tenths: tenths / 10), min_size=1, max_size=10)


@given(logprobs)
def test_probabilities_add_up_to_one_and_keep_the_order(values: list[float]) -> None:
    told = probabilities(values)
    assert math.isclose(sum(told), 1)
    assert told.index(max(told)) == values.index(max(values))


def test_probabilities_far_below_zero_do_not_vanish() -> None:
    assert probabilities([-5000.0, -5001.0]) == pytest.approx([0.731, 0.269], abs=1e-3)


@given(logprobs, st.data())
def test_without_weight_the_model_chooses_and_with_all_of_it_the_ranker(
    values: list[float], data: st.DataObject
) -> None:
    scores = data.draw(st.lists(st.floats(0, 1), min_size=len(values), max_size=len(values)))
    alone, ranker = fuse(values, scores, 0), fuse(values, scores, 1)
    assert alone.index(max(alone)) == values.index(max(values))
    assert ranker.index(max(ranker)) == scores.index(max(scores))


def test_the_ranker_decides_what_the_model_is_unsure_of_and_not_what_it_is_sure_of() -> None:
    unsure, sure = [math.log(0.4), math.log(0.38), math.log(0.01)], [math.log(0.98), math.log(0.01), math.log(0.01)]
    scores = [0.5, 0.6, 0.5]
    combined = fuse(unsure, scores, 0.5)
    assert combined.index(max(combined)) == 1
    combined = fuse(sure, scores, 0.5)
    assert combined.index(max(combined)) == 0
