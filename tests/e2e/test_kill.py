"""What was acknowledged survives kill -9; what was begun is finished on SIGTERM."""

import asyncio
import contextlib
import random
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.catalogue import TOOLS, document
from tests.support.servers import kill, postgres_of
from tests.support.service_process import ServiceProcess
from tests.support.steps import ASK

USERS = 10
POSTS = 200


class Service(ServiceProcess):
    """With its embedded PostgreSQL."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, PETOOL_LOG_LEVEL="WARNING", PETOOL_ENGINE="none")
        self.postgres = self.data / "postgres"

    def kill(self) -> None:
        """kill -9 of the service and of PostgreSQL with all its processes."""
        database = postgres_of(self.postgres)
        super().kill()
        kill(database)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    yield service
    service.kill()


async def make_calls(client: httpx.AsyncClient, number: int) -> dict[str, str]:
    """User by call id."""
    answer = await client.put("/tools", json={"format": "rapidapi", "documents": TOOLS})
    assert answer.status_code == 200, answer.text
    calls = {}
    for index in range(number):
        answer = await client.post(f"/users/user-{index % USERS}/tool-call", json={"instruction": ASK})
        calls[answer.json()["call_id"]] = f"user-{index % USERS}"
    return calls


async def ratings(client: httpx.AsyncClient) -> dict[str, str]:
    """Rating by call id, of all users."""
    found: dict[str, str] = {}
    for index in range(USERS):
        answer = await client.get(f"/users/user-{index}/history", params={"limit": 200})
        items: list[Any] = answer.json()["items"]
        assert answer.json()["next_cursor"] is None
        assert len({item["call_id"] for item in items}) == len(items)
        found.update({item["call_id"]: item["rating"] for item in items})
    return found


async def test_every_acknowledged_feedback_is_there_after_kill_9_of_service_and_database(service: Service) -> None:
    await service.start()
    limits = httpx.Limits(max_connections=POSTS)
    async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:
        calls = await make_calls(client, POSTS)
        sent = {call_id: random.Random(call_id).choice(["liked", "disliked"]) for call_id in calls}
        acknowledged: dict[str, str] = {}
        a_quarter = asyncio.Event()

        async def post(call_id: str) -> None:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.post("/feedback", json={"call_id": call_id, "rating": sent[call_id]})
                if answer.status_code == 200:
                    acknowledged[call_id] = sent[call_id]
                    if len(acknowledged) >= POSTS // 4:
                        a_quarter.set()

        async def kill() -> None:
            await a_quarter.wait()
            await asyncio.to_thread(service.kill)

        await asyncio.gather(kill(), *(post(call_id) for call_id in calls))
    assert POSTS // 4 <= len(acknowledged) < POSTS

    await service.start()
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        stored = await ratings(client)
        assert acknowledged.items() <= stored.items()
        # What was not acknowledged is there or not, but never anything else than what was sent.
        assert stored.items() <= sent.items()
        rest = [call_id for call_id in calls if call_id not in acknowledged]
        for call_id in rest:
            answer = await client.post("/feedback", json={"call_id": call_id, "rating": sent[call_id]})
            assert answer.status_code == 200, answer.text
        assert await ratings(client) == sent


async def test_a_request_at_work_is_finished_when_the_service_is_told_to_stop(service: Service) -> None:
    await service.start()
    documents = [document("Sea", f"Tide table {number}", "get", f"Tides of port {number}.") for number in range(300)]
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        body = {"format": "rapidapi", "documents": documents}
        importing = asyncio.create_task(client.put("/tools", json=body))
        # The import commits in batches: once the first can be seen, the request is at work on the next.
        while not (await client.get("/tools")).json()["items"]:
            assert not importing.done()
        service.terminate()
        answer = await importing
        assert (answer.status_code, answer.json()["imported"]) == (200, len(documents))
    # uvicorn ends by the signal that it was sent, once all is done.
    assert await service.ended() in (0, -signal.SIGTERM)
    assert postgres_of(service.postgres) == []

    await service.start()
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        assert (await client.get("/readyz")).json()["tools"] == len(documents)


async def test_the_database_killed_alone_comes_back_under_the_running_service(service: Service) -> None:
    await service.start()
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as client:
        calls = await make_calls(client, USERS)
        for call_id in calls:
            (await client.post("/feedback", json={"call_id": call_id, "rating": "liked"})).raise_for_status()
        kill(postgres_of(service.postgres))
        answers = []
        for _ in range(600):
            answers.append((await client.get("/readyz")).status_code)
            if answers[-1] == 200 and postgres_of(service.postgres):
                break
            await asyncio.sleep(0.1)
        assert set(answers) <= {200, 503}
        assert await ratings(client) == dict.fromkeys(calls, "liked")
