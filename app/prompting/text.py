"""Data as text and text as tokens: JSON that nothing breaks out of, long values cut short, texts encoded once.

Everything variable in a prompt goes through `json_text`, so no line of it can begin a new section of the prompt.
"""

import json
import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from threading import Lock
from time import monotonic
from typing import Protocol

from cachetools import TTLCache

from app.domain import Json
from app.json_data.values import SEPARATORS, text_size

ELLIPSIS = "…"
_OVERHEAD_BYTES = 400
"""Memory of the Python objects around a segment's text and ids, roughly."""
_INTEGER_BITS = 512
"""Longer integers are replaced: no model can read them, and Python refuses to print more than 4,300 digits."""

# Escaped in addition to what the library json escapes: other line ends, with which data could begin a line, and lone
# surrogates, which no tokenizer accepts.
_TO_ESCAPE = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def json_text(value: Json) -> str:
    """A JSON value as one line of text, without white space and with readable Unicode.

    Answers are written in the same way (`app.answers.reading`), so a value that the model copies has the same tokens.

    Raises ValueError or TypeError for a value that JSON cannot express; `shorten` makes such values expressible.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=SEPARATORS)
    return _TO_ESCAPE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def replace_surrogates(text: str) -> str:
    """The text with lone surrogates, which no tokenizer accepts, as replacement characters."""
    return _SURROGATES.sub("\ufffd", text)


def cut(text: str, characters: int) -> str:
    """The text cut to a maximum number of characters, at least 1. The last is an ellipsis if something was cut."""
    return text if len(text) <= characters else text[: characters - 1].rstrip() + ELLIPSIS


def one_line(text: str) -> str:
    """The text on one line, with one space for each run of white space."""
    return " ".join(text.split())


def shorten(value: Json, *, characters: int, items: int, depth: int) -> Json:
    """The value with strings and keys cut to `characters`, containers to `items`, and nesting to `depth` levels.

    The result can be written as JSON: numbers that JSON cannot express, such as NaN, become text.
    """
    if isinstance(value, str):
        return cut(value, characters)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _INTEGER_BITS else ELLIPSIS
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping | list | tuple):
        return _shorten_container(value, characters, items, depth)
    return cut(str(value), characters)


def _shorten_container(
    value: Mapping[str, Json] | list[Json] | tuple[Json, ...], characters: int, items: int, depth: int
) -> Json:
    if value and depth == 0:
        return ELLIPSIS
    more = len(value) > items
    if isinstance(value, Mapping):
        entries = {
            cut(str(key), characters): shorten(each, characters=characters, items=items, depth=depth - 1)
            for key, each in islice(value.items(), items)
        }
        return entries | {ELLIPSIS: ELLIPSIS} if more else entries
    members = [shorten(each, characters=characters, items=items, depth=depth - 1) for each in value[:items]]
    return [*members, ELLIPSIS] if more else members


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a prompt, with its token ids."""

    text: str
    ids: "array[int]"

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return len(self.ids)


EMPTY = Segment("", array("I"))


def memory_bytes(segment: Segment) -> int:
    """Memory that a segment takes, in bytes, roughly."""
    return _OVERHEAD_BYTES + 4 * len(segment.ids) + text_size(segment.text)


class TextEncoder(Protocol):
    """What turns texts into token ids: `app.prompting.tokenizer.PromptTokenizer`."""

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]: ...


class SegmentEncoder:
    """Encodes texts to segments, and caches them: a text that comes again is not encoded again. Thread-safe."""

    def __init__(
        self, tokenizer: TextEncoder, memory: int, *, ttl: float = inf, timer: Callable[[], float] = monotonic
    ) -> None:
        """`memory`: maximum bytes of the cache; beyond, the least recently used segments are dropped.

        `ttl`: seconds after which a segment is dropped, even if it was used since.
        """
        self._tokenizer = tokenizer
        self._cache: TTLCache[str, Segment] = TTLCache(maxsize=memory, ttl=ttl, timer=timer, getsizeof=memory_bytes)
        self._lock = Lock()

    def encode(self, text: str) -> Segment:
        """The text as a segment."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[Segment]:
        """The texts as segments, in the same order; those not in the cache are encoded together."""
        with self._lock:
            self._cache.expire()
            found = {text: segment for text in texts if (segment := self._cache.get(text)) is not None}
        missing = [text for text in dict.fromkeys(texts) if text not in found]
        if missing:
            encoded = self._tokenizer.encode_batch(missing)
            new = {text: Segment(text, array("I", ids)) for text, ids in zip(missing, encoded, strict=True)}
            with self._lock:
                for text, segment in new.items():
                    if memory_bytes(segment) <= self._cache.maxsize:
                        self._cache[text] = segment
            found |= new
        return [found[text] for text in texts]
