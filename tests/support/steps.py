"""What most tests do over HTTP before they look at something else; each step fails the test if it fails."""

from typing import Any

import httpx

ASK = "What is the weather forecast for Lisbon?"


def interaction(tool: str, rating: str | None = None, when: str | None = "2026-05-01T10:00:00Z", **given: Any) -> Any:
    """An item of `POST /users/{id}/history`; `given` are the call's parameters."""
    return {
        "instruction": f"Something done with {tool}",
        "tool_call": {"tool_name": tool, "parameters": given},
        "rating": rating,
        "occurred_at": when,
    }


def add_history(client: httpx.Client, user: str, *items: Any) -> Any:
    return ok(client.post(f"/users/{user}/history", json={"interactions": list(items)}))


def history(client: httpx.Client, user: str, **query: Any) -> list[Any]:
    """All of it, newest first."""
    items: list[Any] = []
    cursor: dict[str, str] = {}
    while True:
        page = ok(client.get(f"/users/{user}/history", params={"limit": 200} | query | cursor))
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


def call(client: httpx.Client, user: str, instruction: str = ASK, **options: Any) -> Any:
    return ok(client.post(f"/users/{user}/tool-call", json={"instruction": instruction, **options}))


def feedback(client: httpx.Client, call_id: str, rating: str, **more: Any) -> Any:
    return ok(client.post("/feedback", json={"call_id": call_id, "rating": rating, **more}))


def ok(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(answer: httpx.Response, status: int, type_: str) -> Any:
    """Checks that the answer is this problem (RFC 9457), and gives its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == f"urn:petool:problem:{type_}", body
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    return body
