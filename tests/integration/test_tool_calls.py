"""POST /users/{id}/tool-call over HTTP, on real PostgreSQL and the real embedding model."""

from typing import Any

import httpx
import pytest

from tests.support.catalogue import (
    MIRANDEX_WEATHER,
    QUIET_SEARCH,
    QUIET_TRANSLATE,
    QUIET_WEATHER,
    TINKLE_SEARCH,
    TINKLE_TRANSLATE,
    TINKLE_WEATHER,
)
from tests.support.steps import ASK, add_history, call, interaction


def test_a_new_user_gets_a_tool_that_does_the_job_with_parameters_from_the_instruction(
    client: httpx.Client, user: str
) -> None:
    answer = call(client, user)
    assert answer["tool_call"]["tool_name"].startswith("Weather.")
    assert answer["tool_call"]["parameters"] == {"city": "Lisbon"}
    assert answer["history_setting"] == "none"
    assert answer["evidence"] == []
    assert answer["missing_parameters"] == []


def test_the_answer_is_marked_as_degraded_with_its_reason(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    assert answer["degraded"] is True
    assert answer["degraded_reason"]["reason"] == "no_engine"


def test_users_who_used_different_tools_get_different_tools_for_a_job_they_never_asked_for(
    client: httpx.Client, user: str
) -> None:
    quiet, tinkle = f"{user}-quiet", f"{user}-tinkle"
    text = {"text": "x", "target_language": "y"}
    add_history(client, quiet, interaction(QUIET_SEARCH, query="x"), interaction(QUIET_TRANSLATE, **text))
    add_history(client, tinkle, interaction(TINKLE_SEARCH, query="x"), interaction(TINKLE_TRANSLATE, **text))
    assert call(client, quiet)["tool_call"]["tool_name"] == QUIET_WEATHER
    assert call(client, tinkle)["tool_call"]["tool_name"] == TINKLE_WEATHER


def test_the_evidence_names_the_interactions_that_moved_the_choice(client: httpx.Client, user: str) -> None:
    add_history(client, user, interaction(MIRANDEX_WEATHER, "liked", city="Rome"))
    answer = call(client, user)
    assert answer["tool_call"]["tool_name"] == MIRANDEX_WEATHER
    strongest = answer["evidence"][0]
    assert (strongest["tool_name"], strongest["rating"], strongest["reason"]) == (
        MIRANDEX_WEATHER,
        "liked",
        "same_tool",
    )
    assert strongest["effect"] > 0


@pytest.mark.parametrize(
    ("ratings", "setting"),
    [
        (["liked", "disliked"], "rating_integrated"),
        (["liked", "liked"], "preferred_only"),
        ([None, "liked"], "chronological"),
        ([None, None], "chronological"),
    ],
)
def test_auto_takes_the_setting_from_what_the_history_holds(
    client: httpx.Client, user: str, ratings: list[str | None], setting: str
) -> None:
    for number, rating in enumerate(ratings):
        add_history(client, user, interaction(QUIET_WEATHER, rating, f"2026-05-0{number + 1}T10:00:00Z", city="Rome"))
    assert call(client, user)["history_setting"] == setting


def test_setting_none_ignores_the_history(client: httpx.Client, user: str) -> None:
    add_history(client, user, interaction(MIRANDEX_WEATHER, "liked", city="Rome"))
    personal, plain = call(client, user), call(client, user, history_setting="none")
    stranger = call(client, f"{user}-stranger")
    assert personal["tool_call"]["tool_name"] == MIRANDEX_WEATHER
    assert plain["tool_call"] == stranger["tool_call"]
    assert plain["history_setting"] == "none"


def test_in_chronological_the_recent_taste_wins_over_the_old_one(client: httpx.Client, user: str) -> None:
    old = [interaction(TINKLE_WEATHER, None, f"2026-01-0{day}T10:00:00Z", city="Rome") for day in range(1, 5)]
    new = [interaction(QUIET_WEATHER, None, f"2026-06-0{day}T10:00:00Z", city="Rome") for day in range(1, 5)]
    add_history(client, user, *new, *old)
    assert call(client, user, history_setting="chronological")["tool_call"]["tool_name"] == QUIET_WEATHER


def test_only_the_named_candidates_are_considered(client: httpx.Client, user: str) -> None:
    answer = call(client, user, candidates=[TINKLE_WEATHER, MIRANDEX_WEATHER])
    assert {item["tool_name"] for item in answer["candidates"]} == {TINKLE_WEATHER, MIRANDEX_WEATHER}


def test_unknown_candidates_are_listed(client: httpx.Client, user: str) -> None:
    answer = client.post(
        f"/users/{user}/tool-call", json={"instruction": ASK, "candidates": [QUIET_WEATHER, "No.Such.Tool"]}
    )
    assert answer.status_code == 422
    assert answer.json()["unknown"] == ["No.Such.Tool"]


def openai_tool(name: str, description: str, **properties: Any) -> Any:
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def test_tools_of_the_callers_own_are_enough(client: httpx.Client, user: str) -> None:
    tools = [
        openai_tool("play_song", "Play a song by its title.", title={"type": "string"}),
        openai_tool("weather_now", "Current weather of a city.", city={"type": "string"}),
    ]
    answer = call(client, user, tools=tools)
    assert answer["tool_call"] == {"tool_name": "weather_now", "parameters": {"city": "Lisbon"}}
    assert answer["tool_calls"][0]["function"] == {"name": "weather_now", "arguments": '{"city": "Lisbon"}'}


def test_feedback_on_a_tool_of_the_callers_own_counts_the_next_time(client: httpx.Client, user: str) -> None:
    city = {"type": "string"}
    tools = [openai_tool(name, "Current weather of a city.", city=city) for name in ("meteo_one", "meteo_two")]
    first = call(client, user, tools=tools)
    client.post("/feedback", json={"call_id": first["call_id"], "rating": "disliked"}).raise_for_status()
    second = call(client, user, tools=tools)
    assert second["tool_call"]["tool_name"] != first["tool_call"]["tool_name"]


def test_a_broken_inline_tool_is_named_with_the_reason(client: httpx.Client, user: str) -> None:
    answer = client.post(f"/users/{user}/tool-call", json={"instruction": ASK, "tools": [{"type": "function"}]})
    assert answer.status_code == 422
    assert answer.json()["rejected"][0]["index"] == 0


def test_no_more_candidates_than_asked_for(client: httpx.Client, user: str) -> None:
    assert len(call(client, user, n_candidates=2)["candidates"]) == 2


def test_candidates_come_best_first_and_the_first_is_called(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    scores = [item["score"] for item in answer["candidates"]]
    assert scores == sorted(scores, reverse=True)
    assert answer["candidates"][0]["tool_name"] == answer["tool_call"]["tool_name"]


def test_a_dry_run_leaves_no_trace(client: httpx.Client, user: str) -> None:
    answer = call(client, user, dry_run=True)
    assert client.post("/feedback", json={"call_id": answer["call_id"], "rating": "liked"}).status_code == 404
    assert client.get(f"/users/{user}/history").status_code == 404


def test_a_caller_who_wants_a_model_or_nothing_gets_503_with_retry_after(client: httpx.Client, user: str) -> None:
    answer = client.post(f"/users/{user}/tool-call", json={"instruction": ASK, "allow_degraded": False})
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["type"] == "urn:petool:problem:model-unavailable"


@pytest.mark.parametrize("instruction", ["", "   ", "\n\t", "\u200b \u00a0", "x" * 8001])
def test_empty_and_overlong_instructions_are_422(client: httpx.Client, user: str, instruction: str) -> None:
    answer = client.post(f"/users/{user}/tool-call", json={"instruction": instruction})
    assert answer.status_code == 422
    assert "nstruction" in answer.json()["detail"]


@pytest.mark.parametrize("instruction", ["🌦️", "…", "天気 リスボン", "Ω" * 500, "a\u0301" * 200, "\u202eweather\u202c"])
def test_odd_text_is_answered(client: httpx.Client, user: str, instruction: str) -> None:
    assert call(client, user, instruction)["tool_call"]["tool_name"]


def test_the_same_state_gives_the_same_answer(client: httpx.Client, user: str) -> None:
    add_history(client, user, interaction(QUIET_WEATHER, "liked", city="Rome"))
    first, second = call(client, user), call(client, user)
    for field in ("tool_call", "candidates", "evidence", "history_setting", "usage"):
        assert first[field] == second[field]
