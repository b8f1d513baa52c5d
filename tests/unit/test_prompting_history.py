"""Which interactions a prompt has when not all of them fit, and how each is written."""

import json
import weakref
from collections.abc import Sequence
from dataclasses import replace

import pytest

from app.domain import Candidate, HistorySetting, Interaction, Json, Rating, ToolCall
from app.prompting.builder import PromptBuilder
from app.prompting.formats import FORMATS, Listing, format_named
from app.prompting.history import TTL, HistoryCache, InteractionWriter
from app.prompting.prompt import Prompt
from app.prompting.text import Segment, SegmentEncoder
from app.prompting.tokenizer import PromptTokenizer
from tests.support.prompting_cases import FORECAST, START, Read, builder, candidate, interaction, read, tool
from tests.support.prompting_models import KINDS, tokenizer_of

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
    if format_named(name).listing is Listing.TERSE:
        assert item == {"rating": "disliked", "tool_name": past.tool_call.tool_name}
    else:
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


class Counting(PromptTokenizer):
    texts = 0

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        self.texts += len(texts)
        return super().encode_batch(texts)


def test_what_was_encoded_is_not_encoded_again() -> None:
    tokenizer = Counting(KINDS["tiny"]())
    built = PromptBuilder(tokenizer, format_named("labelled-1"))
    history = tuple(interaction(number, "Maps.Any.Route") for number in range(2_000))
    built.build("Rain?", RATED, (), CANDIDATES)
    before = tokenizer.texts
    built.build("Snow?", RATED, history, CANDIDATES)
    once = tokenizer.texts
    assert 20 < once - before < 400  # not all 2,000: no prompt has room for them
    built.build("Snow?", RATED, history, CANDIDATES)
    built.build("Snow?", RATED, tuple(replace(each) for each in history), CANDIDATES)
    assert tokenizer.texts == once


@pytest.mark.parametrize("size", [3, 2_000])
@pytest.mark.parametrize("given_relevance", [False, True])
@pytest.mark.parametrize("name", FORMATS)
def test_a_build_that_is_said_to_be_quick_encodes_hardly_anything(name: str, given_relevance: bool, size: int) -> None:
    tokenizer = Counting(KINDS["tiny"]())
    built = PromptBuilder(tokenizer, format_named(name))
    history = tuple(interaction(number, SAME_TOOL if number < 900 else "Maps.Any.Route") for number in range(size))
    relevance = [float(number % 7) for number in range(size)] if given_relevance else None
    other = [candidate(tool("Maps.Any.Route", description="long " * 300))]

    def encoded(instruction: str, interactions: tuple[Interaction, ...], candidates: list[Candidate]) -> int:
        before = tokenizer.texts
        built.build(instruction, RATED, interactions, candidates, relevance=relevance)
        return tokenizer.texts - before

    def quick(interactions: tuple[Interaction, ...], candidates: list[Candidate]) -> bool:
        before = tokenizer.texts
        said = built.is_quick(RATED, interactions, candidates, relevance=relevance)
        assert tokenizer.texts == before
        return said

    assert not quick(history, CANDIDATES)
    assert encoded("Rain?", history, CANDIDATES) > 3
    assert quick(history, CANDIDATES)
    assert encoded("Snow?", history, CANDIDATES) <= 1  # the instruction
    assert not quick(history, other)
    built.build("Rain?", RATED, (), other)
    encoded("Rain?", history, other)
    assert quick(history, other)
    assert encoded("Snow?", history, other) <= 1
    assert not quick(tuple(replace(each) for each in history), CANDIDATES)


def test_a_build_whose_relevant_interactions_were_never_written_is_not_quick() -> None:
    built = PromptBuilder(Counting(KINDS["tiny"]()), format_named("labelled-1"))
    history = tuple(interaction(number, SAME_TOOL if number < 50 else "Maps.Any.Route") for number in range(2_000))
    elsewhere = [candidate(tool("Jokes.Any.Joke"))]
    built.build("Rain?", RATED, history, elsewhere)
    built.build("Rain?", RATED, (), CANDIDATES)
    assert built.is_quick(RATED, history, elsewhere)
    assert not built.is_quick(RATED, history, CANDIDATES)
    assert built.is_quick(RATED, (), CANDIDATES)
    assert built.is_quick(HistorySetting.NONE, history, CANDIDATES)


def test_users_texts_leave_the_memory_after_an_hour_however_often_they_are_used() -> None:
    now = [0.0]
    encoder = SegmentEncoder(tokenizer_of("tiny"), 1 << 20, ttl=TTL, timer=lambda: now[0])
    writer = InteractionWriter(encoder, format_named("labelled-1"), 500)
    histories = HistoryCache(writer, 0, timer=lambda: now[0])
    erased = (interaction(1),)
    history = histories.get(erased)
    held = weakref.ref(history), weakref.ref(encoder.encode("An erased user's text.").ids)
    assert histories.get(erased) is history
    del history
    for now[0] in (TTL - 2.0, TTL - 1.0):
        assert histories.get(erased) is held[0]()
        assert encoder.encode("An erased user's text.").ids is held[1]()
    now[0] = TTL + 1.0
    assert histories.cached(()) is None  # somebody else's call
    encoder.encode("Another text.")
    assert [each() for each in held] == [None, None]


def test_an_instruction_is_kept_only_with_users_texts() -> None:
    built = PromptBuilder(tokenizer_of("tiny"), format_named("labelled-1"))
    lasting: list[str] = []

    def note(texts: Sequence[str]) -> list[Segment]:
        lasting.extend(texts)
        return SegmentEncoder.encode_all(built._encoder, texts)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(built._encoder, "encode_all", note)
        built.build("A secret question?", RATED, (interaction(1, "A.b.c", note="a secret"),), CANDIDATES)
    assert lasting
    assert not [text for text in lasting if "secret" in text or "town 1" in text]


def test_interactions_are_written_as_one_line_of_json_each() -> None:
    prompt = build(tuple(interaction(number, rating=Rating.LIKED, text="a\nb\u2028c") for number in range(3)))
    lines = [line for line in prompt.messages[-1]["content"].splitlines() if line.startswith('{"rating"')]
    assert [json.loads(line)["parameters"] for line in lines] == [{"text": "a\nb\u2028c"}] * 3
