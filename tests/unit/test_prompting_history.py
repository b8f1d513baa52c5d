"""Which interactions a prompt has when not all of them fit, and how each is written."""

import json
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.domain import HistorySetting, Interaction, Json, Rating, ToolCall
from app.prompting.builder import Prompt, PromptBuilder
from app.prompting.formats import FORMATS, format_named
from app.prompting.tokenizer import PromptTokenizer
from tests.unit.prompting_cases import FORECAST, START, Read, builder, candidate, interaction, read
from tests.unit.prompting_models import KINDS

RATED = HistorySetting.RATING_INTEGRATED
CANDIDATES = [candidate(FORECAST)]
SAME_TOOL, SAME_PROVIDER, SAME_CATEGORY = FORECAST.name, "Weather.Quietcloud.Radar", "Weather.Other.Forecast"


def build(history: tuple[Interaction, ...], **given: Json) -> Prompt:
    return builder("labelled-1", budget=1_500).build("Rain?", RATED, history, CANDIDATES, **given)


def said(prompt: Prompt) -> Read:
    return read(prompt, format_named("labelled-1"))


def numbers(prompt: Prompt) -> list[int]:
    """Of `interaction(number)`."""
    return [int(item["instruction"].split("town ")[1].rstrip("?")) for item in said(prompt).history or []]


def test_without_relevant_interactions_the_most_recent_are_kept() -> None:
    prompt = build(tuple(interaction(number, "Maps.Any.Route") for number in range(500)))
    kept = numbers(prompt)
    assert 5 < len(kept) < 100
    assert kept == list(range(500 - len(kept), 500))
    assert prompt.usage.history_dropped == 500 - len(kept)


def test_the_same_tool_goes_before_the_same_provider_before_the_same_category() -> None:
    names = [SAME_CATEGORY, SAME_PROVIDER, SAME_TOOL, *["Maps.Any.Route"] * 300]
    few = build(tuple(interaction(number, name) for number, name in enumerate(names)))
    assert numbers(few)[:3] == [0, 1, 2]
    assert len(numbers(few)) > 5
    many = [SAME_TOOL] * 100 + [SAME_PROVIDER] * 100 + [SAME_CATEGORY] * 100 + ["Maps.Any.Route"] * 100
    kept = numbers(build(tuple(interaction(number, name) for number, name in enumerate(many))))
    relevant = [number for number in kept if number < 300]
    assert set(relevant) == set(range(100 - len(relevant), 100))
    assert abs(len(relevant) - len(kept) / 2) <= 2


def test_a_provider_or_category_whose_name_only_begins_the_same_is_another() -> None:
    names = ["Weather.Quietcloud Pro.Radar", "Weathering.Any.Steel", *["Maps.Any.Route"] * 300]
    kept = numbers(build(tuple(interaction(number, name) for number, name in enumerate(names))))
    assert 0 in kept  # the same category, though not the same provider
    assert 1 not in kept


def test_given_relevance_goes_before_names() -> None:
    history = tuple(interaction(number, SAME_TOOL if number == 3 else "Maps.Any.Route") for number in range(400))
    relevance = [float("nan") if number % 2 else -1.0 for number in range(400)]
    relevance[7], relevance[11], relevance[13] = 0.2, 0.9, float("inf")
    assert numbers(build(history, relevance=relevance))[:3] == [7, 11, 13]
    assert 3 not in numbers(build(history, relevance=relevance))
    relevance[20:200] = [0.5] * 180
    kept = numbers(build(history, relevance=relevance))
    assert {11, 13} <= set(kept)
    assert 7 not in kept
    middle = [number for number in kept if 20 <= number < 200]
    assert middle == list(range(200 - len(middle), 200))


def test_room_that_recent_interactions_cannot_use_goes_to_relevant_ones() -> None:
    long = {"note": "very long " * 100}
    history = tuple(interaction(number, SAME_TOOL) for number in range(60)) + tuple(
        replace(interaction(number, "Maps.Any.Route"), tool_call=ToolCall("Maps.Any.Route " + "x " * 400, long))
        for number in range(60, 80)
    )
    kept = numbers(build(history))
    assert len(kept) > 10
    assert max(kept) < 60


@pytest.mark.parametrize("name", FORMATS)
def test_a_huge_interaction_is_shortened_but_not_in_its_tool_or_rating(name: str) -> None:
    huge: dict[str, Json] = {
        "text": "long text " * 10_000,
        "list": list(range(10_000)),
        "map": {f"key {number}": "x" for number in range(10_000)},
        "number": 10**10_000,
        "nan": float("nan"),
        "deep": [[[[[[[[[[1]]]]]]]]]],
    }
    past = Interaction(
        "Summarise " + "this " * 50_000, ToolCall("Text." + "y" * 300 + ".z", huge), START, Rating.DISLIKED
    )
    prompt = builder(name).build("Rain?", RATED, (interaction(1), past, interaction(2)), CANDIDATES)
    seen = read(prompt, format_named(name))
    assert seen.called[1] == (past.tool_call.tool_name, "disliked")
    assert len(seen.called) == 3
    item = (seen.history or [])[1]
    assert item["instruction"].startswith("Summarise this")
    assert item["instruction"].endswith("…")
    assert prompt.usage.history < 4_000 // 8 + 300


def test_short_interactions_lose_nothing_beside_a_huge_one() -> None:
    normal = interaction(1, "Maps.Any.Route", Rating.LIKED, stops=["a", "b"], options={"tolls": False, "max": 2.5})
    huge = interaction(2, "Maps.Any.Route", to="x " * 50_000)
    item = (said(build((normal, huge))).history or [])[0]
    assert item == {
        "rating": "liked",
        "instruction": normal.instruction,
        "tool_name": normal.tool_call.tool_name,
        "parameters": normal.tool_call.parameters,
    }


def test_a_tool_name_that_no_prompt_has_room_for_drops_its_interaction_alone() -> None:
    endless = interaction(2, "Maps.Any." + "route " * 20_000)
    prompt = build((interaction(1), endless, interaction(3)))
    assert numbers(prompt) == [1, 3]
    assert prompt.usage.history_dropped == 1


def test_where_no_interaction_fits_the_history_is_not_even_headed() -> None:
    prompt = build((interaction(2, "Maps.Any." + "route " * 20_000),))
    assert said(prompt).history is None
    assert (prompt.usage.history, prompt.usage.history_kept, prompt.usage.history_dropped) == (0, 0, 1)
    assert "History, " not in prompt.messages[-1]["content"]


def test_what_was_prepared_is_not_encoded_again() -> None:
    class Counting(PromptTokenizer):
        texts = 0

        def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
            Counting.texts += len(texts)
            return super().encode_batch(texts)

    built = PromptBuilder(Counting(KINDS["tiny"]()), format_named("labelled-1"))
    history = tuple(interaction(number, "Maps.Any.Route") for number in range(2_000))
    built.build("Rain?", RATED, (), CANDIDATES)
    before = Counting.texts
    built.prepare(RATED, history)
    prepared = Counting.texts - before
    assert 20 < prepared < 400  # not all 2,000: no prompt has room for them
    built.build("Snow?", RATED, history, CANDIDATES)
    once = Counting.texts
    assert once - before - prepared < 10  # heading, instruction, documents
    built.build("Snow?", RATED, history, CANDIDATES)
    built.build("Snow?", RATED, tuple(replace(each) for each in history), CANDIDATES)
    assert Counting.texts == once


def test_interactions_are_written_as_one_line_of_json_each() -> None:
    prompt = build(tuple(interaction(number, rating=Rating.LIKED, text="a\nb\u2028c") for number in range(3)))
    lines = [line for line in prompt.messages[-1]["content"].splitlines() if line.startswith('{"rating"')]
    assert [json.loads(line)["parameters"] for line in lines] == [{"text": "a\nb\u2028c"}] * 3
