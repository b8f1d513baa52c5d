"""The `scripted` engine: a fake that keeps every promise of an `Engine` and answers what it was told to."""

import asyncio
import json
import math
from collections import deque
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from app.errors import AdapterMissing, EngineDown, EngineError, EngineRefused, EngineTimeout, InvalidAdapter
from app.inference.engine import Generation, GenerationRequest
from app.inference.gate import Gate
from app.json_data.values import SEPARATORS
from tests.support.schema_instances import smallest_instance

_CHARACTERS_A_TOKEN = 4
_REMEMBERED = 1000

Answer = Callable[[GenerationRequest], str | EngineError]
Logprobs = Callable[[GenerationRequest], Mapping[int, float] | None]


def smallest_answer(request: GenerationRequest) -> str | EngineError:
    """The smallest text that satisfies the schema: the first candidate, with nothing but what is required."""
    if request.schema is None:
        return "{}"
    schema = dict(request.schema)
    # Only the first alternative is looked at: the others may be large.
    first = (schema.pop("anyOf", None) or [{}])[0]
    try:
        return _smallest_text(json.dumps(schema | first))
    except (ValueError, RecursionError) as error:
        # Also what json says of a schema that holds itself.
        return EngineRefused(f"No answer can be scripted: {error}")


@lru_cache(maxsize=10_000)
def _smallest_text(schema: str) -> str:
    return json.dumps(smallest_instance(json.loads(schema)), ensure_ascii=False, separators=SEPARATORS)


def first_label_likeliest(request: GenerationRequest) -> dict[int, float] | None:
    """Each label half as probable as the one before it, as fits `smallest_answer`."""
    labels = list(dict.fromkeys(request.labels))
    if not labels:
        return None
    weights = list(accumulate(labels, lambda weight, _: weight / 2, initial=1.0))[: len(labels)]
    return {label: math.log(weight / sum(weights)) for label, weight in zip(labels, weights, strict=True)}


class ScriptedEngine:
    """For tests and trials without a model; nothing of it is random.

    answer: the text for a request, or the error to raise. label_logprobs: what is told of the labels.
    adapters: the names it knows; others are refused. context: tokens a prompt may have.
    These, `latency` (seconds for a request, or a function of it), `failure` (raised by every request) and `unloadable`
    may be set at any time. Tokens of the answer are estimated, at four characters each, and `max_tokens` cuts it off.
    """

    def __init__(
        self,
        answer: Answer = smallest_answer,
        *,
        base_model: str = "scripted",
        adapters: Collection[str] = (),
        context: int = 131_072,
        latency: float | Callable[[GenerationRequest], float] = 0.0,
        label_logprobs: Logprobs = first_label_likeliest,
        max_concurrency: int = 64,
        max_waiting: int = 128,
        place: str = "scripted",
        shared: bool = True,
    ) -> None:
        self._place, self._shared = place, shared
        self.answer = answer
        self._base_model = base_model
        self._context = context
        self.label_logprobs = label_logprobs
        self._gate = Gate(max_concurrency, max_waiting)
        self._closed = asyncio.Event()
        self.adapters = set(adapters)
        self.latency = latency
        self.failure: EngineError | None = None
        self.unloadable = ""
        """Why no adapter can be loaded; empty where one can."""
        self.requests: deque[GenerationRequest] = deque(maxlen=_REMEMBERED)
        """The latest that came in, refused ones too."""

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def place(self) -> str:
        return self._place

    @property
    def shared(self) -> bool:
        return self._shared

    @property
    def running(self) -> int:
        """Requests that are being answered."""
        return self._gate.running

    async def generate(self, request: GenerationRequest) -> Generation:
        self.requests.append(request)
        self._check(request)
        try:
            async with asyncio.timeout(request.timeout), self._gate:
                await self._work(request)
        except TimeoutError:
            raise EngineTimeout(f"The model did not answer within {request.timeout:g} s.") from None
        if self.failure is not None:
            raise self.failure
        answer = self.answer(request)
        if isinstance(answer, EngineError):
            raise answer
        return self._generation(answer, request)

    async def loaded(self) -> frozenset[str]:
        self._check_reachable()
        return frozenset(self.adapters)

    async def context_tokens(self) -> int | None:
        self._check_reachable()
        return self._context

    async def load_adapter(self, name: str, path: Path) -> None:
        self._check_reachable()
        if self.unloadable or not await asyncio.to_thread(path.is_dir):
            raise InvalidAdapter(self.unloadable or f"There is no adapter at {path}.")
        self.adapters.add(name)

    async def unload_adapter(self, name: str) -> None:
        self._check_reachable()
        self.adapters.discard(name)

    async def ready(self) -> bool:
        return not (self._closed.is_set() or isinstance(self.failure, EngineDown) or self._gate.full)

    async def watch(self) -> None:
        return

    async def close(self) -> None:
        self._closed.set()

    def _check_reachable(self) -> None:
        if self._closed.is_set():
            raise EngineDown("The engine is closed.")
        if isinstance(self.failure, EngineDown):
            raise self.failure

    def _check(self, request: GenerationRequest) -> None:
        if self._closed.is_set():
            raise EngineDown("The engine is closed.")
        if request.adapter is not None and request.adapter not in self.adapters:
            raise AdapterMissing(f"There is no adapter {request.adapter!r}.")
        if not 0 < len(request.prompt) < self._context:
            raise EngineRefused(f"The prompt has {len(request.prompt)} tokens; it must have 1 to {self._context - 1}.")
        if request.max_tokens < 1:
            raise EngineRefused(f"max_tokens must be 1 or more, not {request.max_tokens}.")

    async def _work(self, request: GenerationRequest) -> None:
        """Takes its time. Raises `EngineDown` where the engine is closed meanwhile."""
        latency = self.latency(request) if callable(self.latency) else self.latency
        try:
            async with asyncio.timeout(latency):
                await self._closed.wait()
        except TimeoutError:
            return
        raise EngineDown("The engine was closed.")

    def _generation(self, answer: str, request: GenerationRequest) -> Generation:
        most = request.max_tokens * _CHARACTERS_A_TOKEN
        text = answer[:most]
        return Generation(
            text=text,
            prompt_tokens=len(request.prompt),
            completion_tokens=math.ceil(len(text) / _CHARACTERS_A_TOKEN),
            model=request.adapter or self._base_model,
            finished=len(answer) <= most,
            label_logprobs=self.label_logprobs(request) if request.labels else None,
        )
