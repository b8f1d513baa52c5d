"""Pieces of a prompt with their tokens, encoded once and kept for the next call."""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from threading import Lock
from time import monotonic

from cachetools import TTLCache

from app.json_data.values import text_size
from app.prompting.tokenizer import PromptTokenizer

_OVERHEAD_BYTES = 400
"""Of the Python objects around a segment's text and ids."""


@dataclass(frozen=True, slots=True)
class Segment:
    text: str
    ids: "array[int]"

    @property
    def tokens(self) -> int:
        return len(self.ids)


NOTHING = Segment("", array("I"))


def size(segment: Segment) -> int:
    """Bytes of memory, roughly."""
    return _OVERHEAD_BYTES + 4 * len(segment.ids) + text_size(segment.text)


class SegmentEncoder:
    """Texts to segments. What was encoded is kept up to `memory` bytes, the least recently used goes first.

    Safe to use from many threads at once.
    """

    def __init__(
        self, tokenizer: PromptTokenizer, memory: int, *, ttl: float = inf, timer: Callable[[], float] = monotonic
    ) -> None:
        """`ttl`: seconds after which a text is forgotten, however often it was used."""
        self._tokenizer = tokenizer
        self._kept: TTLCache[str, Segment] = TTLCache(maxsize=memory, ttl=ttl, timer=timer, getsizeof=size)
        self._lock = Lock()

    def one(self, text: str) -> Segment:
        return self.many([text])[0]

    def many(self, texts: Sequence[str]) -> list[Segment]:
        with self._lock:
            self._kept.expire()
            found = {text: segment for text in texts if (segment := self._kept.get(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            encoded = self._tokenizer.encode_batch(missing)
            new = {text: Segment(text, array("I", ids)) for text, ids in zip(missing, encoded, strict=True)}
            with self._lock:
                for text, segment in new.items():
                    if size(segment) <= self._kept.maxsize:
                        self._kept[text] = segment
            found |= new
        return [found[text] for text in texts]
