"""`Idempotency-Key`: a retry gets the first answer, and nothing happens twice."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.catalogue import QUIET_WEATHER, TINKLE_WEATHER
from tests.support.steps import ASK, call, history, interaction, ok, problem

HEADER = "Idempotency-Key"


@pytest.fixture
def key() -> dict[str, str]:
    return {HEADER: str(uuid.uuid4())}


def number_of_calls(client: httpx.Client, user: str) -> int:
    lines = [json.loads(line) for line in client.get(f"/users/{user}/export").text[:-1].split("\n")]
    return sum(line["kind"] == "call" for line in lines)


def test_a_retried_call_gets_the_first_answer_and_is_stored_once(
    client: httpx.Client, user: str, key: dict[str, str]
) -> None:
    first, *others = (client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=key) for _ in range(3))
    assert "Idempotency-Replayed" not in first.headers
    for other in others:
        assert (other.status_code, other.content) == (first.status_code, first.content)
        assert other.headers["Idempotency-Replayed"] == "true"
        assert other.headers["Content-Type"] == first.headers["Content-Type"]
        assert other.headers["X-Request-ID"] != first.headers["X-Request-ID"]
    assert number_of_calls(client, user) == 1


def test_a_retried_import_reports_what_the_first_did(client: httpx.Client, user: str, key: dict[str, str]) -> None:
    body = {"interactions": [interaction(QUIET_WEATHER, city="Rome"), 7]}
    first, second = (ok(client.post(f"/users/{user}/history", json=body, headers=key)) for _ in range(2))
    assert first == second
    assert first["imported"] == 1
    assert len(history(client, user)) == 1


def test_retried_feedback_does_not_undo_what_came_in_between(
    client: httpx.Client, user: str, key: dict[str, str]
) -> None:
    call_id = call(client, user)["call_id"]
    old = {"call_id": call_id, "rating": "liked"}
    first = ok(client.post("/feedback", json=old, headers=key))
    ok(client.post("/feedback", json=old | {"rating": "disliked"}))
    assert ok(client.post("/feedback", json=old, headers=key)) == first
    assert [item["rating"] for item in history(client, user)] == ["disliked"]


def test_a_key_is_for_one_request_only(client: httpx.Client, user: str, key: dict[str, str]) -> None:
    ok(client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=key))
    other_body = client.post(f"/users/{user}/tool-call", json={"instruction": "Another"}, headers=key)
    assert "Idempotency-Key" in problem(other_body, 422, "invalid-request")["detail"]
    other_user = client.post(f"/users/{user}-other/tool-call", json={"instruction": ASK}, headers=key)
    problem(other_user, 422, "invalid-request")
    assert number_of_calls(client, user) == 1


def test_of_many_at_once_one_does_the_work(client: httpx.Client, user: str, key: dict[str, str]) -> None:
    def work(_: int) -> httpx.Response:
        return client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=key)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(work, range(16)))
    assert {answer.status_code for answer in answers} <= {200, 409}
    done = [answer for answer in answers if answer.status_code == 200]
    assert len({answer.content for answer in done}) == 1
    assert sum("Idempotency-Replayed" not in answer.headers for answer in done) == 1
    for answer in answers:
        if answer.status_code == 409:
            problem(answer, 409, "conflict")
            assert int(answer.headers["Retry-After"]) > 0
    assert number_of_calls(client, user) == 1


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"instruction": ""}, 422),
        ({"instruction": ASK, "candidates": ["No.Such.Tool"]}, 422),
        ({"instruction": ASK, "allow_degraded": False}, 503),
        ({"instruction": ASK, "n_candidates": 0}, 422),
    ],
)
def test_an_error_is_not_kept(
    client: httpx.Client, user: str, key: dict[str, str], wrong: dict[str, Any], status: int
) -> None:
    for _ in range(2):
        assert client.post(f"/users/{user}/tool-call", json=wrong, headers=key).status_code == status
    answer = client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=key)
    assert answer.status_code == 200
    assert "Idempotency-Replayed" not in answer.headers


def test_an_import_that_failed_may_be_tried_again_with_its_key(
    client: httpx.Client, user: str, key: dict[str, str]
) -> None:
    refused = client.post("/feedback", json={"call_id": str(uuid.uuid4()), "rating": "liked"}, headers=key)
    problem(refused, 404, "not-found")
    body = {"interactions": [interaction(TINKLE_WEATHER, city="Rome")]}
    assert ok(client.post(f"/users/{user}/history", json=body, headers=key))["imported"] == 1


@pytest.mark.parametrize("given", ["", "x" * 256])
def test_a_key_has_1_to_255_characters(client: httpx.Client, user: str, given: str) -> None:
    answer = client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers={HEADER: given})
    problem(answer, 422, "invalid-request")


@pytest.mark.parametrize("given", [b"x" * 255, b"a b/c?", b"\xe9\xff", b"'; --"])
def test_a_key_may_be_any_text(client: httpx.Client, user: str, given: bytes) -> None:
    headers = [(HEADER.encode(), given + user.encode()[: 255 - len(given)])]
    for _ in range(2):
        answer = client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=headers)
        assert answer.status_code == 200
    assert answer.headers["Idempotency-Replayed"] == "true"


def test_what_does_not_write_ignores_the_key(client: httpx.Client, user: str, key: dict[str, str]) -> None:
    body = {"interactions": [interaction(QUIET_WEATHER, city="Rome")]}
    ok(client.post(f"/users/{user}/history", json=body))
    for path in ("history", "export"):
        for _ in range(2):
            answer = client.get(f"/users/{user}/{path}", headers=key)
            assert answer.status_code == 200
            assert "Idempotency-Replayed" not in answer.headers
    (stored,) = history(client, user)
    assert client.delete(f"/users/{user}/history/{stored['id']}", headers=key).status_code == 204
    assert client.delete(f"/users/{user}", headers=key).status_code == 200


def test_erasing_a_user_erases_the_answers_kept_for_imports_and_dry_runs(client: httpx.Client, user: str) -> None:
    key = {"Idempotency-Key": f"{user}-import"}
    body = {"interactions": [interaction(QUIET_WEATHER, city="Rome")]}
    ok(client.post(f"/users/{user}/history", json=body, headers=key))
    assert ok(client.delete(f"/users/{user}"))["erased"]["idempotent_answers"] == 1
    dry = {"instruction": ASK, "dry_run": True}
    ok(client.post(f"/users/{user}/tool-call", json=dry, headers={"Idempotency-Key": f"{user}-dry"}))
    assert ok(client.delete(f"/users/{user}"))["erased"]["idempotent_answers"] == 1
    assert client.delete(f"/users/{user}").status_code == 404
