"""Parts that fail in the middle of a swap, while clients call; and what came of it."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from performance.soak.load import calling
from tests.vllm.cluster import Cluster

_OUTAGE_SECONDS = 10.0


@dataclass
class Outcome:
    """Of one fault, once all agree again."""

    fault: str
    operation: Any = None
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    recovery_seconds: float = 0.0
    """From when the part was back, or gone for good, until replicas and engines agreed."""


@asynccontextmanager
async def _observed(cluster: Cluster, fault: str, clients: int) -> AsyncIterator[Outcome]:
    outcome = Outcome(fault)
    async with calling(cluster, clients) as seen:
        await asyncio.sleep(1)
        yield outcome
        outcome.recovery_seconds = await cluster.agreed()
        # Some calls more, of which none is to fail.
        recovered = time.monotonic()
        await asyncio.sleep(5)
    outcome.calls, outcome.outcomes = len(seen.samples), seen.outcomes
    late = Counter(sample.outcome for sample in seen.samples if sample.began > recovered)
    assert set(late) <= {"ok"}, (fault, late)


async def engine_killed(cluster: Cluster, name: str, clients: int) -> Outcome:
    """kill -9 of one of the two vLLM servers as the swap begins; it is started again when that has ended."""
    async with _observed(cluster, "one vLLM server killed", clients) as outcome:
        begun = await _begun(cluster, name)
        await asyncio.to_thread(cluster.servers[1].kill)
        outcome.operation = await cluster.ended(begun)
        await asyncio.to_thread(cluster.servers[1].start)
    return outcome


async def replica_killed(cluster: Cluster, name: str, clients: int) -> Outcome:
    """kill -9 of the replica that works on the swap; the other one finishes it."""
    async with _observed(cluster, "the API replica at work killed", clients) as outcome:
        begun = await _begun(cluster, name, replica=1)
        cluster.apis[1].kill()
        outcome.operation = await cluster.ended(begun)
        cluster.apis[1].spawn()
        await cluster.apis[1].ready()
    return outcome


async def redis_stopped(cluster: Cluster, name: str, clients: int) -> Outcome:
    async with _observed(cluster, "Redis stopped", clients) as outcome:
        cluster.redis.kill()
        outcome.operation = await cluster.ended(await _begun(cluster, name))
        await cluster.redis.start()
    return outcome


async def postgres_stopped(cluster: Cluster, name: str, clients: int) -> Outcome:
    """For ten seconds, as the swap begins."""
    async with _observed(cluster, f"PostgreSQL killed, back after {_OUTAGE_SECONDS:g} s", clients) as outcome:
        begun = await _begun(cluster, name)
        await asyncio.to_thread(cluster.postgres.kill)
        await asyncio.sleep(_OUTAGE_SECONDS)
        await asyncio.to_thread(cluster.postgres.start)
        outcome.operation = await cluster.ended(begun)
    return outcome


FAULTS: tuple[Callable[[Cluster, str, int], Coroutine[Any, Any, Outcome]], ...] = (
    engine_killed,
    replica_killed,
    redis_stopped,
    postgres_stopped,
)


async def _begun(cluster: Cluster, name: str, replica: int = 0) -> str:
    async with httpx.AsyncClient(base_url=cluster.apis[replica].url, timeout=30, trust_env=False) as client:
        for _ in range(20):
            begun = await client.post(f"/admin/adapters/{name}/activate")
            if begun.status_code == 202:
                operation: str = begun.json()["id"]
                return operation
            # Taken back for a moment by something that is just ending.
            with contextlib.suppress(TimeoutError):
                await asyncio.sleep(0.5)
    raise AssertionError(begun.text)
