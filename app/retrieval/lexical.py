"""Lexical evidence: BM25F over the fields of tool documents, as one sparse matrix of ready-made term weights.

Robertson, Zaragoza and Taylor, "Simple BM25 extension to multiple weighted fields" (CIKM 2004). Everything
that does not depend on the query is multiplied out when the index is built; a query only adds up postings.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import Stemmer
from numpy.typing import NDArray

_WORD = re.compile(r"[^\W_]+")
# "getHTTPStatus2" -> get HTTP Status 2. Letters and digits part as well: "31 Events" is written "31Events" too.
_PART = re.compile(r"\d+|[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_a-zA-Z]+")
# Scripts written without spaces are cut into single characters: crude, but it matches, and nothing crashes.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u1100-\u11ff\u3040-\u30ff\u3130-\u318f\u3400-\u9fff\uac00-\ud7af]")
_LONGEST_WORD = 64

# Function words and the politeness of requests: they say nothing about which tool is meant.
STOP_WORDS: frozenset[str] = frozenset(
    word
    for line in (
        "a about above after again all also am an and any are as at be because been before being below between",
        "both but by can could did do does doing down during each few for from further had has have having he her",
        "here hers him his how i if in into is it its itself just me more most my myself no nor not now of off on",
        "once only or other our ours out over own s same she should so some such t than that the their theirs",
        "them then there these they this those through to too under until up very was we were what when where",
        "which while who whom why will with would you your yours d ll m re ve don",
        "please want need like help know provide give get find fetch retrieve show tell let using use",
        "additionally finally lastly furthermore moreover along",
    )
    for word in line.split()
)


@lru_cache(maxsize=1)
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")


@lru_cache(maxsize=65_536)
def _terms_of_word(word: str) -> tuple[str, ...]:
    """Stemmed terms of one word: its parts, and the whole too if there are several (TrumpetBox: trumpetbox)."""
    parts = [part.lower() for part in _PART.findall(word[:_LONGEST_WORD])]
    terms: list[str] = []
    for part in parts:
        if _UNSPACED.search(part):
            terms.extend(part)
        elif part not in STOP_WORDS:
            terms.append(_stemmer().stemWord(part))
    if len(parts) > 1:
        terms.append("".join(parts))
    return tuple(terms)


def terms(text: str) -> list[str]:
    """Terms of a text in order: accents folded, words cut at case and digit borders, stop words out."""
    if not text.isascii():
        folded = unicodedata.normalize("NFKD", text)
        # Hangul is decomposed by NFKD as well; composing again what is left restores it.
        text = unicodedata.normalize("NFC", "".join(c for c in folded if not unicodedata.combining(c)))
    return [term for word in _WORD.findall(text) for term in _terms_of_word(word)]


@dataclass(frozen=True)
class Field:
    """How much one field counts, and how far its length is normalised (0: not at all, 1: fully)."""

    weight: float
    b: float


class LexicalIndex:
    """Immutable BM25F index. Rows are the positions of the documents given to `build`."""

    K1 = 1.2
    """Saturation of repeated terms: the value of the literature."""

    def __init__(
        self,
        vocabulary: dict[str, int],
        starts: NDArray[np.int64],
        rows: NDArray[np.int32],
        weights: NDArray[np.float32],
        size: int,
    ) -> None:
        """`rows` and `weights` are the postings; those of term t lie from `starts[t]` to `starts[t + 1]`."""
        self._vocabulary = vocabulary
        self._starts = starts
        self._rows = rows
        self._weights = weights
        self.size = size

    @classmethod
    def build(cls, documents: Mapping[str, Sequence[Sequence[str]]], fields: Mapping[str, Field]) -> "LexicalIndex":
        """Index documents given by field: `documents[field][row]` are the terms of that row's field.

        Fields without an entry in `fields` are left out. Cost is linear in the number of terms.
        """
        size = max((len(texts) for texts in documents.values()), default=0)
        vocabulary: dict[str, int] = {}
        parts = [
            _field_counts(documents[name], field, vocabulary) for name, field in fields.items() if name in documents
        ]
        if not parts or not vocabulary:
            return cls({}, np.zeros(1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32), size)
        keys, frequencies = _sum_by_key(
            np.concatenate([keys for keys, _ in parts]), np.concatenate([values for _, values in parts])
        )
        term, row = keys >> 32, (keys & 0xFFFFFFFF).astype(np.int32)
        found_in = np.bincount(term, minlength=len(vocabulary))
        idf = np.log1p((size - found_in + 0.5) / (found_in + 0.5))
        weights = (idf[term] * frequencies * (cls.K1 + 1) / (frequencies + cls.K1)).astype(np.float32)
        starts = np.concatenate([[0], np.cumsum(found_in)]).astype(np.int64)
        return cls(vocabulary, starts, row, weights, size)

    def take(self, rows: NDArray[np.int64]) -> "LexicalIndex":
        """The index of these rows alone, in this order; terms keep the weights they have here."""
        position = np.full(self.size, -1, np.int32)
        position[rows] = np.arange(len(rows), dtype=np.int32)
        kept = position[self._rows] >= 0
        before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
        new_rows, weights = position[self._rows[kept]], self._weights[kept]
        return LexicalIndex(self._vocabulary, before[self._starts], new_rows, weights, len(rows))

    def scores(self, queries: Sequence[Iterable[str]]) -> NDArray[np.float32]:
        """BM25F of every document for every query: (len(queries), size). A term counts once in a query."""
        rows: list[NDArray[np.int64]] = []
        weights: list[NDArray[np.float32]] = []
        for position, query in enumerate(queries):
            offset = position * self.size
            for term in set(query):
                found = self._vocabulary.get(term)
                if found is not None:
                    span = slice(self._starts[found], self._starts[found + 1])
                    rows.append(self._rows[span] + np.int64(offset))
                    weights.append(self._weights[span])
        shape = (len(queries), self.size)
        if not rows:
            return np.zeros(shape, np.float32)
        total = np.bincount(np.concatenate(rows), np.concatenate(weights), minlength=shape[0] * shape[1])
        return total.astype(np.float32).reshape(shape)


def _field_counts(
    texts: Sequence[Sequence[str]], field: Field, vocabulary: dict[str, int]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Keys (term << 32 | row) and weighted frequencies of one field; new terms go into the vocabulary."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    ids = np.fromiter(
        (vocabulary.setdefault(term, len(vocabulary)) for text in texts for term in text),
        np.int64,
        int(lengths.sum()),
    )
    rows = np.repeat(np.arange(len(texts), dtype=np.int64), lengths)
    average = max(float(lengths[lengths > 0].mean()) if len(ids) else 1.0, 1.0)
    norm = 1 - field.b + field.b * lengths / average
    keys, counts = _sum_by_key((ids << 32) | rows, np.ones(len(ids)))
    return keys, field.weight * counts / norm[keys & 0xFFFFFFFF]


def _sum_by_key(keys: NDArray[np.int64], values: NDArray[np.float64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    unique, inverse = np.unique(keys, return_inverse=True)
    return unique, np.bincount(inverse, values, minlength=len(unique)).astype(np.float64, copy=False)
