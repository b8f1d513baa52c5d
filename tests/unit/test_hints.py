from datetime import UTC, datetime, timedelta

import numpy as np

from app.domain import Candidate, HistorySetting, Interaction, Rating, Tool, ToolCall
from app.retrieval.hints import interaction_relevance, with_hints
from app.retrieval.preferences import PreferenceRanker, Profile, ToolSignature, Vector

AXES: Vector = np.eye(4, dtype=np.float32)
START = datetime(2026, 1, 1, tzinfo=UTC)


def tool(name: str, provider: str = "") -> Tool:
    return Tool(name, "Weather", provider or name, name, "")


def profile(setting: HistorySetting, *uses: tuple[Tool, Vector, Rating | None]) -> Profile:
    interactions = [
        Interaction("q", ToolCall(used.name, {}), START + timedelta(days=day), rating)
        for day, (used, _, rating) in enumerate(uses)
    ]
    signatures = {used.name: ToolSignature(used.name, used.provider, vector) for used, vector, _ in uses}
    return PreferenceRanker().profile(setting, interactions, signatures)


def hinted(history: Profile, *candidates: tuple[Tool, Vector, float]) -> list[tuple[int, int, int]]:
    given = [Candidate(item, relevance, relevance) for item, _, relevance in candidates]
    hints = [item.hints for item in with_hints(given, np.stack([vector for _, vector, _ in candidates]), history)]
    return [(item.fit, item.liked, item.disliked) for item in hints if item is not None]


def test_without_history_only_the_fit_tells_candidates_apart() -> None:
    nothing = Profile(HistorySetting.NONE)
    candidates = [(tool("a"), AXES[0], 0.9), (tool("b"), AXES[1], 0.8), (tool("c"), AXES[2], 0.1)]
    assert hinted(nothing, *candidates) == [(9, 9, 9), (7, 9, 9), (0, 9, 9)]


def test_nearness_to_the_liked_and_to_the_disliked_are_ranks_of_their_own() -> None:
    history = profile(
        HistorySetting.RATING_INTEGRATED,
        (tool("liked"), AXES[0], Rating.LIKED),
        (tool("disliked"), AXES[1], Rating.DISLIKED),
    )
    near_both = (AXES[0] + AXES[1]) / np.sqrt(2, dtype=np.float32)
    candidates = [(tool("x"), AXES[0], 0.5), (tool("y"), AXES[1], 0.5), (tool("z"), near_both, 0.5)]
    assert hinted(history, *candidates) == [(9, 0, 2), (9, 2, 0), (9, 1, 1)]


def test_in_chronological_the_recent_is_liked_and_the_old_left_behind() -> None:
    uses = [(tool(f"old-{n}"), AXES[0], None) for n in range(4)] + [(tool(f"new-{n}"), AXES[1], None) for n in range(4)]
    history = profile(HistorySetting.CHRONOLOGICAL, *uses)
    assert hinted(history, (tool("x"), AXES[0], 0.5), (tool("y"), AXES[1], 0.5)) == [(9, 1, 0), (9, 0, 1)]


def test_the_very_tool_and_its_provider_are_nearer_than_a_mere_likeness() -> None:
    history = profile(HistorySetting.PREFERRED_ONLY, (tool("used", "Acme"), AXES[0], None))
    candidates = [(tool("other"), AXES[0], 0.5), (tool("sibling", "ACME"), AXES[0], 0.5), (tool("used"), AXES[0], 0.5)]
    assert [liked for _, liked, _ in hinted(history, *candidates)] == [2, 1, 0]


def test_equals_share_the_better_rank() -> None:
    history = profile(HistorySetting.PREFERRED_ONLY, (tool("used"), AXES[0], None))
    candidates = [(tool("a"), AXES[1], 0.5), (tool("b"), AXES[0], 0.5), (tool("c"), AXES[2], 0.5)]
    assert [liked for _, liked, _ in hinted(history, *candidates)] == [1, 0, 1]


def test_every_hint_is_one_digit_however_many_the_candidates() -> None:
    history = profile(HistorySetting.PREFERRED_ONLY, (tool("used"), AXES[0], None))
    turned = [np.array([np.cos(n / 40), np.sin(n / 40), 0, 0], np.float32) for n in range(50)]
    told = hinted(history, *[(tool(str(n)), vector, 1 - n / 50) for n, vector in enumerate(turned)])
    assert all(0 <= digit <= 9 for hints in told for digit in hints)
    assert [liked for _, liked, _ in told][:12] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9]


def test_an_interaction_is_as_relevant_as_its_nearest_candidate() -> None:
    history = profile(
        HistorySetting.CHRONOLOGICAL, (tool("a"), AXES[0], None), (tool("b"), AXES[1], None), (tool("c"), AXES[3], None)
    )
    assert interaction_relevance(AXES[[0, 2]], history) == [1.0, 0.0, 0.0]
    assert interaction_relevance(AXES[[0, 2]], Profile(HistorySetting.NONE)) == []
