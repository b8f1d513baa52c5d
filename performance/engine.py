"""What the service adds to vLLM: `make bench-engine`.

A real vLLM server on the CPU with a tiny random-weight model, and the service before it. The same calls (same token
ids, same schemas) are sent to vLLM directly and through the service, 1, 4 and 16 at once, in turns in one run: round
by round direct and through the service, so that what else happens on the machine meets both. All prompts were asked
once before, so that vLLM's prefix cache serves both alike.

The service, its PostgreSQL, vLLM and this client share the machine's cores; in production vLLM has a GPU and cores of
its own, and the service's share runs beside it.
"""

import argparse
import asyncio
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.db.embedded import EmbeddedPostgres
from app.inference import vllm_wire
from app.inference.engine import Generation, GenerationRequest
from performance.service import documents_and_instructions, load, percentile, service
from tests.conftest import running, settings_for
from tests.support.scripted_engine import ScriptedEngine
from tests.support.tiny_model import tiny_model
from tests.vllm.server import VllmServer

CALLS = 32
ROUNDS = 2
Send = Callable[[int], Coroutine[Any, Any, None]]


class Recording(ScriptedEngine):
    """Keeps what the service asks of its engine."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[GenerationRequest] = []

    async def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        return await super().generate(request)


def record(database: str, model: Path, bodies: list[Any]) -> list[GenerationRequest]:
    """What the service asks of its engine for these calls. Loads the tools and the histories first."""
    documents, instructions = documents_and_instructions()
    engine = Recording()
    with tempfile.TemporaryDirectory() as data:
        settings = settings_for(database, Path(data), engine="vllm", model=str(model))
        with running(settings, [engine]) as url, httpx.Client(base_url=url, timeout=600) as client:
            load(client, documents, instructions)
            for number, body in enumerate(bodies):
                client.post(f"/users/user-{number % 20}/tool-call", json=body).raise_for_status()
    return engine.asked


def sender(client: httpx.AsyncClient, paths: list[str], bodies: list[bytes], shares: list[float]) -> Send:
    """Sends the call of a number; `shares` gets the service's own milliseconds (all but `generate`)."""

    async def send(number: int) -> None:
        answer = await client.post(paths[number], content=bodies[number], headers={"Content-Type": "application/json"})
        answer.raise_for_status()
        timings = orjson.loads(answer.content).get("timings")
        if timings is not None:
            shares.append(timings["total"] - timings["generate"])

    return send


async def measure(send: Send, at_once: int) -> tuple[float, list[float]]:
    """Seconds for all the calls, and each one's milliseconds."""
    latencies: list[float] = []
    numbers = iter(range(CALLS))

    async def connection() -> None:
        for number in numbers:
            started = time.perf_counter()
            await send(number)
            latencies.append((time.perf_counter() - started) * 1000)

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(at_once)))
    return time.perf_counter() - started, latencies


async def compare(direct: Send, through: Send, rounds: int) -> Table:
    table = Table(
        "at once", "direct calls/s", "service calls/s", "throughput ratio", "direct p50 ms", "service p50 ms",
        "p50 ratio", "direct p95 ms", "service p95 ms", title="the same calls, direct and through the service",
    )  # fmt: skip
    with Progress() as progress:
        task = progress.add_task("Measuring", total=3 * rounds * 2)
        for at_once in (1, 4, 16):
            seconds, latencies = defaultdict[str, float](float), defaultdict[str, list[float]](list)
            for turn in range(rounds):
                ways = [("direct", direct), ("service", through)]
                for way, send in ways if turn % 2 == 0 else reversed(ways):
                    took, each = await measure(send, at_once)
                    seconds[way] += took
                    latencies[way] += each
                    progress.advance(task)
            medians = {way: statistics.median(each) for way, each in latencies.items()}
            table.add_row(
                str(at_once),
                *(f"{rounds * CALLS / seconds[way]:.2f}" for way in ("direct", "service")),
                f"{seconds['direct'] / seconds['service']:.3f}",
                *(f"{medians[way]:.0f}" for way in ("direct", "service")),
                f"{medians['service'] / medians['direct']:.3f}",
                *(f"{percentile(latencies[way], 0.95):.0f}" for way in ("direct", "service")),
            )
    return table


async def run(vllm: str, service_url: str, asked: list[GenerationRequest], bodies: list[Any], rounds: int) -> None:
    shares: list[float] = []
    async with (
        httpx.AsyncClient(base_url=vllm, timeout=300) as engine,
        httpx.AsyncClient(base_url=service_url, timeout=300) as front,
    ):
        direct = sender(
            engine, ["/v1/completions"] * CALLS, [vllm_wire.request_body(item, "base") for item in asked], []
        )
        users = [f"/users/user-{number % 20}/tool-call" for number in range(CALLS)]
        through = sender(front, users, [orjson.dumps(body) for body in bodies], shares)
        for send in (direct, through):
            await measure(send, 4)
        shares.clear()
        table = await compare(direct, through, rounds)
    console = Console()
    console.print(table)
    console.print(
        f"the service's own share: p50 {statistics.median(shares):.1f} ms, p95 {percentile(shares, 0.95):.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    python = os.environ.get("PETOOL_VLLM_PYTHON")
    if not python:
        sys.exit("PETOOL_VLLM_PYTHON names the Python of a virtualenv with vLLM; `make bench-engine` sets it.")
    texts = itertools.islice(itertools.cycle(documents_and_instructions()[1]), CALLS)
    bodies = [{"instruction": text, "dry_run": True} for text in texts]
    with tempfile.TemporaryDirectory() as directory:
        # vLLM's attention on the CPU has heads of 32 and more only.
        model = tiny_model(Path(directory) / "model", hidden=128)
        postgres = EmbeddedPostgres(Path(directory) / "postgres")
        database = postgres.start()
        try:
            asked = record(database, model, bodies)
            with VllmServer(python, model, Path(directory)) as server:
                url = database.replace("+asyncpg", "")
                with service(database_url=url, engine="vllm", engine_url=server.url, model=str(model)) as service_url:
                    asyncio.run(run(server.url, service_url, asked, bodies, rounds))
        finally:
            postgres.stop()


if __name__ == "__main__":
    main()
