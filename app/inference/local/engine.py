"""The engine that runs the model in this process, by transformers and peft."""

import asyncio
import math
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MappingProxyType

import torch

from app.errors import (
    AdapterMissing,
    EngineDown,
    EngineOverloaded,
    EngineRefused,
    EngineTimeout,
    InvalidAdapter,
    SetupError,
)
from app.inference.engine import Generation, GenerationRequest
from app.inference.local.adapters import Adapters
from app.inference.local.grammars import Grammars
from app.inference.local.model import CausalModel
from app.inference.local.prefixes import PrefixStore
from app.inference.local.rows import Ticket
from app.inference.local.worker import Job, Worker

_LONGEST_TIMEOUT = 24 * 3600.0
_NO_ADAPTERS: Mapping[str, Path] = MappingProxyType({})


class LocalEngine:
    """`Engine` on a model directory in Hugging Face's layout, and LoRA adapters in peft's, by name.

    - threads: torch's for the model; None for as many as there are cores.
    - max_batch, max_waiting: requests decoded at a time, and those that may wait beyond.
    - prefix_cache_mb: memory of the model's device for keys and values of prompts seen before; 0 for none.
    - step_tokens: tokens of prompts read in one pass (see `Worker`).
    - device: torch's name; None for the GPU if there is one.
    - dtype: torch's name; None for bfloat16 where the hardware multiplies it, else float32.
    - seed: of temperatures above 0; None for a new one.

    Construct it in a thread: loading takes seconds. Raises SetupError for files that cannot be loaded.
    """

    def __init__(
        self,
        model: Path | str,
        *,
        adapters: Mapping[str, Path] = _NO_ADAPTERS,
        threads: int | None = None,
        max_batch: int = 8,
        max_waiting: int = 64,
        prefix_cache_mb: int = 512,
        step_tokens: int = 512,
        device: str | None = None,
        dtype: str | None = None,
        seed: int | None = None,
    ) -> None:
        least = [max_batch - 1, step_tokens - 1, max_waiting, prefix_cache_mb, 0 if threads is None else threads - 1]
        if min(least) < 0:
            raise SetupError("max_batch, step_tokens and threads start at 1, max_waiting and prefix_cache_mb at 0")
        self._model = CausalModel(model, device=device, dtype=dtype)
        self._grammars = Grammars(self._model.tokenizer, self._model.vocabulary, self._model.eos)
        self._prefixes = PrefixStore(prefix_cache_mb * 2**20)
        self._adapters = Adapters(self._model)
        for name, path in adapters.items():
            self._adapters.load(name, path)
        self._using: Counter[str | None] = Counter()
        """Requests in `generate` beyond its checks, by adapter."""
        self._leaving: dict[str, asyncio.Event] = {}
        """Adapters to be unloaded; set when no request uses them any more."""
        generator = torch.Generator()
        if seed is None:
            generator.seed()
        else:
            generator.manual_seed(seed)
        self._max_batch, self._max_waiting = max_batch, max_waiting
        self._seconds = 1.0
        """A request's time, as a moving average; for `retry_after`."""
        self._compiler = ThreadPoolExecutor(1, thread_name_prefix="local-engine-grammars")
        self._worker = Worker(
            self._model,
            self._adapters,
            self._prefixes,
            threads=threads,
            max_batch=max_batch,
            step_tokens=step_tokens,
            generator=generator,
        )

    @property
    def name(self) -> str:
        return "local"

    @property
    def place(self) -> str:
        return "in process"

    @property
    def shared(self) -> bool:
        return False

    @property
    def base_model(self) -> str:
        """The base's name in `Generation.model`."""
        return self._model.name

    @property
    def context(self) -> int:
        """Tokens that prompt and answer may have together."""
        return self._model.context

    @property
    def adapters(self) -> frozenset[str]:
        """Names that `generate` takes now."""
        return self._adapters.names - self._leaving.keys()

    @property
    def running(self) -> int:
        """Requests being decoded."""
        return self._worker.running

    async def generate(self, request: GenerationRequest) -> Generation:
        self._check(request)
        if not self._worker.alive:
            raise EngineDown("The local engine is closed")
        if request.timeout <= 0:
            raise EngineTimeout("The deadline had passed before the request came")
        present = self._using.total()
        if present >= self._max_batch + self._max_waiting:
            raise EngineOverloaded(f"{present} requests are at the local engine", retry_after=self._retry_after())
        self._using[request.adapter] += 1
        started = time.monotonic()
        timeout = min(request.timeout, _LONGEST_TIMEOUT)
        try:
            async with asyncio.timeout(timeout):
                generation = await self._generated(request, started + timeout)
        except TimeoutError as error:
            raise EngineTimeout(f"No answer within {timeout:g} seconds") from error
        finally:
            self._using[request.adapter] -= 1
            if request.adapter in self._leaving and not self._using[request.adapter]:
                self._leaving[request.adapter].set()
        self._seconds += 0.1 * (time.monotonic() - started - self._seconds)
        return generation

    async def ready(self) -> bool:
        return self._worker.alive

    async def watch(self) -> None:
        """There is nothing that could come back: a worker that ended has ended."""

    async def close(self) -> None:
        await asyncio.to_thread(self._worker.close)
        self._compiler.shutdown(wait=False, cancel_futures=True)

    async def loaded(self) -> frozenset[str]:
        return self.adapters

    async def context_tokens(self) -> int | None:
        return self.context

    async def load_adapter(self, name: str, path: Path) -> None:
        """Between two passes, while requests run. InvalidAdapter: it does not fit; all as before."""
        if name in self.adapters:
            return
        try:
            await self._done(Job(partial(self._adapters.load, name, path)))
        except SetupError as error:
            raise InvalidAdapter(error.detail) from error

    async def unload_adapter(self, name: str) -> None:
        """New requests for it are refused at once, those accepted before are served first; returns when it is gone.

        Cancelled while it waits for those, it leaves all as it was.
        """
        if name not in self.adapters:
            return
        self._leaving[name] = asyncio.Event()
        try:
            if self._using[name]:
                await self._leaving[name].wait()
            await self._done(Job(partial(self._adapters.unload, name)))
        finally:
            del self._leaving[name]

    async def _done(self, job: Job) -> None:
        self._worker.do(job)
        await asyncio.shield(asyncio.wrap_future(job.done))

    async def _generated(self, request: GenerationRequest, deadline: float) -> Generation:
        matcher = None
        if request.schema is not None:
            # Most take a millisecond, a large one its hundreds: too long for the event loop, and for other requests.
            loop = asyncio.get_running_loop()
            matcher = await loop.run_in_executor(self._compiler, self._grammars.matcher, request.schema)
        ticket = Ticket(request, matcher, deadline)
        self._worker.submit(ticket)
        try:
            return await asyncio.wrap_future(ticket.answer)
        finally:
            ticket.answer.cancel()

    def _check(self, request: GenerationRequest) -> None:
        """EngineRefused for what this model cannot do."""
        if request.adapter is not None and request.adapter not in self.adapters:
            raise AdapterMissing(f"No adapter {request.adapter!r} is loaded")
        if not request.prompt or request.max_tokens < 1:
            raise EngineRefused("A request needs a prompt and at least 1 for max_tokens")
        if len(request.prompt) + request.max_tokens > self._model.context:
            raise EngineRefused(
                f"{len(request.prompt)} tokens of prompt and {request.max_tokens} of answer are more than the "
                f"{self._model.context} of {self._model.name}"
            )
        for ids in filter(None, (request.prompt, request.labels)):
            if min(ids) < 0 or max(ids) >= self._model.vocabulary:
                raise EngineRefused(f"A token id is not in {self._model.name}'s vocabulary of {self._model.vocabulary}")
        if not (math.isfinite(request.temperature) and request.temperature >= 0) or math.isnan(request.timeout):
            raise EngineRefused("temperature has to be 0 or more, and timeout a number")

    def _retry_after(self) -> int:
        """Seconds, about what a request took lately."""
        return max(1, math.ceil(self._seconds))
