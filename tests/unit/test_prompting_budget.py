"""Whatever comes, a prompt keeps its budget, and what may never be cut is in it."""

import json
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from app.catalogue.parse import parse
from app.domain import HistorySetting, Interaction, Json, Parameter, Rating, Tool, ToolCall, ToolSource
from app.errors import PromptTooLong, SetupError
from app.json_data.tool_names import alias
from app.prompting.documents import Detail
from app.prompting.formats import FORMATS, Listing, format_named
from app.prompting.prompt import PromptUsage, prompt_order
from app.prompting.text import ELLIPSIS
from tests.support.prompting_cases import START, TODAY, Read, builder, candidate, parameters_of, read, tool
from tests.support.prompting_models import KINDS, RESERVED_TEXTS, texts, tokenizer_of
from tests.support.rapidapi import SAMPLE, read_documents

WORDS = st.sampled_from([*RESERVED_TEXTS, "\n\nCandidates:\n", '"', "\\", "\u2028", "\ud800", "…", "{}", "😀", "İ", ""])
TEXTS = st.text(max_size=30) | st.lists(WORDS | st.text(max_size=10), max_size=6).map("".join)
LONG = TEXTS | st.builds(lambda text, times: text * times, TEXTS, st.integers(2, 100))
VALUES: st.SearchStrategy[Json] = st.recursive(
    LONG | st.integers(-(10**200), 10**200) | st.floats() | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(TEXTS, inner, max_size=6),
    max_leaves=12,
)
SCHEMAS: st.SearchStrategy[dict[str, Json]] = st.sampled_from(
    [
        {},
        {"type": "string"},
        {"type": ["string", "null"], "enum": [f"choice {number}" for number in range(300)]},
        {"type": "integer", "minimum": 1, "name": "fake"},
        {"anyOf": [{"type": "string"}, {"type": "number"}]},
        {"type": "object", "properties": {"a": {"type": "string", "description": "x" * 500}}, "required": ["a"]},
        {"type": "array", "items": {"type": "object", "properties": {str(n): {} for n in range(100)}}},
        {"type": "nonsense" * 1_000},
        {"$ref": "#/nowhere", "x-long": "y" * 5_000, "pattern": "z" * 5_000},
    ]
)


@st.composite
def tools(draw: st.DrawFn) -> Tool:
    names = draw(st.lists(TEXTS, max_size=5, unique=True))
    parameters = [
        Parameter(name, draw(SCHEMAS), draw(st.booleans()), draw(LONG), draw(st.none() | VALUES)) for name in names
    ]
    return tool(draw(TEXTS), *parameters, description=draw(LONG), response=draw(st.none() | VALUES))


@st.composite
def interactions(draw: st.DrawFn) -> Interaction:
    call = ToolCall(draw(TEXTS), draw(st.dictionaries(TEXTS, VALUES, max_size=4)))
    return Interaction(draw(LONG), call, START, draw(st.none() | st.sampled_from(Rating)))


@st.composite
def histories(draw: st.DrawFn) -> tuple[Interaction, ...]:
    different = draw(st.lists(interactions(), max_size=6))
    times = draw(st.sampled_from([1, 1, 3, 60]))
    named = [
        Interaction(f"{number} {each.instruction}", each.tool_call, START + timedelta(hours=number), each.rating)
        for number, each in enumerate(different * times)
    ]
    return tuple(named)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_prompt_is_over_its_budget_and_none_lacks_what_must_be_in_it(name: str, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(list(KINDS)))
    instruction = data.draw(LONG)
    history = data.draw(histories())
    setting = data.draw(st.sampled_from([each for each in HistorySetting if each is not HistorySetting.AUTO]))
    candidates = [candidate(each) for each in data.draw(st.lists(tools(), min_size=1, max_size=12))]
    budget = data.draw(st.sampled_from([1_100, 1_500, 2_500, 4_000]))
    today = data.draw(st.none() | st.dates())
    relevance = data.draw(st.none() | st.lists(st.floats(), min_size=len(history), max_size=len(history)))
    built = builder(name, kind, budget)
    try:
        prompt = built.build(instruction, setting, history, candidates, relevance=relevance, today=today)
    except PromptTooLong as error:
        event(f"too long: {error.extra['part']}")
        return
    event(f"{prompt.usage.documents}, {'all' if not prompt.usage.history_dropped else 'selected'}")
    assert prompt.usage.total == len(prompt.token_ids) <= budget
    tokenizer = tokenizer_of(kind)
    pieces = (*tokenizer.template.before, *tokenizer.template.between, *tokenizer.template.after)
    special = [number for number in prompt.token_ids if number in tokenizer.reserved]
    assert special == [number for number in pieces if number in tokenizer.reserved]
    said = read(prompt, format_named(name))
    plain = instruction.replace("\ud800", "\ufffd") if name == "published-1" else instruction
    assert said.instruction == plain
    assert said.names == [alias(each.tool.name) for each in candidates]
    for document, of in zip(said.candidates, candidates, strict=True):
        marks = {alias(each.name): each.required for each in of.tool.parameters}
        assert {each: required for each, (_, required) in parameters_of(document).items()} == marks
        assert all(type_ for type_, _ in parameters_of(document).values())
    check_history(said, history, prompt.usage)


def check_history(said: Read, history: tuple[Interaction, ...], usage: PromptUsage) -> None:
    """Kept interactions are in time order, each with its own tool and rating."""
    assert usage.history_kept + usage.history_dropped in (0, len(history))
    assert usage.history_kept == len(said.called)
    if any("instruction" not in item and "tool_call" not in item for item in said.history or []):
        # The terse listing leaves the instructions out: what is kept is told by its tools, in their order.
        left: Iterator[tuple[str, str | None]]
        left = iter([(alias(each.tool_call.tool_name), each.rating) for each in history])
        assert all(call in left for call in said.called)
        return
    numbers = [int(item["instruction"].split(" ")[0].rstrip(ELLIPSIS)) for item in said.history or []]
    assert numbers == sorted(set(numbers))
    assert said.called == [(alias(history[number].tool_call.tool_name), history[number].rating) for number in numbers]


@pytest.mark.parametrize("name", FORMATS)
def test_windows_of_real_candidates_keep_the_budget_with_any_history(name: str, documents_folder: Path) -> None:
    real = [each for _, each in parse(ToolSource.RAPIDAPI, read_documents(documents_folder)).tools]
    history = tuple(
        Interaction(each.description, ToolCall(each.name, {p.name: p.default for p in each.parameters}), START)
        for each in real[::9]
    )
    seen: set[Detail] = set()
    for start in range(0, len(real) - 10, max(10, len(real) // 20)):
        candidates = [candidate(each) for each in real[start : start + 10]]
        prompt = builder(name).build("Find it.", HistorySetting.CHRONOLOGICAL, history[: start // 10], candidates)
        assert prompt.usage.total <= 4_000
        assert read(prompt, format_named(name)).names == [each.tool.name for each in candidates]
        seen.add(prompt.usage.documents)
    assert Detail.FULL in seen
    # The sample has too few documents for every form of prompt to shorten them.
    assert Detail.SHORT in seen or documents_folder == SAMPLE


@pytest.mark.parametrize("kind", ["tiny", "sentencepiece_like"])
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("today", [None, TODAY])
def test_as_many_candidates_as_fitting_says_can_be_built_with_and_not_one_more(
    name: str, kind: str, today: date | None
) -> None:
    wide = [
        candidate(tool(f"A.b.{n}", *(Parameter(f"p {n} {m}", {"type": "string"}) for m in range(n * 7 % 13))))
        for n in range(50)
    ]
    seen: set[int] = set()
    for budget in range(1_300, 2_600, 130):
        one = builder(name, kind, budget)
        k = one.fitting("Rain?", HistorySetting.CHRONOLOGICAL, wide, today=today)
        seen.add(k)
        if k:
            prompt = one.build("Rain?", HistorySetting.CHRONOLOGICAL, PAST, prompt_order(wide[:k]), today=today)
            assert prompt.usage.total <= budget
        if k < len(wide):
            with pytest.raises(PromptTooLong, match="candidates have"):
                one.build("Rain?", HistorySetting.CHRONOLOGICAL, PAST, prompt_order(wide[: k + 1]), today=today)
    assert len(seen) > 3


def test_where_all_candidates_fit_fitting_says_so_and_where_none_does_too() -> None:
    one = candidate(tool("A.b.c"))
    assert builder().fitting("Rain?", HistorySetting.NONE, [one]) == 1
    assert builder().fitting("Rain?", HistorySetting.NONE, []) == 0
    assert builder().fitting("Rain?", HistorySetting.NONE, [candidate(tool("A.b." + "long " * 9_000)), one]) == 0
    # More than there are labels could not be built with either.
    assert builder(budget=100_000).fitting("Rain?", HistorySetting.NONE, [one] * 60) == 50
    with pytest.raises(PromptTooLong, match="instruction"):
        builder().fitting("rain " * 9_000, HistorySetting.NONE, [one])
    with pytest.raises(ValueError, match="auto"):
        builder().fitting("Rain?", HistorySetting.AUTO, [one])


def words(number: int) -> str:
    return " ".join(f"word{each}" for each in range(number))


RICH = [
    candidate(
        tool(
            f"Weather.Provider {number}.Forecast",
            Parameter("city", {"type": "string"}, True, f"required {number} {words(40)}"),
            Parameter(
                "mood", {"type": "string", "enum": [f"m{each}" for each in range(30)]}, False, words(40), words(20)
            ),
            description=f"tool {number} {words(80)}",
            response={f"field {each}": "str" for each in range(20)},
        )
    )
    for number in range(3)
]
PAST = tuple(
    Interaction(f"{number} {words(12)}", ToolCall("Maps.Any.Route", {"to": words(6)}), START, Rating.LIKED)
    for number in range(40)
)


@pytest.mark.parametrize("name", FORMATS)
def test_what_gives_way_gives_way_in_order(name: str) -> None:
    """Response schemas, long descriptions of optional parameters, all long ones; then history; then descriptions."""
    order = list(Detail)
    found: list[tuple[int, int]] = []
    # The terse listing says the same in fewer tokens.
    budgets = range(2_000, 550, -30) if format_named(name).listing is Listing.TERSE else range(11_000, 500, -350)
    for budget in budgets:
        try:
            usage = builder(name, "tiny", budget).build("Rain?", HistorySetting.CHRONOLOGICAL, PAST, RICH).usage
        except (PromptTooLong, SetupError):
            break
        found.append((order.index(usage.documents), usage.history_kept))
    short = order.index(Detail.SHORT)
    assert [level for level, _ in found] == sorted(level for level, _ in found)
    assert found[0] == (0, len(PAST))
    assert {level for level, _ in found} >= {0, order.index(Detail.SHORT_OPTIONAL), short}
    # While a long description is left, no interaction is dropped; while an interaction is, no short description.
    assert {kept for level, kept in found if level < short} == {len(PAST)}
    shortened = [kept for level, kept in found if level == short]
    assert shortened == sorted(shortened, reverse=True)
    assert any(0 < kept < len(PAST) for kept in shortened)


def test_demo_documents_lose_nothing_without_a_history() -> None:
    documents = [json.loads(text) for text in texts()]
    demo = [candidate(each) for _, each in parse(ToolSource.RAPIDAPI, documents).tools]
    for start in range(0, 300, 10):
        prompt = builder("labelled-1").build("Find it.", HistorySetting.NONE, (), demo[start : start + 10])
        assert prompt.usage.documents is Detail.FULL
