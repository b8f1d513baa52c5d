"""Texts to vectors whose products are exact, so that every decision made by them is the same on every machine.

Two processors give the same sentence vectors but for the last bits, and the order in which a product is summed is
another with every number of threads: enough for two tools that are nearly as similar to change places. Here the model
runs in double precision, which pushes the difference to the sixteenth digit, and the vectors are rounded to multiples
of 1/2048. The product of two such vectors of length one is a sum of whole numbers (in units of 2^-22) that never
leaves what float32 holds exactly, whatever the order. What the rounding costs is a cosine's fourth digit.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from multiprocessing import get_context
from threading import Thread, current_thread, main_thread

import numpy as np
from numpy.typing import NDArray

from app.retrieval.embedders.packaged import PackagedEmbedder

Vectors = NDArray[np.float32]
STEPS = 2048
"""Of a component between 0 and 1. Twice as fine, and the largest product would have 25 bits; float32 has 24."""
_CHUNK = 64
"""Texts that one process takes at a time; after Ctrl-C it finishes them first."""
_ALONE = 512
"""So few are not worth processes of their own, which take seconds to start."""


def embed(texts: Sequence[str], done: Callable[[int], None] = lambda _: None) -> Vectors:
    """(len(texts), d): multiples of 1/2048, of length 1 but for that rounding. Equal texts have equal vectors.

    `done` is told how many more texts are behind it.
    """
    # Once each: in another batch, between texts of other lengths, a text could get another last digit.
    distinct = sorted(set(texts), key=lambda text: (len(text), text))
    chunks = [distinct[start : start + _CHUNK] for start in range(0, len(distinct), _CHUNK)]
    # The longest first, so that no process ends long after the others.
    chunks.reverse()
    vectors: dict[str, NDArray[np.float32]] = {}

    def keep(chunk: Sequence[str], encoded: Vectors) -> None:
        vectors.update(zip(chunk, encoded, strict=True))
        done(len(chunk))

    if len(distinct) <= _ALONE:
        for chunk in chunks:
            keep(chunk, _encode(chunk))
    else:
        with _workers() as pool:
            with _no_interrupts():
                # The first task starts the processes, which inherit what is ignored: Ctrl-C goes to all of the group,
                # and it is for this process to tell the others.
                results = pool.map(_encode, chunks)
            for chunk, encoded in zip(chunks, results, strict=True):
                keep(chunk, encoded)
    done(len(texts) - len(distinct))
    return np.stack([vectors[text] for text in texts]) if texts else np.zeros((0, _embedder().dimension), np.float32)


@contextmanager
def _workers() -> Iterator[ProcessPoolExecutor]:
    """A process a core; they end with this one, however it ends."""
    pool = ProcessPoolExecutor(
        os.cpu_count(), mp_context=get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    if current_thread() is not main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _end_with(parent: int) -> None:
    def watch() -> None:
        # A parent that was killed tells nobody.
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def _encode(texts: Sequence[str]) -> Vectors:
    rounded: Vectors = np.round(_embedder().encode(texts) * STEPS) / np.float32(STEPS)
    return rounded


@lru_cache(maxsize=1)
def _embedder() -> PackagedEmbedder:
    return PackagedEmbedder("float64")
