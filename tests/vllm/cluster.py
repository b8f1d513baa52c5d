"""Everything of a production in small: two vLLM servers, two API replicas, PostgreSQL, Redis, each a process."""

import asyncio
import contextlib
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import asyncpg
import httpx

from tests.support.adapters import registered, status
from tests.support.servers import Postgres, RedisServer
from tests.support.service_process import ServiceProcess
from tests.support.steps import ok
from tests.vllm.label_adapters import label_adapter
from tests.vllm.server import VllmServer

LABELS = {"alpha": 1, "beta": 4, "gamma": 7}
"""The label's place that each adapter chooses, whatever it is asked."""
RANK = 8


class Cluster:
    """python: of a virtualenv with vLLM. model: directory of a tiny model."""

    def __init__(self, python: str, model: Path, directory: Path) -> None:
        self._model, self._directory = model, directory
        self.postgres = Postgres(directory / "postgres")
        self.redis = RedisServer()
        self.servers = []
        for name in ("left", "right"):
            (directory / name).mkdir(parents=True)
            self.servers.append(VllmServer(python, model, directory / name, rank=RANK))
        self.apis: list[ServiceProcess] = []
        self.versions: dict[str, str] = {}
        """Of the adapters, by name."""
        self._database = ""

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _start(self) -> None:
        starting = asyncio.gather(*(asyncio.to_thread(server.start) for server in self.servers))
        self._database = await asyncio.to_thread(self.postgres.start)
        await self.redis.start()
        for name in ("one", "two"):
            api = ServiceProcess(
                self._directory / name,
                PETOOL_DATABASE_URL=self._database.replace("+asyncpg", ""),
                PETOOL_REDIS_URL=self.redis.url,
                PETOOL_ENGINE="vllm",
                PETOOL_ENGINE_URL=",".join(server.url for server in self.servers),
                PETOOL_ENGINE_TIMEOUT_SECONDS="60",
                PETOOL_MODEL=str(self._model),
                PETOOL_ADAPTERS_DIR=str(self._directory / "adapters"),
                # Above the servers' own, so that theirs is what refuses.
                PETOOL_ADAPTER_MAX_RANK="64",
                PETOOL_LOG_LEVEL="INFO",
            )
            api.spawn()
            self.apis.append(api)
        await starting
        for api in self.apis:
            await api.ready()
        await asyncio.to_thread(self._fill)

    def _fill(self) -> None:
        with self.client() as client:
            ok(client.put("/tools", json={"format": "openai", "documents": tools()}))
            for name, label in LABELS.items():
                directory = label_adapter(self._model, self._directory / "trained" / name, label)
                self.versions[name] = registered(client, name, directory)

    async def stop(self) -> None:
        for api in self.apis:
            await api.stop()
        await asyncio.gather(*(asyncio.to_thread(server.close) for server in self.servers))
        self.redis.close()
        await asyncio.to_thread(self.postgres.stop)

    def client(self, replica: int = 0) -> httpx.Client:
        return httpx.Client(base_url=self.apis[replica].url, timeout=300, trust_env=False)

    async def activate(self, name: str, replica: int = 0) -> Any:
        """The operation, ended; as often as needed until somebody answers."""
        async with httpx.AsyncClient(base_url=self.apis[replica].url, timeout=30, trust_env=False) as client:
            begun = await client.post(f"/admin/adapters/{name}/activate")
            assert begun.status_code == 202, begun.text
        return await self.ended(begun.json()["id"])

    async def ended(self, operation: str, seconds: float = 180) -> Any:
        """Asked of whichever replica answers."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for api in self.apis:
                with contextlib.suppress(httpx.TransportError):
                    async with httpx.AsyncClient(base_url=api.url, timeout=10, trust_env=False) as client:
                        answer = await client.get(f"/admin/operations/{operation}")
                        if answer.status_code == 200 and answer.json()["state"] != "running":
                            return answer.json()
            await asyncio.sleep(0.05)
        raise TimeoutError(f"operation {operation} has not ended")

    async def agreed(self, seconds: float = 180) -> float:
        """Returns, once all replicas and engines agree, the seconds that it took."""
        started = time.monotonic()
        told: Any = None
        while time.monotonic() < started + seconds:
            with contextlib.suppress(httpx.TransportError, AssertionError):
                told = await asyncio.to_thread(self.status)
                if told["agree"] and told["assignment"]["operation"] is None:
                    return time.monotonic() - started
            await asyncio.sleep(0.1)
        raise TimeoutError(f"they do not agree: {told and told['disagreements']}")

    def status(self) -> Any:
        with self.client() as client:
            return status(client)

    async def written(self) -> list[tuple[str | None, str | None]]:
        """Of all calls so far: the recorded adapter and what it wrote."""
        connection = await asyncpg.connect(self._database.replace("+asyncpg", ""))
        try:
            rows = await connection.fetch("SELECT adapter, raw_output FROM decisions")
        finally:
            await connection.close()
        return [(row["adapter"], row["raw_output"]) for row in rows]


def tools() -> list[Any]:
    """Ten, of which any can be meant, with parameters that a model that knows nothing gets to the end of."""
    rooms = ["attic", "barn", "cellar", "den", "entry", "forge", "garage", "hall", "inn", "jetty"]
    return [
        {
            "type": "function",
            "function": {
                "name": f"{room}_set_lamp",
                "description": f"Dims the lamp of the {room} to a level, in a colour.",
                "parameters": {
                    "type": "object",
                    "properties": {
                        "level": {"type": "integer", "minimum": 0, "maximum": 9, "description": "0 is off"},
                        "colour": {"type": "string", "enum": ["white", "amber", "red"], "description": "Of the light"},
                    },
                    "required": ["level", "colour"],
                },
            },
        }
        for room in rooms
    ]
