"""Adapters across two replicas and two engine servers; the servers are scripted, all else is real."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from app.adapters.transitions import flipped as after_flip
from app.adapters.transitions import states_after
from app.db.database import Database, async_url
from app.domain.adapters import Operation, OperationKind, OperationState
from app.errors import EngineDown
from tests.conftest import running, settings_for
from tests.support.adapters import (
    activate,
    activated,
    ended,
    engine_choosing,
    registered,
    state_of,
    status,
    until_agreed,
)
from tests.support.catalogue import TOOLS
from tests.support.scripted_engine import ScriptedEngine
from tests.support.servers import RedisServer
from tests.support.steps import call, ok
from tests.support.tiny_model import tiny_adapter

PLACES = {"alpha": 1, "beta": 2}


@pytest.fixture(scope="module")
def adapters(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("replicated-adapters")
    return {name: tiny_adapter(model_dir, folder / name, seed) for seed, name in enumerate(PLACES, 21)}


@dataclass
class Replicas:
    """Two replicas that share a store of adapters; each sees both servers through engines of its own."""

    database: str
    directory: Path
    model: Path
    stack: ExitStack = field(default_factory=ExitStack)
    engines: list[list[ScriptedEngine]] = field(default_factory=list)
    """By replica, then by server."""

    def start(self, own: Sequence[list[ScriptedEngine]] = (), **given: Any) -> list[httpx.Client]:
        """`own`: the engines of either, where they share none."""
        clients = []
        for replica, name in enumerate(("one", "two")):
            seen = own[replica] if own else self._servers()
            self.engines.append(seen)
            settings = settings_for(
                self.database,
                self.directory / name,
                engine="vllm",
                model=str(self.model),
                adapters_dir=str(self.directory / "adapters"),
                **{"adapter_poll_seconds": 0.2, **given},
            )
            url = self.stack.enter_context(running(settings, seen))
            clients.append(self.stack.enter_context(httpx.Client(base_url=url, timeout=60)))
        ok(clients[0].put("/tools", json={"format": "rapidapi", "documents": TOOLS}))
        return clients

    def _servers(self) -> list[ScriptedEngine]:
        first = self.engines[0] if self.engines else (None, None)
        return [
            engine_choosing(PLACES, place=place, server=server)
            for place, server in zip(("left", "right"), first, strict=True)
        ]

    def server_down(self, number: int) -> None:
        """Killed: all that it had loaded is gone."""
        for seen in self.engines:
            seen[number].failure = EngineDown("It was killed.")
        self.engines[0][number].adapters.clear()

    def server_up(self, number: int) -> None:
        for seen in self.engines:
            seen[number].failure = None


@pytest.fixture
def replicas(database_url: str, tmp_path: Path, model_dir: Path) -> Iterator[Replicas]:
    replicas = Replicas(database_url, tmp_path, model_dir)
    yield replicas
    replicas.stack.close()


def gauges(client: httpx.Client, name: str) -> dict[str, float]:
    """A metric's values by its labels, as Prometheus reads them."""
    lines = client.get("/metrics").text.splitlines()
    samples = (line.rpartition(" ") for line in lines if line.startswith(name) and line[len(name)] in " {")
    return {labels.removeprefix(name): float(value) for labels, _, value in samples}


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def models_of(client: httpx.Client, users: int = 6) -> set[str]:
    return {call(client, f"user-{number}")["model"] for number in range(users)}


def swap_and_back(one: httpx.Client, two: httpx.Client, adapters: dict[str, Path]) -> None:
    alpha, beta = (registered(one, name, adapters[name]) for name in PLACES)
    activated(one, "alpha")
    # At the end of an activation every replica serves it: nobody waits for a poll.
    assert models_of(one) == models_of(two) == {alpha}
    activated(two, "beta")
    assert models_of(one) == models_of(two) == {beta}
    assert state_of(one, alpha) == "retired"
    told = until_agreed(two)
    assert [replica["active"] for replica in told["replicas"]] == [beta, beta]
    assert all(engine["adapters"] == [beta] for replica in told["replicas"] for engine in replica["engines"])
    assert ok(one.post("/admin/adapters/rollback", params={"wait": True}))["state"] == "succeeded"
    assert models_of(one) == models_of(two) == {alpha}


def test_all_replicas_and_engines_swap_together_by_polling(replicas: Replicas, adapters: dict[str, Path]) -> None:
    one, two = replicas.start()
    swap_and_back(one, two, adapters)


def test_each_replica_sees_to_an_engine_of_its_own(
    replicas: Replicas, adapters: dict[str, Path], model_dir: Path
) -> None:
    own = [engine_choosing(PLACES, place=f"in process {number}", shared=False) for number in range(2)]
    one, two = replicas.start([[engine] for engine in own])
    swap_and_back(one, two, adapters)
    # What the other replica works on never reaches it.
    alpha = status(one)["assignment"]["active"]
    until(lambda: all(engine.adapters == {alpha} for engine in own))
    own[1].unloadable = "no memory is left"
    operation = activate(one, "beta")
    assert operation["error"].startswith("in process 1 (")
    until(lambda: all(engine.adapters == {alpha} for engine in own))
    assert models_of(one) == models_of(two) == {alpha}


def test_with_redis_nobody_waits_for_a_poll(replicas: Replicas, redis: RedisServer, adapters: dict[str, Path]) -> None:
    one, two = replicas.start(adapter_poll_seconds=5, redis_url=redis.url)
    for name in PLACES:
        registered(one, name, adapters[name])
    activated(one, "alpha")
    started = time.monotonic()
    activated(one, "beta")
    assert time.monotonic() - started < 5
    redis.kill()
    # Now by polling.
    activated(two, "alpha")


async def test_swaps_go_on_without_redis(replicas: Replicas, redis: RedisServer, adapters: dict[str, Path]) -> None:
    one, two = replicas.start(redis_url=redis.url)
    redis.kill()
    swap_and_back(one, two, adapters)


def test_an_activation_goes_on_without_a_dead_engine_which_loads_it_when_it_is_back(
    replicas: Replicas, adapters: dict[str, Path]
) -> None:
    one, two = replicas.start()
    _, beta = (registered(one, name, adapters[name]) for name in PLACES)
    activated(one, "alpha")
    replicas.server_down(1)
    operation = activated(one, "beta")
    assert "right" in next(step["detail"] for step in operation["steps"] if step["name"] == "probe")
    # No request fails for the lack of one of two engines.
    assert models_of(one) == models_of(two) == {beta}
    told = status(one)
    assert gauges(one, "petool_engine_up") == {'{engine="left"}': 1, '{engine="right"}': 0}
    assert gauges(one, "petool_engine_adapters_missing") == {'{engine="left"}': 0, '{engine="right"}': 1}
    assert gauges(one, "petool_adapter_served") == {f'{{role="active",version="{beta}"}}': 1}
    assert gauges(one, "petool_adapter_generation") == gauges(two, "petool_adapter_generation")
    assert not told["agree"]
    assert any("cannot reach the engine right" in line for line in told["disagreements"])
    requests = [len(seen[1].requests) for seen in replicas.engines]
    replicas.server_up(1)
    until_agreed(one)
    assert replicas.engines[0][1].adapters == {beta}
    assert models_of(one) | models_of(two) == {beta}
    # What it was asked first, by each replica, was the probe and not a user's call.
    for seen, before in zip(replicas.engines, requests, strict=True):
        first = list(seen[1].requests)[before]
        assert first.user == ""


def test_an_engine_that_refuses_keeps_the_former_adapter_everywhere(
    replicas: Replicas, adapters: dict[str, Path]
) -> None:
    one, two = replicas.start()
    alpha, beta = (registered(one, name, adapters[name]) for name in PLACES)
    activated(one, "alpha")
    for seen in replicas.engines:
        seen[1].unloadable = "rank 4 is above 2"
    operation = activate(two, "beta")
    assert (operation["state"], operation["flipped"]) == ("failed", False)
    assert operation["error"].startswith("right (")
    assert "rank 4 is above 2" in operation["error"]
    assert models_of(one) == models_of(two) == {alpha}
    until_agreed(one)
    assert all(engine.adapters == {alpha} for engine in replicas.engines[0])
    assert state_of(one, beta) == "registered"


def test_a_users_calls_go_to_one_engine_and_all_users_to_both(replicas: Replicas, adapters: dict[str, Path]) -> None:
    one, two = replicas.start()
    registered(one, "alpha", adapters["alpha"])
    activated(one, "alpha")
    by_user: dict[str, set[str]] = {}
    for client, seen in zip((one, two), replicas.engines, strict=True):
        for engine in seen:
            engine.requests.clear()
        for number in range(12):
            for _ in range(2):
                call(client, f"user-{number}")
        for engine in seen:
            for request in engine.requests:
                by_user.setdefault(request.user, set()).add(engine.place)
    by_user.pop("", None)
    # From either replica.
    assert all(len(places) == 1 for places in by_user.values())
    assert set.union(*by_user.values()) == {"left", "right"}


@pytest.mark.parametrize("flipped", [False, True])
async def test_an_operation_whose_replica_died_is_finished_by_another(
    replicas: Replicas, adapters: dict[str, Path], database_url: str, flipped: bool
) -> None:
    one, two = replicas.start()
    alpha, beta = (registered(one, name, adapters[name]) for name in PLACES)
    activated(one, "alpha")
    operation = await left_behind(database_url, alpha, beta, flipped=flipped)
    found = ended(two, str(operation))
    assert found["state"] == "succeeded", found
    until_agreed(one)
    assert models_of(one) == models_of(two) == {beta}
    assert (state_of(one, alpha), state_of(one, beta)) == ("retired", "active")
    # And others can begin.
    activated(one, "alpha")


async def left_behind(database: str, alpha: str, beta: str, *, flipped: bool) -> UUID:
    """What a replica leaves that was killed at work, before or after it gave users to `beta`."""
    store = Database(async_url(database))
    operation = Operation(
        uuid4(), OperationKind.ACTIVATE, beta, OperationState.RUNNING, (), "test", datetime.now(UTC), {},
        replica=uuid4(),
    )  # fmt: skip
    try:
        async with store.transaction() as work:
            now = await work.adapters.assignment(lock=True)
            assert now.operation is None
            await work.operations.add(operation, timedelta(seconds=-1))
            after = replace(now, operation=operation.id, preparing=beta)
            if flipped:
                after = after_flip(operation, after, datetime.now(UTC))
                await work.operations.flip(operation.id)
                for version, state in states_after(now, after).items():
                    await work.adapters.set_state(version, state)
            await work.adapters.assign(after)
    finally:
        await store.close()
    return operation.id


def test_a_replica_that_starts_serves_what_is_active_from_its_first_answer(
    replicas: Replicas, adapters: dict[str, Path], model_dir: Path
) -> None:
    one, _ = replicas.start()
    alpha = registered(one, "alpha", adapters["alpha"])
    activated(one, "alpha")
    engines = [engine_choosing(PLACES, place="left", server=replicas.engines[0][0])]
    settings = settings_for(
        replicas.database,
        replicas.directory / "three",
        engine="vllm",
        model=str(model_dir),
        adapters_dir=str(replicas.directory / "adapters"),
    )
    with running(settings, engines) as url, httpx.Client(base_url=url, timeout=60) as three:
        assert models_of(three) == {alpha}
        assert len(status(one)["replicas"]) == 3
    # It has said that it ends.
    assert len(status(one)["replicas"]) == 2
