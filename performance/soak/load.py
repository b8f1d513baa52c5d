"""Clients that call without pause, and an account of what they saw."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles

import httpx

from tests.vllm.cluster import LABELS, Cluster

_LETTERS = "ABCDEFGHIJ"
_PAUSE_SECONDS = 0.2
"""After a failure: a client that is refused does not hammer."""


@dataclass(frozen=True)
class Sample:
    began: float
    ended: float
    outcome: str
    """ok, degraded: REASON, HTTP STATUS, or the name of the connection's error."""
    model: str | None
    replica: int

    @property
    def seconds(self) -> float:
        return self.ended - self.began


@dataclass
class Seen:
    """What the clients saw, in the order in which it ended."""

    samples: list[Sample] = field(default_factory=list)

    def since(self, moment: float) -> "Seen":
        return Seen([sample for sample in self.samples if sample.ended >= moment])

    @property
    def outcomes(self) -> Counter[str]:
        return Counter(sample.outcome for sample in self.samples)

    @property
    def failed(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome != "ok")


@asynccontextmanager
async def calling(cluster: Cluster, clients: int, pause: float = 0.0) -> AsyncIterator[Seen]:
    """While the block runs, `clients` clients call one after the other, each of the two replicas in turn.

    `pause`: seconds from an answer to the client's next call.
    """
    seen = Seen()
    stopped = asyncio.Event()
    numbers = itertools.count()

    async def client() -> None:
        async with httpx.AsyncClient(timeout=90, trust_env=False) as http:
            while not stopped.is_set():
                sample = await _one(http, cluster, next(numbers))
                seen.samples.append(sample)
                await asyncio.sleep(pause if sample.outcome == "ok" else max(pause, _PAUSE_SECONDS))

    tasks = [asyncio.create_task(client()) for _ in range(clients)]
    try:
        yield seen
    finally:
        stopped.set()
        await asyncio.gather(*tasks)


async def _one(http: httpx.AsyncClient, cluster: Cluster, number: int) -> Sample:
    replica = number % len(cluster.apis)
    url = f"{cluster.apis[replica].url}/users/user-{number % 40}/tool-call"
    began = time.monotonic()
    model = None
    try:
        answer = await http.post(url, json={"instruction": f"Set the lamp to {number % 10}."})
    except httpx.TransportError as error:
        outcome = type(error).__name__
    else:
        outcome = f"HTTP {answer.status_code}"
        if answer.status_code == 200:
            body = answer.json()
            model = body["model"]
            outcome = f"degraded: {body['degraded_reason']['reason']}" if body["degraded"] else "ok"
    return Sample(began, time.monotonic(), outcome, model, replica)


async def wrong_answers(cluster: Cluster) -> tuple[int, int]:
    """Of all calls that an adapter answered, those whose text shows another one than was recorded; and all of them."""
    names = {version: name for name, version in cluster.versions.items()}
    wrong = total = 0
    for adapter, text in await cluster.written():
        if adapter is None or text is None:
            continue
        total += 1
        name = names.get(adapter)
        # The base model is recorded as such; no adapter's is an answer before the first activation only.
        if name is not None and not text.startswith(f'{{"tool_name":"{_LETTERS[LABELS[name]]} '):
            wrong += 1
    return wrong, total


def percentile(values: Sequence[float], share: int) -> float:
    """`share` of 100; of one value that value."""
    return quantiles(values, n=100, method="inclusive")[share - 1] if len(values) > 1 else values[0]


def middle(values: Sequence[float]) -> float:
    return median(values) if values else float("nan")
