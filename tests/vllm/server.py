"""A real vLLM server on the CPU, which tests may kill and start again."""

import os
import re
import signal
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import httpx
import psutil

from tests.support.servers import free_port
from tests.support.tiny_model import CONTEXT, TARGETS

START_SECONDS = 600.0
"""Without compiled bytecode, on a busy machine."""
STOP_SECONDS = 20.0
BASE = "base"
_ADAPTERS = 256
"""More than are ever loaded: on the CPU, vLLM adds whatever adapter its last slot holds to the base model's answers
(vllm-project/vllm#48421)."""
_KEEPER = """
import os, signal, sys
sys.stdin.read()
try:
    os.killpg(int(sys.argv[1]), signal.SIGTERM)
except ProcessLookupError:
    pass
"""
"""Runs beside the server: when this process ends, however it does, so does the server."""
_SAMPLE = re.compile(r"^(?P<name>[^\s{#]+)(?:\{.*\})? (?P<value>\S+)$", re.MULTILINE)
_ENVIRONMENT = {
    "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "HF_HUB_OFFLINE": "1",
    # By itself every server binds its one thread to the same core, where a second one starves.
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
    # Else every start compiles vLLM's sources anew, which takes longer than all the rest.
    "PYTHONDONTWRITEBYTECODE": "",
}


class VllmServer:
    """Serves the model directory as "base", on a port that stays the same from one start to the next.

    python: of a virtualenv with vLLM. directory: where `vllm.log` goes. context: tokens, at most the model's. rank: the
    highest of adapters. The heads of the model must be of a size that vLLM's attention on the CPU has: 32, 64, 80 and
    so on.
    """

    def __init__(
        self, python: Path | str, model: Path, directory: Path, *, context: int = CONTEXT, rank: int = 8
    ) -> None:
        # Not resolved: the interpreter behind a virtualenv's link does not know the virtualenv.
        self._python = Path(python).absolute()
        self._model = model
        self._context = context
        self._rank = rank
        self.log = directory / "vllm.log"
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        # One for all: making one loads certificates, during which no other thread runs.
        self._client = httpx.Client(base_url=self.url, timeout=START_SECONDS, trust_env=False)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.stop()
        self._client.close()

    def start(self) -> None:
        """Returns once it has answered. Raises RuntimeError, with the end of its log, where it does not."""
        self._output = self.log.open("ab")
        self._process = subprocess.Popen(
            self._command(),
            cwd=self.log.parent,
            env=os.environ | _ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._keeper = subprocess.Popen(
            [sys.executable, "-c", _KEEPER, str(self._process.pid)], stdin=subprocess.PIPE, start_new_session=True
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._is_up():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"vLLM did not start:\n{self.log_tail()}")
            time.sleep(0.2)
        self._warm_up()

    def stop(self) -> None:
        """In good order, or by force after a while."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """With SIGKILL, its engine and workers too. Nothing to do where it does not run."""
        if self._process is not None:
            _kill_family(self._process.pid)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        if self._keeper is not None:
            self._keeper.communicate()
            self._keeper = None
        if self._output is not None:
            self._output.close()
            self._output = None

    def metrics(self) -> dict[str, float]:
        """Prometheus' samples by name, added up over their labels."""
        found: dict[str, float] = defaultdict(float)
        for sample in _SAMPLE.finditer(self._client.get("/metrics").text):
            found[sample["name"]] += float(sample["value"])
        return dict(found)

    def running(self) -> int:
        """Requests that it works on, or that wait in it."""
        metrics = self.metrics()
        return int(metrics["vllm:num_requests_running"] + metrics["vllm:num_requests_waiting"])

    def wait_until_idle(self, seconds: float = 60.0) -> None:
        """Raises TimeoutError where something still runs."""
        deadline = time.monotonic() + seconds
        while count := self.running():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{count} requests still run after {seconds:g} s")
            time.sleep(0.05)

    def load_adapter(self, name: str, path: Path) -> None:
        self._post("/v1/load_lora_adapter", {"lora_name": name, "lora_path": str(path)})

    def unload_adapter(self, name: str) -> None:
        self._post("/v1/unload_lora_adapter", {"lora_name": name})

    def log_tail(self, lines: int = 60) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _command(self) -> list[str]:
        return [
            *(str(self._python), "-m", "vllm.entrypoints.openai.api_server"),
            *("--model", str(self._model), "--served-model-name", BASE, "--host", "127.0.0.1"),
            *("--port", str(self._port), "--dtype", "bfloat16", "--max-model-len", str(self._context)),
            *("--enable-lora", "--max-loras", str(_ADAPTERS), "--max-cpu-loras", str(_ADAPTERS)),
            *("--max-lora-rank", str(self._rank)),
            *("--lora-target-modules", *TARGETS),
            *("--enable-prefix-caching", "--enable-prompt-tokens-details"),
            *("--structured-outputs-config", '{"backend": "guidance", "disable_any_whitespace": true}'),
        ]

    def _is_up(self) -> bool:
        try:
            return self._client.get("/health", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _warm_up(self) -> None:
        """The first request of each kind compiles."""
        request: dict[str, Any] = {"model": BASE, "prompt": [5, 6, 7], "max_tokens": 8, "temperature": 0}
        schema = {"name": "call", "schema": {"enum": ["A", "B"]}, "strict": True}
        self._post("/v1/completions", request)
        self._post("/v1/completions", request | {"logprobs": 1, "logprob_token_ids": [5, 6]})
        self._post("/v1/completions", request | {"response_format": {"type": "json_schema", "json_schema": schema}})

    def _post(self, path: str, document: dict[str, Any]) -> None:
        answer = self._client.post(path, json=document)
        if answer.status_code != 200:
            raise RuntimeError(f"{path}: {answer.status_code} {answer.text}")


def _kill_family(process_id: int) -> None:
    """All but Python's resource trackers: those find themselves alone, remove the shared memory, and end."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process_id)
        family = [parent, *parent.children(recursive=True)]
        for process in family:
            with suppress(psutil.NoSuchProcess):
                if "resource_tracker" not in " ".join(process.cmdline()):
                    process.kill()
        psutil.wait_procs(family, STOP_SECONDS)
