"""The matcher: hints from learned maps of the embedder's vectors."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from app.domain import Candidate, HistorySetting, Interaction, Parameter, Rating, Tool, ToolCall
from app.errors import SetupError
from app.extraction.extract import FEATURES, input_features
from app.retrieval.matcher import WEIGHTS, Match, Matcher, MatcherWeights
from app.retrieval.preferences import PreferenceRanker, Profile, ToolSignature

SIZE = 4
"""Of the vectors: the first two components tell what a tool does, the others what it is like."""
START = datetime(2026, 1, 1, tzinfo=UTC)


def weights(**changes: object) -> MatcherWeights:
    """Reads functions from the first half of a vector, attributes from the second, and nothing from inputs."""
    does, like = np.eye(SIZE, dtype=np.float32)[:2], np.eye(SIZE, dtype=np.float32)[2:]
    made = MatcherWeights(
        queries=does,
        functions=does,
        attributes=like,
        centre=np.zeros(SIZE, np.float32),
        inputs_1=np.zeros((3, 3 * FEATURES), np.float32),
        inputs_1_bias=np.zeros(3, np.float32),
        inputs_2=np.zeros(3, np.float32),
        scales=np.array([0, 0, 10, 10], np.float32),
        history=np.array([1, -1, 3], np.float32),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def vectors(*rows: tuple[float, ...]) -> NDArray[np.float32]:
    found = np.array(rows, np.float32)
    made: NDArray[np.float32] = (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)
    return made


def tool(name: str) -> Tool:
    return Tool(name, "C", name.split(".")[1], "", "")


def profile(setting: HistorySetting, *used: tuple[str, tuple[float, ...], Rating | None]) -> Profile:
    signatures = {name: ToolSignature(name, name.split(".")[1], vectors(vector)[0]) for name, vector, _ in used}
    history = [
        Interaction("x", ToolCall(name, {}), START + timedelta(days=day), rating)
        for day, (name, _, rating) in enumerate(used)
    ]
    return PreferenceRanker().profile(setting, history, signatures)


ALIKE = vectors((1, 0, 1, 0), (1, 0, 0, 1), (0, 1, 1, 0))
"""The first two do the same, and are not alike; the third is like the first and does something else."""
ASKED = vectors((1, 0, 0, 0))
NO_INPUTS = np.zeros((3, FEATURES)).tolist()
NOTHING = Profile(HistorySetting.NONE)


def match(of: Profile, made: MatcherWeights | None = None) -> Match:
    return Matcher(made or weights()).match(ASKED, ALIKE, [0.0] * 3, [0.0] * 3, NO_INPUTS, of)


def test_without_history_only_the_function_counts() -> None:
    found = match(NOTHING)
    assert found.fit[0] == pytest.approx(found.fit[1])
    assert found.fit[0] > found.fit[2]
    assert not found.taste.any()


def test_what_was_liked_is_wanted_and_what_was_disliked_is_not() -> None:
    liked = profile(HistorySetting.RATING_INTEGRATED, ("C.P.a", (0, 1, 1, 0), Rating.LIKED))
    disliked = profile(HistorySetting.RATING_INTEGRATED, ("C.P.a", (0, 1, 1, 0), Rating.DISLIKED))
    assert match(liked).total.argmax() == 0
    assert match(disliked).total.argmax() == 1
    assert match(disliked).aversion.argmax() in (0, 2)
    assert not match(liked).aversion.any()


def test_what_was_used_later_counts_more_in_chronological_order() -> None:
    early, late = ("C.P.a", (0, 1, 1, 0), None), ("C.Q.b", (0, 1, 0, 1), None)
    assert match(profile(HistorySetting.CHRONOLOGICAL, early, late)).total.argmax() == 1
    assert match(profile(HistorySetting.CHRONOLOGICAL, late, early)).total.argmax() == 0


def test_the_nearest_of_several_intents_counts() -> None:
    asked = vectors((0.2, 1, 0, 0), (1, 0, 0, 0))
    found = Matcher(weights()).match(asked, ALIKE, [0.0] * 3, [0.0] * 3, NO_INPUTS, NOTHING)
    assert found.fit[0] == pytest.approx(10, abs=1e-4)


def test_hints_tell_how_far_behind_the_best_a_candidate_is() -> None:
    of = profile(HistorySetting.RATING_INTEGRATED, ("C.P.a", (0, 1, 1, 0), Rating.LIKED))
    candidates = [Candidate(tool(f"C.X{number}.t"), 0, 0) for number in range(3)]
    made = Matcher(weights()).with_hints(candidates, match(of), of)
    hints = [each.hints for each in made if each.hints is not None]
    # 10 nats behind: 2 * sqrt(10) steps.
    assert [each.fit for each in hints] == [9, 9, 3]
    assert [each.liked for each in hints] == [0, 6, 0]
    assert [each.disliked for each in hints] == [9, 9, 9]
    assert [each.overall for each in hints] == [0, 6, 6]


def test_the_very_tool_that_was_liked_comes_first_and_a_disliked_one_last() -> None:
    candidates = [Candidate(tool(name), 0, 0) for name in ("C.P.a", "C.Q.b", "C.R.c")]
    for rating, places in ((Rating.LIKED, {0}), (Rating.DISLIKED, {1, 2})):
        of = profile(HistorySetting.RATING_INTEGRATED, ("C.P.a", (1, 0, 0, 0.01), rating))
        flat = match(of, weights(scales=np.zeros(4, np.float32)))
        hints = [each.hints for each in Matcher(weights()).with_hints(candidates, flat, of)]
        assert {place for place, each in enumerate(hints) if each and each.liked == 0} == places


def test_weights_come_back_from_their_file(tmp_path: Path) -> None:
    made = weights()
    save_file({name: value.astype(np.float16) for name, value in vars(made).items()}, tmp_path / WEIGHTS)
    loaded = Matcher.load(tmp_path)
    assert loaded.dimension == SIZE
    assert loaded.match(ASKED, ALIKE, [0.0] * 3, [0.0] * 3, NO_INPUTS, NOTHING).fit == pytest.approx(match(NOTHING).fit)


def test_a_missing_or_broken_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="petool-train matcher fit"):
        Matcher.load(tmp_path)
    (tmp_path / WEIGHTS).write_bytes(b"nothing")
    with pytest.raises(SetupError, match="petool-train matcher fit"):
        Matcher.load(tmp_path)


def test_inputs_tell_which_tool_the_instruction_fills() -> None:
    city = Parameter("city", {"type": "string"}, True, "Name of the city")
    day = Parameter("date", {"type": "string", "format": "date"}, True, "Day as YYYY-MM-DD")
    tools = [Tool("W.P.now", "W", "P", "now", "", (city,)), Tool("W.P.on", "W", "P", "on", "", (city, day))]
    plain, dated = input_features("Weather in Oslo", tools, now=START)
    assert len(plain) == FEATURES
    assert (plain[0], dated[0]) == (0, 1)
    _, filled = input_features("Weather in Oslo on 3 May 2026", tools, now=START)
    assert filled[:3] == (0, 0, 2)
