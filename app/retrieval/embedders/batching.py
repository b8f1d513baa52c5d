"""Embedding for a server: requests that wait together share one forward pass, repeated texts cost nothing."""

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from app.retrieval.embedders.base import Embedder

_Vector = NDArray[np.float32]


@dataclass(frozen=True)
class _Waiting:
    texts: list[str]
    done: "asyncio.Future[dict[str, _Vector]]"


class BatchingEmbedder:
    """Async front of an `Embedder`: one worker thread, and an LRU cache of text -> vector.

    While the worker computes, requests gather; the next pass takes all that wait, up to `max_batch` texts.
    There is no artificial delay. A long list of texts (a catalogue) is queued piece by piece, so that single
    instructions get in between.

    cache_size: texts whose vectors are kept (1.5 kB each at 384 dimensions); 0 keeps none.
    """

    def __init__(self, embedder: Embedder, *, max_batch: int = 64, cache_size: int = 16_384) -> None:
        self._embedder = embedder
        self._max_batch = max_batch
        self._cache_size = cache_size
        self._cache: OrderedDict[bytes, _Vector] = OrderedDict()
        self._waiting: deque[_Waiting] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="embedder")
        self._closed = False

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def dimension(self) -> int:
        return self._embedder.dimension

    async def __aenter__(self) -> "BatchingEmbedder":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def encode(self, texts: Sequence[str]) -> _Vector:
        """(len(texts), dimension), rows in the order of the texts.

        Raises what the embedder raises for these texts (not for others' in the same pass), and RuntimeError after
        `aclose`.
        """
        found: dict[str, _Vector] = {}
        missing: list[str] = []
        for text in dict.fromkeys(texts):
            key = _key(text)
            vector = self._cache.get(key)
            if vector is None:
                missing.append(text)
            else:
                self._cache.move_to_end(key)
                found[text] = vector
        for start in range(0, len(missing), self._max_batch):
            found.update(await self._submit(missing[start : start + self._max_batch]))
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        return np.stack([found[text] for text in texts])

    async def aclose(self) -> None:
        """Refuse new requests, answer those that wait, stop the thread. May be called again."""
        self._closed = True
        while self._runner is not None:
            await asyncio.wait([self._runner])
        self._worker.shutdown(wait=False)

    async def _submit(self, texts: list[str]) -> dict[str, _Vector]:
        if self._closed:
            raise RuntimeError("the embedder is closed")
        request = _Waiting(texts, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._runner is None:
            # A task of its own: it outlives the request that started it, should that be cancelled.
            self._runner = asyncio.create_task(self._run())
        return await request.done

    async def _run(self) -> None:
        try:
            while batch := self._next_batch():
                await self._answer(batch)
        finally:
            self._runner = None

    def _next_batch(self) -> list[_Waiting]:
        """What waits, oldest first: up to `max_batch` texts, at least one request, no cancelled ones."""
        batch: list[_Waiting] = []
        size = 0
        while self._waiting:
            if self._waiting[0].done.done():
                self._waiting.popleft()
                continue
            size += len(self._waiting[0].texts)
            if batch and size > self._max_batch:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        texts = list(dict.fromkeys(text for request in batch for text in request.texts))
        computed = asyncio.get_running_loop().run_in_executor(self._worker, self._embedder.encode, texts)
        await asyncio.wait([computed])
        error = computed.exception()
        if error is None:
            vectors = dict(zip(texts, computed.result(), strict=True))
            self._remember(vectors)
            for request in batch:
                if not request.done.done():
                    request.done.set_result({text: vectors[text] for text in request.texts})
        elif len(batch) == 1:
            if not batch[0].done.done():
                batch[0].done.set_exception(error)
        else:
            # One request's text may have broken the pass for all: each again by itself.
            for request in batch:
                await self._answer([request])

    def _remember(self, vectors: dict[str, _Vector]) -> None:
        for text, vector in vectors.items():
            # A copy: a row would keep its whole batch alive.
            self._cache[_key(text)] = vector.copy()
            self._cache.move_to_end(_key(text))
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _key(text: str) -> bytes:
    """What users wrote is not kept in memory longer than it takes to embed it: a digest of it is."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
