"""POST /feedback over HTTP: what it stores, and what it changes."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.support.catalogue import QUIET_WEATHER, TINKLE_WEATHER
from tests.support.steps import ASK, add_history, call, feedback, history, interaction, ok, problem

CORRECTION = {"tool_name": TINKLE_WEATHER, "parameters": {"city": "Lisbon"}}


def exported_feedback(client: httpx.Client, user: str) -> list[Any]:
    lines = [json.loads(line) for line in client.get(f"/users/{user}/export").text[:-1].split("\n")]
    return [line["feedback"] for line in lines if line["kind"] == "call"]


def test_a_rated_call_is_in_the_history_at_once(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    assert history(client, user) == []
    receipt = feedback(client, answer["call_id"], "liked", comment="Just right.")
    assert receipt == {"call_id": answer["call_id"], "user_id": user, "rating": "liked"}
    (stored,) = history(client, user)
    assert stored.pop("id") > 0
    assert stored == {
        "instruction": ASK,
        "tool_call": answer["tool_call"],
        "rating": "liked",
        "occurred_at": answer["created_at"],
        "call_id": answer["call_id"],
    }
    assert exported_feedback(client, user)[0]["comment"] == "Just right."


def test_a_call_without_feedback_is_not_history(client: httpx.Client, user: str) -> None:
    call(client, user)
    again = call(client, user)
    assert (again["history_setting"], again["evidence"]) == ("none", [])


def test_the_same_feedback_again_changes_nothing(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    receipts = [feedback(client, answer["call_id"], "liked", corrected_tool_call=CORRECTION) for _ in range(3)]
    assert receipts[0] == receipts[1] == receipts[2]
    assert len(history(client, user)) == 2
    assert len(exported_feedback(client, user)) == 1


def test_the_latest_feedback_wins(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    feedback(client, answer["call_id"], "liked", comment="Nice")
    feedback(client, answer["call_id"], "disliked")
    (stored,) = history(client, user)
    assert stored["rating"] == "disliked"
    (kept,) = exported_feedback(client, user)
    assert (kept["rating"], kept["comment"]) == ("disliked", None)


def test_a_dislike_changes_the_next_answer_and_taking_it_back_restores_it(client: httpx.Client, user: str) -> None:
    first = call(client, user)
    feedback(client, first["call_id"], "disliked")
    second = call(client, user)
    assert second["tool_call"]["tool_name"] != first["tool_call"]["tool_name"]
    assert second["evidence"][0]["rating"] == "disliked"
    feedback(client, first["call_id"], "liked")
    assert call(client, user)["tool_call"] == first["tool_call"]


def test_a_correction_is_a_call_the_user_would_have_liked(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    assert answer["tool_call"]["tool_name"] != TINKLE_WEATHER
    feedback(client, answer["call_id"], "disliked", corrected_tool_call=CORRECTION)
    corrected, served = history(client, user)
    assert (corrected["tool_call"], corrected["rating"]) == (CORRECTION, "liked")
    assert (served["tool_call"], served["rating"]) == (answer["tool_call"], "disliked")
    assert corrected["call_id"] == served["call_id"] == answer["call_id"]
    assert datetime.fromisoformat(corrected["occurred_at"]) > datetime.fromisoformat(served["occurred_at"])
    assert call(client, user)["tool_call"]["tool_name"] == TINKLE_WEATHER


def test_a_correction_goes_when_later_feedback_lacks_it(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    feedback(client, answer["call_id"], "disliked", corrected_tool_call=CORRECTION)
    feedback(client, answer["call_id"], "disliked")
    assert [item["tool_call"] for item in history(client, user)] == [answer["tool_call"]]
    assert exported_feedback(client, user)[0]["corrected_tool_call"] is None


def test_feedback_leaves_imported_interactions_alone(client: httpx.Client, user: str) -> None:
    add_history(client, user, interaction(QUIET_WEATHER, "liked", city="Rome"))
    (imported,) = history(client, user)
    feedback(client, call(client, user)["call_id"], "disliked")
    assert imported in history(client, user)


def test_a_correction_to_an_unknown_tool_is_422_and_stores_nothing(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    body = {"call_id": answer["call_id"], "rating": "disliked"}
    unknown = client.post("/feedback", json=body | {"corrected_tool_call": {"tool_name": "No.Such.Tool"}})
    assert problem(unknown, 422, "unknown-tools")["unknown"] == ["No.Such.Tool"]
    foreign = {"tool_name": TINKLE_WEATHER, "parameters": {"colour": "red"}}
    refused = client.post("/feedback", json=body | {"corrected_tool_call": foreign})
    assert "colour" in problem(refused, 422, "invalid-request")["detail"]
    assert history(client, user) == []
    assert exported_feedback(client, user) == [None]


def test_a_correction_may_name_one_of_the_callers_own_tools(client: httpx.Client, user: str) -> None:
    city = {"type": "object", "properties": {"city": {"type": "string"}}}
    tools = [
        {"type": "function", "function": {"name": name, "description": "Current weather.", "parameters": city}}
        for name in ("meteo_one", "meteo_two")
    ]
    answer = call(client, user, tools=tools)
    other = {"meteo_one": "meteo_two", "meteo_two": "meteo_one"}[answer["tool_call"]["tool_name"]]
    correction = {"tool_name": other, "parameters": {"city": "Lisbon"}}
    feedback(client, answer["call_id"], "disliked", corrected_tool_call=correction)
    assert history(client, user)[0]["tool_call"] == correction
    assert call(client, user, tools=tools)["tool_call"]["tool_name"] == other


def test_feedback_on_a_call_nobody_made_is_404(client: httpx.Client) -> None:
    answer = client.post("/feedback", json={"call_id": str(uuid.uuid4()), "rating": "liked"})
    problem(answer, 404, "not-found")


def test_feedback_after_the_user_was_erased_is_404_and_makes_no_user(client: httpx.Client, user: str) -> None:
    answer = call(client, user)
    ok(client.delete(f"/users/{user}"))
    problem(client.post("/feedback", json={"call_id": answer["call_id"], "rating": "liked"}), 404, "not-found")
    problem(client.get(f"/users/{user}/history"), 404, "not-found")


@pytest.mark.parametrize(
    "change",
    [
        {"call_id": "not a uuid"},
        {"call_id": None},
        {"rating": "adored"},
        {"rating": None},
        {"comment": 5},
        {"comment": "x" * 4001},
        {"corrected_tool_call": {}},
        {"corrected_tool_call": {"tool_name": ""}},
        {"corrected_tool_call": {"tool_name": "x" * 513}},
        {"corrected_tool_call": TINKLE_WEATHER},
        {"stars": 5},
    ],
)
def test_feedback_that_cannot_be_read_is_422(client: httpx.Client, user: str, change: Any) -> None:
    body = {"call_id": call(client, user)["call_id"], "rating": "liked"} | change
    problem(client.post("/feedback", json=body), 422, "invalid-request")
    assert history(client, user) == []


def test_50_at_once_on_one_call_leave_one_feedback_and_its_interactions(client: httpx.Client, user: str) -> None:
    answer = call(client, user)

    def work(number: int) -> int:
        body: dict[str, Any] = {"call_id": answer["call_id"], "rating": "liked" if number % 2 else "disliked"}
        if number % 3 == 0:
            body["corrected_tool_call"] = CORRECTION
        return client.post("/feedback", json=body).status_code

    with ThreadPoolExecutor(25) as pool:
        assert set(pool.map(work, range(50))) == {200}
    (kept,) = exported_feedback(client, user)
    *corrected, served = history(client, user)
    assert (served["tool_call"], served["rating"]) == (answer["tool_call"], kept["rating"])
    assert [item["tool_call"] for item in corrected] == [CORRECTION] * bool(kept["corrected_tool_call"])


def test_feedback_while_the_user_is_erased_never_fails(client: httpx.Client, user: str) -> None:
    calls = [call(client, user)["call_id"] for _ in range(20)]

    def work(number: int) -> int:
        if number == 10:
            return client.delete(f"/users/{user}").status_code
        return client.post("/feedback", json={"call_id": calls[number], "rating": "liked"}).status_code

    with ThreadPoolExecutor(10) as pool:
        assert set(pool.map(work, range(20))) <= {200, 404}
    problem(client.get(f"/users/{user}/history"), 404, "not-found")
