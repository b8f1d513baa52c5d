"""Two services on one database: what one is told, the other knows."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.conftest import running, settings_for
from tests.support.catalogue import QUIET_WEATHER, TOOLS, document
from tests.support.servers import RedisServer
from tests.support.steps import add_history, call, feedback, history, interaction, ok, problem

ASK = "How many glowworms has Rome?"
GLOWWORMS = document("Zoo", "Glow", "Count", "Tells how many glowworms a city has.", ("city", "STRING"))
GLOW = "Zoo.Glow.Count"
LONGER_THAN_ANY_TEST = 3600.0


class Replicas:
    def __init__(self, database: str, directory: Path) -> None:
        self._database = database
        self._directory = directory
        self._stack = ExitStack()

    def start(self, *, poll: float, redis_url: str = "") -> tuple[httpx.Client, httpx.Client]:
        """Two replicas, with data directories of their own; the catalogue is that of `tests.support.catalogue`."""
        urls = [
            self._stack.enter_context(
                running(
                    settings_for(
                        self._database, self._directory / name, catalogue_poll_seconds=poll, redis_url=redis_url
                    )
                )
            )
            for name in ("one", "two")
        ]
        one, two = [self._stack.enter_context(httpx.Client(base_url=url, timeout=30)) for url in urls]
        ok(one.put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        return one, two

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
def replicas(database_url: str, tmp_path: Path) -> Iterator[Replicas]:
    replicas = Replicas(database_url, tmp_path)
    yield replicas
    replicas.stop()


def searched(client: httpx.Client) -> list[str]:
    items = ok(client.get("/tools/search", params={"q": ASK, "limit": 200}))["items"]
    return [item["tool_name"] for item in items]


def until_found(client: httpx.Client, found: bool) -> None:
    """Returns once GLOW is found by the client's replica, or is no more."""
    deadline = time.monotonic() + 30
    while (GLOW in searched(client)) is not found:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def import_and_deactivate(one: httpx.Client, two: httpx.Client, user: str) -> None:
    """Whatever happens on one replica is what the other one answers with."""
    ok(one.put("/tools", json={"format": "rapidapi", "documents": [GLOWWORMS]}))
    assert searched(one)[0] == GLOW
    until_found(two, True)
    assert searched(two)[0] == GLOW
    assert call(two, user, ASK)["tool_call"] == {"tool_name": GLOW, "parameters": {"city": "Rome"}}
    ok(two.patch(f"/tools/{GLOW}", json={"active": False}))
    assert GLOW not in searched(two)
    until_found(one, False)
    refused = one.post(f"/users/{user}/tool-call", json={"instruction": ASK, "candidates": [GLOW]})
    problem(refused, 422, "unknown-tools")
    ok(one.patch(f"/tools/{GLOW}", json={"active": True}))
    until_found(two, True)


def test_a_tool_changed_on_one_replica_is_changed_on_the_other_after_the_next_poll(
    replicas: Replicas, user: str
) -> None:
    import_and_deactivate(*replicas.start(poll=0.2), user)


def test_with_redis_nobody_waits_for_a_poll(replicas: Replicas, redis: RedisServer, user: str) -> None:
    import_and_deactivate(*replicas.start(poll=LONGER_THAN_ANY_TEST, redis_url=redis.url), user)


def test_polling_goes_on_when_redis_is_lost(replicas: Replicas, redis: RedisServer, user: str) -> None:
    one, two = replicas.start(poll=0.5, redis_url=redis.url)
    redis.kill()
    import_and_deactivate(one, two, user)


async def test_events_come_again_when_redis_is_back(replicas: Replicas, redis: RedisServer, user: str) -> None:
    one, two = replicas.start(poll=LONGER_THAN_ANY_TEST, redis_url=redis.url)
    redis.kill()
    ok(one.put("/tools", json={"format": "rapidapi", "documents": [GLOWWORMS]}))
    await redis.start()
    # What was missed meanwhile is made up for as soon as Redis is heard again.
    until_found(two, True)
    ok(one.patch(f"/tools/{GLOW}", json={"active": False}))
    until_found(two, False)


def test_replicas_start_without_redis(replicas: Replicas, redis: RedisServer, user: str) -> None:
    redis.kill()
    import_and_deactivate(*replicas.start(poll=0.5, redis_url=redis.url), user)


def test_feedback_and_history_given_to_one_replica_count_on_the_other_at_once(replicas: Replicas, user: str) -> None:
    one, two = replicas.start(poll=0.2)
    ok(one.put("/tools", json={"format": "rapidapi", "documents": [GLOWWORMS]}))
    until_found(two, True)
    first = call(one, user, "Weather in Rome")
    assert call(two, user, "Weather in Rome")["tool_call"] == first["tool_call"]
    for rater, other in ((one, two), (two, one)):
        answer = call(rater, user, "Weather in Rome")
        feedback(rater, answer["call_id"], "disliked")
        assert history(other, user) == history(rater, user)
        after = call(other, user, "Weather in Rome")
        assert after["tool_call"]["tool_name"] != answer["tool_call"]["tool_name"]
        assert after["tool_call"] == call(rater, user, "Weather in Rome")["tool_call"]
    add_history(one, user, interaction(QUIET_WEATHER, "liked", "2026-06-01T10:00:00Z", city="Rome"))
    assert call(two, user)["usage"]["history_interactions"] == 3
    ok(two.delete(f"/users/{user}"))
    assert call(one, user)["evidence"] == []


def test_an_idempotency_key_holds_for_all_replicas(replicas: Replicas, user: str) -> None:
    one, two = replicas.start(poll=0.2)
    key = {"Idempotency-Key": user}
    body = {"interactions": [interaction(QUIET_WEATHER, city="Rome")]}
    first, second = (client.post(f"/users/{user}/history", json=body, headers=key) for client in (one, two))
    assert ok(first) == ok(second)
    assert second.headers["Idempotency-Replayed"] == "true"
