"""Whatever goes wrong is a problem document (RFC 9457) that says what to do about it."""

import json
import re
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import running, settings_for
from tests.support.catalogue import TOOLS
from tests.support.servers import Postgres, new_database
from tests.support.steps import ASK, add_history, call, feedback, history, interaction, ok, problem

JSON = {"Content-Type": "application/json"}
BODIES = ["/users/ada/tool-call", "/users/ada/history", "/feedback"]


def deep(levels: int) -> bytes:
    return b'{"instruction": ' + b"[" * levels + b"]" * levels + b"}"


MALFORMED = {
    "nothing": b"",
    "half": b'{"instruction": "x"',
    "no JSON": b"instruction=x",
    "two values": b"{} {}",
    "NaN": b'{"instruction": NaN}',
    "infinity": b'{"instruction": -Infinity}',
    "a number that is infinite once read": b'{"instruction": 1e999}',
    "a number of 5000 digits": b'{"instruction": ' + b"9" * 5000 + b"}",
    "no UTF-8": b'{"instruction": "\xff"}',
    "UTF-16": '{"instruction": "x"}'.encode("utf-16"),
    "a NUL": rb'{"instruction": "\u0000"}',
    "a NUL in a name": rb'{"\u0000": 1}',
    "half a pair": rb'{"instruction": "\ud83d"}',
    "a control character": b'{"instruction": "\x00"}',
    "201 levels": deep(201),
    "100000 levels": deep(100_000),
    "100000 open brackets": b"[" * 100_000,
}


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_is_not_json_is_400(client: httpx.Client, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers=JSON)
    if body:
        problem(answer, 400, "malformed-request")
    else:
        problem(answer, 422, "invalid-request")


def test_the_same_goes_for_an_import_and_a_patch(client: httpx.Client) -> None:
    problem(client.put("/tools", content=b"{", headers=JSON), 400, "malformed-request")
    problem(client.patch("/tools/x", content=b"[NaN]", headers=JSON), 400, "malformed-request")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("headers", [{}, {"Content-Type": "text/plain"}, {"Content-Type": "application/xml"}])
def test_a_body_that_is_not_called_json_is_415(client: httpx.Client, path: str, headers: dict[str, str]) -> None:
    problem(client.post(path, content=b"{}", headers=headers), 415, "unsupported-media-type")


@pytest.mark.parametrize("type_", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/merge+json"])
def test_json_may_be_called_by_its_other_names(client: httpx.Client, user: str, type_: str) -> None:
    body = json.dumps({"instruction": ASK}).encode()
    ok(client.post(f"/users/{user}/tool-call", content=body, headers={"Content-Type": type_}))


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({"instruction": ASK, "n_candidate": 5}, "n_candidate"),
        ({"instruction": ASK, "n_candidates": 51}, "n_candidates"),
        ({"instruction": ASK, "n_candidates": "ten"}, "n_candidates"),
        ({"instruction": ASK, "history_setting": "some"}, "history_setting"),
        ({"instruction": ASK, "candidates": []}, "candidates"),
        ({"instruction": ASK, "candidates": ["x"] * 51}, "candidates"),
        ({"instruction": ASK, "tools": []}, "tools"),
        ({"instruction": ASK, "tools": [1]}, "tools"),
        ({"instruction": ASK, "tools": [{}], "candidates": ["x"]}, "not both"),
        ({"instruction": 5}, "instruction"),
        ({}, "instruction"),
        ([], "body"),
        (None, "body"),
        ("text", "body"),
    ],
)
def test_a_field_that_is_unknown_or_unacceptable_is_422_and_named(client: httpx.Client, body: Any, name: str) -> None:
    answer = problem(client.post("/users/ada/tool-call", json=body), 422, "invalid-request")
    assert name in answer["detail"]
    assert answer["errors"]


def test_a_hostile_name_of_a_field_is_shown_without_harm(client: httpx.Client) -> None:
    problem(
        client.post("/users/ada/tool-call", json={"instruction": ASK, "\u202e🦊" * 1000: 1}), 422, "invalid-request"
    )


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("POST", "/"), ("GET", "/users/a/b/c"), ("GET", "/%00"), ("GET", "//")]
)
def test_an_unknown_path_is_404(client: httpx.Client, method: str, path: str) -> None:
    problem(client.request(method, path), 404, "not-found")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/feedback"),
        ("PUT", "/users/a/history"),
        ("POST", "/tools"),
        ("DELETE", "/healthz"),
        ("TRACE", "/tools"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_405(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"]


def test_every_answer_has_a_request_id_and_keeps_the_callers(client: httpx.Client) -> None:
    for path in ("/healthz", "/tools/x", "/nothing", "/users/ada/tool-call"):
        given = {"X-Request-ID": f"trace-{uuid.uuid4()}"}
        assert client.get(path, headers=given).headers["X-Request-ID"] == given["X-Request-ID"]
        made = client.get(path).headers["X-Request-ID"]
        assert re.fullmatch(r"[0-9a-f]{32}", made)
        assert made != client.get(path).headers["X-Request-ID"]


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, 'a"}', "é"])
def test_a_request_id_that_could_upset_a_log_is_replaced(client: httpx.Client, given: str) -> None:
    answer = client.get("/healthz", headers=[(b"X-Request-ID", given.encode())])
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


@pytest.fixture(scope="module")
def small_service(postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A service that takes bodies of 2 KiB, and imports of 4 MiB; on the database of `service`."""
    limits = {"max_body_bytes": 2048, "max_import_body_bytes": 4 * 2**20}
    with running(settings_for(postgres, tmp_path_factory.mktemp("small"), **limits)) as url:
        yield url


@pytest.mark.parametrize("size", [2049, 2**20, 20 * 2**20])
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", ["/users/ada/tool-call", "/feedback", "/tools/x", "/nothing/history"])
def test_a_body_over_the_limit_is_413(service: str, small_service: str, size: int, chunked: bool, path: str) -> None:
    body = b'{"instruction": "' + b"x" * (size - 19) + b'"}'
    parts = (body[start : start + 65536] for start in range(0, size, 65536))
    with httpx.Client(base_url=small_service, timeout=30) as client:
        method = "PATCH" if path == "/tools/x" else "POST"
        try:
            answer = client.request(method, path, content=parts if chunked else body, headers=JSON)
        except httpx.WriteError:
            # The answer came, and the connection went, before all was sent.
            assert size > 2**16
        else:
            if path == "/nothing/history" and chunked:
                # Nobody reads what is sent there.
                problem(answer, 404, "not-found")
            else:
                assert "2048" in problem(answer, 413, "body-too-large")["detail"]
        assert client.get("/healthz").status_code == 200


def test_a_body_of_just_the_limit_is_read_and_imports_have_a_limit_of_their_own(
    service: str, small_service: str, user: str
) -> None:
    body = json.dumps({"instruction": ""})
    body = json.dumps({"instruction": "x" * (2048 - len(body))})
    with httpx.Client(base_url=small_service, timeout=30) as client:
        ok(client.post(f"/users/{user}/tool-call", content=body.encode(), headers=JSON))
        large = [interaction("No.Such.Tool") | {"instruction": "x" * 7000} for _ in range(100)]
        assert len(add_history(client, user, *large)["rejected"]) == 100
        too_large = {"format": "rapidapi", "documents": ["x" * (4 * 2**20)]}
        problem(client.put("/tools", json=too_large), 413, "body-too-large")


@pytest.fixture
async def empty_service(postgres: str, tmp_path: Path) -> AsyncIterator[str]:
    async with new_database(postgres) as url:
        with running(settings_for(url, tmp_path)) as service:
            yield service


def test_without_a_catalogue_calls_are_409_until_there_is_one(empty_service: str) -> None:
    with httpx.Client(base_url=empty_service, timeout=30) as client:
        assert ok(client.get("/readyz"))["tools"] == 0
        assert ok(client.get("/tools"))["items"] == []
        assert ok(client.get("/tools/search", params={"q": "weather"}))["items"] == []
        for options in ({}, {"candidates": ["Weather.Quietcloud.Forecast"]}):
            answer = client.post("/users/ada/tool-call", json={"instruction": ASK, **options})
            assert "PUT /tools" in problem(answer, 409, "empty-catalogue")["detail"]
        own = {"type": "function", "function": {"name": "weather", "description": "Weather of a city."}}
        assert call(client, "ada", tools=[own])["tool_call"]["tool_name"] == "weather"
        ok(client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        assert call(client, "ada")["tool_call"]["tool_name"].startswith("Weather.")


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    server = Postgres(tmp_path / "postgres")
    yield server
    server.stop()


def test_while_the_database_is_down_requests_are_503_and_afterwards_all_is_well(
    own_postgres: Postgres, tmp_path: Path, user: str
) -> None:
    settings = settings_for(own_postgres.start(), tmp_path / "data", database_timeout_seconds=3)
    with running(settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        ok(client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        before = call(client, user)
        feedback(client, before["call_id"], "liked")
        kept = history(client, user)

        own_postgres.kill()
        key = {"Idempotency-Key": "while it is down"}
        for answer in (
            client.post(f"/users/{user}/tool-call", json={"instruction": ASK}),
            client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=key),
            client.post("/feedback", json={"call_id": before["call_id"], "rating": "disliked"}),
            client.post(f"/users/{user}/history", json={"interactions": [interaction(TOOLS[0]["tool_name"])]}),
            client.get(f"/users/{user}/history"),
            client.get(f"/users/{user}/export"),
            client.delete(f"/users/{user}"),
            client.get("/tools"),
            client.put("/tools", json={"format": "rapidapi", "documents": TOOLS}),
            client.get("/readyz"),
        ):
            problem(answer, 503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0
        assert client.get("/healthz").status_code == 200
        assert client.get("/metrics").status_code == 200
        # What needs no database is still answered.
        assert ok(client.get("/tools/search", params={"q": "weather forecast"}))["items"]

        own_postgres.start()
        deadline = time.monotonic() + 30
        while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert history(client, user) == kept
        after = client.post(f"/users/{user}/tool-call", json={"instruction": ASK}, headers=key)
        assert ok(after)["tool_call"] == before["tool_call"]
        feedback(client, before["call_id"], "disliked")
        ok(client.put("/tools", json={"format": "rapidapi", "documents": [TOOLS[0] | {"api_name": "Anew"}]}))
        assert ok(client.get("/readyz"))["tools"] == len(TOOLS) + 1
