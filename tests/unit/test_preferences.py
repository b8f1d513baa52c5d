"""The preference ranker on small vectors that say what they mean."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from numpy.typing import NDArray

from app.domain import HistorySetting, Interaction, Parameter, Rating, Tool, ToolCall
from app.retrieval.functional_fit import functional_fit
from app.retrieval.preferences import PreferenceRanker, Profile, ToolSignature, applied_setting
from app.retrieval.snapshot import Retrieved

START = datetime(2026, 1, 1, tzinfo=UTC)
LIKED, DISLIKED = Rating.LIKED, Rating.DISLIKED


def tool(name: str, provider: str = "", *parameters: str) -> Tool:
    own = tuple(Parameter(parameter, {"type": "string"}, required=True) for parameter in parameters)
    return Tool(name, "Category", provider or name, name, "", own)


def unit(*values: float) -> NDArray[np.float32]:
    vector = np.array(values, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


QUIET, LOUD, OTHER = tool("quiet"), tool("loud"), tool("other")
# First coordinate: the job; second: quiet or loud.
VECTORS = {"quiet": unit(1, 0.5), "loud": unit(1, -0.5), "other": unit(1, 0)}
OLD_QUIET, OLD_LOUD = tool("old-quiet"), tool("old-loud")
SIGNATURES = {
    name: ToolSignature(name, name, vector)
    for name, vector in {**VECTORS, "old-quiet": unit(0, 1), "old-loud": unit(0, -1)}.items()
}


def history(*items: tuple[Tool, Rating | None]) -> list[Interaction]:
    return [
        Interaction("something", ToolCall(used.name, {}), START + timedelta(days=day), rating, id=day)
        for day, (used, rating) in enumerate(items)
    ]


def profile(setting: HistorySetting, *items: tuple[Tool, Rating | None]) -> Profile:
    return PreferenceRanker().profile(setting, history(*items), SIGNATURES)


def ranked(given: Profile, tools: Sequence[Tool] = (QUIET, LOUD, OTHER), fit: Sequence[float] = ()) -> list[str]:
    vectors = np.stack([VECTORS[each.name] for each in tools])
    fit = fit or [0.5] * len(tools)
    return [candidate.tool.name for candidate in PreferenceRanker().rank(fit, tools, vectors, given)]


def test_without_history_relevance_alone_decides() -> None:
    assert ranked(profile(HistorySetting.AUTO), fit=[0.2, 0.6, 0.4]) == ["loud", "other", "quiet"]


def test_a_taste_shown_with_other_tools_carries_over() -> None:
    assert ranked(profile(HistorySetting.PREFERRED_ONLY, (OLD_LOUD, None))) == ["loud", "other", "quiet"]


def test_disliking_one_kind_prefers_the_other() -> None:
    assert ranked(profile(HistorySetting.RATING_INTEGRATED, (OLD_LOUD, DISLIKED)))[0] == "quiet"


def test_a_disliked_tool_gives_way_to_one_that_does_the_same() -> None:
    given = profile(HistorySetting.AUTO, (OLD_QUIET, LIKED), (OLD_QUIET, LIKED), (QUIET, DISLIKED))
    assert ranked(given)[0] != "quiet"


def test_preferred_only_leaves_dislikes_out() -> None:
    given = profile(HistorySetting.PREFERRED_ONLY, (OLD_LOUD, DISLIKED), (OLD_QUIET, LIKED))
    assert [item.tool_call.tool_name for item in given.interactions] == ["old-quiet"]


def test_in_chronological_the_later_counts_more_and_in_rating_integrated_it_does_not() -> None:
    items = [(OLD_QUIET, None)] * 5 + [(OLD_LOUD, None)] * 3
    assert ranked(profile(HistorySetting.CHRONOLOGICAL, *items))[0] == "loud"
    assert ranked(profile(HistorySetting.RATING_INTEGRATED, *items))[0] == "quiet"


def test_preference_does_not_choose_a_tool_that_does_not_do_the_job() -> None:
    given = profile(HistorySetting.PREFERRED_ONLY, *[(QUIET, LIKED)] * 20)
    assert ranked(given, fit=[0.3, 0.8, 0.8])[0] != "quiet"


def test_liking_one_tool_of_a_provider_does_not_displace_its_tool_that_fits_better() -> None:
    week, days = tool("week", "Sky"), tool("days", "Sky")
    vectors = np.stack([unit(1, 0.2), unit(1, 0.1)])
    signatures = {"week": ToolSignature("week", "Sky", vectors[0])}
    given = PreferenceRanker().profile(HistorySetting.AUTO, history(*[(week, LIKED)] * 5), signatures)
    best = PreferenceRanker().rank([0.75, 0.8], [week, days], vectors, given)[0]
    assert best.tool.name == "days"


def test_disliking_it_does_displace_a_tool_for_its_providers_next_one() -> None:
    week, days = tool("week", "Sky"), tool("days", "Sky")
    vectors = np.stack([unit(1, 0.1), unit(1, 0.1)])
    signatures = {"days": ToolSignature("days", "Sky", vectors[1])}
    given = PreferenceRanker().profile(HistorySetting.AUTO, history((days, DISLIKED)), signatures)
    assert PreferenceRanker().rank([0.78, 0.8], [week, days], vectors, given)[0].tool.name == "week"


def test_interactions_with_unknown_tools_do_not_count() -> None:
    assert profile(HistorySetting.AUTO, (tool("gone"), LIKED)).setting is HistorySetting.NONE


def test_evidence_names_what_moved_the_choice_strongest_first() -> None:
    given = profile(HistorySetting.AUTO, (OLD_LOUD, DISLIKED), (OLD_QUIET, LIKED), (QUIET, LIKED))
    vectors = np.stack([VECTORS[name] for name in ("quiet", "loud", "other")])
    evidence = PreferenceRanker().evidence(0, [0.5] * 3, (QUIET, LOUD, OTHER), vectors, given)
    effects = [abs(item.effect) for item in evidence]
    assert effects == sorted(effects, reverse=True)
    assert {item.interaction.id: item.reason for item in evidence} == {
        0: "similar_attributes",
        1: "similar_attributes",
        2: "same_tool",
    }
    assert all(item.effect > 0 for item in evidence)


def test_the_parts_that_evidence_names_add_up_to_the_preference() -> None:
    given = profile(HistorySetting.AUTO, (OLD_LOUD, DISLIKED), (OLD_QUIET, LIKED), (OLD_LOUD, None))
    vectors = np.stack([VECTORS[name] for name in ("quiet", "loud", "other")])
    chosen = PreferenceRanker().rank([0.5] * 3, (QUIET, LOUD, OTHER), vectors, given)[0]
    evidence = PreferenceRanker().evidence(0, [0.5] * 3, (QUIET, LOUD, OTHER), vectors, given)
    assert chosen.tool is QUIET
    assert sum(item.effect for item in evidence) == pytest.approx(chosen.preference, abs=0.01)


def test_preferences_stay_between_minus_one_and_one() -> None:
    for rating in (LIKED, DISLIKED):
        given = profile(HistorySetting.AUTO, *[(QUIET, rating)] * 50)
        vectors = np.stack([VECTORS[name] for name in ("quiet", "loud", "other")])
        candidates = PreferenceRanker().rank([0.5] * 3, (QUIET, LOUD, OTHER), vectors, given)
        assert all(-1 <= candidate.preference <= 1 for candidate in candidates)


@pytest.mark.parametrize(
    ("ratings", "setting"),
    [
        ([], HistorySetting.NONE),
        ([LIKED], HistorySetting.PREFERRED_ONLY),
        ([LIKED, DISLIKED, None], HistorySetting.RATING_INTEGRATED),
        ([LIKED, None], HistorySetting.CHRONOLOGICAL),
    ],
)
def test_auto_is_decided_by_what_the_history_holds(ratings: list[Rating | None], setting: HistorySetting) -> None:
    items = history(*[(QUIET, rating) for rating in ratings])
    assert applied_setting(HistorySetting.AUTO, items) is setting


def found(*items: tuple[Tool, float]) -> list[Retrieved]:
    return [Retrieved(each, relevance, relevance, relevance, row) for row, (each, relevance) in enumerate(items)]


def test_tools_of_the_same_functionality_share_their_relevance() -> None:
    fit = functional_fit(found((tool("a", "A", "city"), 0.8), (tool("b", "B", "city"), 0.4)))
    assert fit[0] - fit[1] == pytest.approx(0.04)


def test_other_parameters_or_none_at_all_share_nothing() -> None:
    items = found((tool("a", "A", "city"), 0.8), (tool("b", "B", "text"), 0.4), (tool("c"), 0.3), (tool("d"), 0.2))
    assert functional_fit(items) == [0.8, 0.4, 0.3, 0.2]


def test_of_one_provider_only_the_best_tool_stands_for_the_functionality() -> None:
    images, web, rival = tool("images", "A", "query"), tool("web", "A", "query"), tool("rival", "B", "query")
    fit = functional_fit(found((web, 0.8), (images, 0.5), (rival, 0.6)))
    assert fit[1] == 0.5
    assert fit[2] > 0.6
