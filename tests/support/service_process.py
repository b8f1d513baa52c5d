"""`petool serve` in a process of its own, which a test may kill and start again."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx

from tests.support.servers import free_port

_ROOT = Path(__file__).parents[2]
_START_SECONDS = 120.0
_STOP_SECONDS = 60.0


class ServiceProcess:
    """On a port that stays the same from one start to the next.

    directory: for its log and its data. environment: settings, beyond demo mode; nothing else of the tests' own counts.
    """

    def __init__(self, directory: Path, **environment: str) -> None:
        self._directory = directory
        self.data = directory / "data"
        self._process: subprocess.Popen[bytes] | None = None
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("PETOOL_")} | {
            "PETOOL_DATA_DIR": str(self.data),
            "PETOOL_DEMO_MODE": "1",
            "PETOOL_PORT": str(port),
            "PYTHONPATH": str(_ROOT),
            **environment,
        }

    def spawn(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "app", "serve"],
                cwd=self._directory,
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    async def ready(self) -> None:
        """Raises RuntimeError, with the end of its log, where it ends or takes too long."""
        deadline = time.monotonic() + _START_SECONDS
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
                with contextlib.suppress(httpx.TransportError):
                    if (await client.get("/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.1)
        raise RuntimeError((self._directory / "log").read_text()[-5000:])

    async def start(self) -> None:
        self.spawn()
        await self.ready()

    def kill(self) -> None:
        """kill -9; nothing to do where it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def terminate(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)

    async def ended(self) -> int:
        """Its exit status."""
        assert self._process is not None
        status = await asyncio.to_thread(self._process.wait, _STOP_SECONDS)
        self._process = None
        return status

    async def stop(self) -> None:
        """In good order, or by force after a while."""
        if self._process is not None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                await self.ended()
        self.kill()
