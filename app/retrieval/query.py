"""An instruction as it is searched for: split into sentences, embedded and dated once, then handed on."""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.lexical import terms

MAX_SENTENCES = 8
"""Texts embedded for one instruction. What follows goes with the last of them."""

# The end of a sentence, with what closes it, before something that can start one; or a new line. The full stop
# in "v1.2", "example.com" or "e.g. this" is no end.
_BORDER = re.compile(r"(?<=[.!?…])[\"'”’)\]]*\s+(?=[\"'“‘(\[]*[^\W\da-z_])|(?<=[。！？])|[\r\n]+")
_WORD = re.compile(r"[^\W_]")


@dataclass(frozen=True, eq=False)
class Query:
    """An instruction with all that searching and deciding need of it. An instruction often asks for several things, a
    sentence each, so each sentence is searched for by itself."""

    text: str
    sentences: tuple[str, ...]
    """`split_sentences(text)`."""
    vectors: NDArray[np.float32]
    """(m, d), L2-normalised: a row for each sentence."""
    asked_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    """UTC: what "tomorrow" is counted from."""

    def __post_init__(self) -> None:
        if len(self.sentences) != len(self.vectors):
            raise ValueError(f"{len(self.vectors)} vectors for {len(self.sentences)} sentences")

    @cached_property
    def terms(self) -> list[list[str]]:
        """Terms for the lexical index: of each sentence, then of all together."""
        of_sentences = [terms(sentence) for sentence in self.sentences]
        return [*of_sentences, [term for sentence in of_sentences for term in sentence]]

    @cached_property
    def vectors_and_whole(self) -> NDArray[np.float32]:
        """(m + 1, d): the sentences' vectors, then one for the whole instruction.

        That is the direction of the sentences' sum. Embedding the instruction once more finds nothing better, and would
        double what a request costs.
        """
        whole = self.vectors.sum(0, keepdims=True)
        whole /= max(float(np.linalg.norm(whole)), 1e-6)
        return np.concatenate([self.vectors, whole]).astype(np.float32, copy=False)


async def embed_query(embedder: BatchingEmbedder, text: str, asked_at: datetime | None = None) -> Query:
    """`asked_at`: UTC; now, if not given."""
    sentences = split_sentences(text)
    return Query(text, sentences, await embedder.encode(sentences), asked_at or datetime.now(UTC))


def split_sentences(instruction: str) -> tuple[str, ...]:
    """The instruction's sentences, in order and without repetitions: 1 to `MAX_SENTENCES` texts.

    The instruction itself where it has no letter or digit.
    """
    parts = [part.strip() for part in _BORDER.split(instruction) if _WORD.search(part)]
    sentences = list(dict.fromkeys(parts))
    if len(sentences) > MAX_SENTENCES:
        sentences[MAX_SENTENCES - 1 :] = [" ".join(sentences[MAX_SENTENCES - 1 :])]
    return tuple(sentences) or (instruction.strip(),)
