"""Requests per second and latency of the whole service over HTTP: `make bench-service`.

A service process of its own (`petool serve`, embedded PostgreSQL), the real tool documents (1,867 where
`../shared` is present, else the demo catalogue), users with histories of 200 interactions, and a client process that
keeps 1, 8 and 32 connections busy. The engine is the scripted one, which answers at once: what is measured is the
service's own share, prompt, schema and reading of the answer included (`--engine none`: without them, `--engine local`:
with the shipped model). Two rows each:

- `new`: every instruction is one that the service has not seen, so each is embedded;
- `repeated`: instructions come again (their embeddings are kept), as from front ends with many users.

Latency is what the client sees; the stages are the service's own `timings`.
"""

import argparse
import asyncio
import itertools
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from app.demo.tour import catalogue
from tests.support.demo_data import load_expectations
from tests.support.tiny_model import tiny_tokenizer

SHARED = Path(os.environ.get("PETOOL_SHARED", Path(__file__).parents[2] / "shared")) / "data" / "rapidapi"
USERS, HISTORY = 20, 200


@dataclass
class Measured:
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    stages: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    errors: int = 0


@contextmanager
def service(**settings: str) -> Iterator[str]:
    """A service process with these settings; its URL."""
    with tempfile.TemporaryDirectory() as directory:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        environment = os.environ | {
            "PETOOL_DATA_DIR": directory,
            "PETOOL_DEMO_MODE": "true",
            "PETOOL_PORT": str(port),
            "PETOOL_LOG_LEVEL": "WARNING",
            "PETOOL_ENGINE": "none",
            **{f"PETOOL_{name.upper()}": value for name, value in settings.items()},
        }
        process = subprocess.Popen([sys.executable, "-m", "performance.scripted_service"], env=environment)
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_until_ready(url, process)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(1200):
        if process.poll() is not None:
            raise SystemExit("The service did not start.")
        try:
            if httpx.get(f"{url}/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("The service did not get ready in two minutes.")


def documents_and_instructions() -> tuple[list[Any], list[str]]:
    if not SHARED.exists():
        return catalogue(), [item["instruction"] for item in load_expectations()]
    lines = (SHARED / "tools.jsonl").read_text("utf-8").splitlines()
    queries = (SHARED / "queries.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines], [json.loads(line)["query"] for line in queries]


def load(client: httpx.Client, documents: list[Any], instructions: list[str]) -> None:
    names = [".".join((d["category_name"], d["tool_name"], d["api_name"])) for d in documents]
    with Progress() as progress:
        tools = progress.add_task("Importing tools", total=len(documents))
        for start in range(0, len(documents), 100):
            part = documents[start : start + 100]
            client.put("/tools", json={"format": "rapidapi", "documents": part}).raise_for_status()
            progress.advance(tools, len(part))
        chance = random.Random(0)
        for user in progress.track(range(USERS), description="Loading histories"):
            interactions = [
                {
                    "instruction": chance.choice(instructions),
                    "tool_call": {"tool_name": chance.choice(names), "parameters": {}},
                    "rating": chance.choice(["liked", "disliked", None]),
                    "occurred_at": f"2026-0{1 + number % 9}-{1 + number % 28:02}T{number % 24:02}:00:{number % 60:02}Z",
                }
                for number in range(HISTORY)
            ]
            answer = client.post(f"/users/user-{user}/history", json={"interactions": interactions})
            assert answer.json()["rejected"] == [], answer.text


async def measure(url: str, connections: int, seconds: float, instructions: Iterator[str]) -> Measured:
    """A connection sends its next request when it has the last one's answer. Hand-written HTTP/1.1: on two cores a
    client library would take as much of them as the service."""
    measured = Measured()
    port = int(url.rsplit(":", 1)[1])
    users = itertools.cycle(range(USERS))
    deadline = time.perf_counter() + seconds

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < deadline:
            body = json.dumps({"instruction": next(instructions)}).encode()
            head = (
                f"POST /users/user-{next(users)}/tool-call HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            )
            started = time.perf_counter()
            writer.write(head.encode() + body)
            header = await reader.readuntil(b"\r\n\r\n")
            length = int(header.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            answer = await reader.readexactly(length)
            measured.latencies.append((time.perf_counter() - started) * 1000)
            if b" 200 " not in header.split(b"\r\n", 1)[0]:
                measured.errors += 1
                continue
            for stage, milliseconds in json.loads(answer)["timings"].items():
                measured.stages[stage].append(milliseconds)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    measured.seconds = time.perf_counter() - started
    return measured


def fresh(instructions: list[str]) -> Iterator[str]:
    """Endless, never twice the same: two real sentences put together, with a number."""
    chance = random.Random(1)
    for number in itertools.count():
        yield f"{chance.choice(instructions)} (request {number})"


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def _engine_settings(engine: str, model: Path) -> dict[str, str]:
    if engine != "scripted":
        return {"engine": engine}
    tiny_tokenizer(model, vocabulary=8000)
    return {"engine": "vllm", "model": str(model)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement")
    parser.add_argument("--engine", choices=["scripted", "local", "none"], default="scripted")
    arguments = parser.parse_args()
    seconds, engine = arguments.seconds, arguments.engine
    documents, instructions = documents_and_instructions()
    console = Console()
    table = Table(
        "instructions", "connections", "requests/s", "p50 ms", "p95 ms", "p99 ms", "errors",
        title=f"{len(documents)} tools, {USERS} users with {HISTORY} interactions, engine: {engine}",
    )  # fmt: skip
    stages = Table("instructions", "connections", "stage", "p50 ms", "p99 ms", title="the service's own time")
    with tempfile.TemporaryDirectory() as model, service(**_engine_settings(engine, Path(model))) as url:
        with httpx.Client(base_url=url, timeout=600) as client:
            load(client, documents, instructions)
        new, again = fresh(instructions), itertools.cycle(instructions)
        asyncio.run(measure(url, 8, 5, again))
        # Once around, so that `repeated` is.
        for instruction in instructions:
            httpx.post(f"{url}/users/user-0/tool-call", json={"instruction": instruction}, timeout=60)
        for kind, texts in (("new", new), ("repeated", again)):
            for connections in (1, 8, 32):
                measured = asyncio.run(measure(url, connections, seconds, texts))
                table.add_row(
                    kind, str(connections), f"{len(measured.latencies) / measured.seconds:.0f}",
                    *(f"{percentile(measured.latencies, share):.1f}" for share in (0.5, 0.95, 0.99)),
                    str(measured.errors),
                )  # fmt: skip
                for stage, values in measured.stages.items() if connections == 8 else ():
                    stages.add_row(
                        kind, str(connections), stage,
                        f"{statistics.median(values):.2f}", f"{percentile(values, 0.99):.2f}",
                    )  # fmt: skip
    console.print(table)
    console.print(stages)


if __name__ == "__main__":
    main()
