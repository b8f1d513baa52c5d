"""Finding the tools that can do what an instruction asks for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.domain import Tool
from app.retrieval.dense_index import DenseIndex
from app.retrieval.fusion import Providers, relevance
from app.retrieval.intents import intents
from app.retrieval.lexical import LexicalIndex, terms
from app.retrieval.texts import lexical_index

EXACT_UP_TO = 50_000
"""Catalogues up to this many tools are scored completely; larger ones only where either index finds something."""
POOL = 500
"""Larger catalogues: tools taken from each index for each intent before the exact scoring."""


@dataclass(frozen=True)
class Retrieved:
    """A tool found for an instruction."""

    tool: Tool
    relevance: float
    """In [0, 1], comparable within one request."""
    dense: float
    """Best cosine of any of the instruction's intents."""
    lexical: float
    """Best BM25F of any of the intents, as a share of the request's best: in [0, 1]."""
    row: int
    """Position in the snapshot's `tools` and `attribute_vectors`."""


@dataclass(frozen=True)
class CatalogueSnapshot:
    """A catalogue at one revision with everything needed to search it; immutable."""

    tools: tuple[Tool, ...]
    vectors: NDArray[np.float32]
    """(n, K, d), L2-normalised: the embedded `retrieval_texts` of each tool."""
    attribute_vectors: NDArray[np.float32]
    """(n, d), L2-normalised: the embedded `attribute_text` of each tool."""
    revision: int
    lexical: LexicalIndex
    provider_ids: NDArray[np.int64]
    providers: Providers
    dense: DenseIndex | None
    """Only above `EXACT_UP_TO` tools."""

    @classmethod
    def build(
        cls,
        tools: Sequence[Tool],
        vectors: NDArray[np.float32],
        attribute_vectors: NDArray[np.float32],
        revision: int,
    ) -> "CatalogueSnapshot":
        """Index tools with their stored vectors, (n, K, d) and (n, d). No model is used; meant for a thread."""
        if not len(tools) == len(vectors) == len(attribute_vectors):
            raise ValueError("tools, vectors and attribute_vectors differ in length")
        vectors = np.ascontiguousarray(vectors, np.float32)
        ids = _provider_ids(tools)
        large = len(tools) > EXACT_UP_TO
        return cls(
            tools=tuple(tools),
            vectors=vectors,
            attribute_vectors=np.ascontiguousarray(attribute_vectors, np.float32),
            revision=revision,
            lexical=lexical_index(tools),
            provider_ids=ids,
            providers=Providers(ids),
            dense=DenseIndex.build(vectors.reshape(-1, vectors.shape[-1])) if large else None,
        )

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Position in `tools` by name."""
        return {tool.name: row for row, tool in enumerate(self.tools)}

    def only(self, names: Sequence[str]) -> "CatalogueSnapshot":
        """A snapshot of these tools alone, in this order. Raises KeyError for a name that is not in this one."""
        rows = [self.rows[name] for name in names]
        tools = [self.tools[row] for row in rows]
        return self.build(tools, self.vectors[rows], self.attribute_vectors[rows], self.revision)

    def search(
        self, instruction: str, query_vectors: NDArray[np.float32], limit: int = 50
    ) -> list[Retrieved]:
        """The `limit` most relevant tools, best first; of equals, the first in the catalogue.

        `query_vectors` (m, d) are the embedded `intents(instruction)`, in their order.
        """
        if not self.tools or limit <= 0:
            return []
        texts = intents(instruction)
        if len(texts) != len(query_vectors):
            raise ValueError("query_vectors are not those of intents(instruction)")
        lexical = self.lexical.scores([terms(text) for text in texts])
        strongest = max(float(lexical.max()), 1e-6)
        rows = None if self.dense is None else self._pool(self.dense, query_vectors, lexical)
        if rows is None:
            dense = self._cosines(query_vectors, self.vectors)
            scores = relevance(dense, lexical, self.providers)
        else:
            dense, lexical = self._cosines(query_vectors, self.vectors[rows]), lexical[:, rows]
            scores = relevance(dense, lexical, Providers(self.provider_ids[rows]))
        return [
            Retrieved(
                tool=self.tools[row],
                relevance=float(scores[at]),
                dense=float(dense[:, at].max()),
                lexical=float(lexical[:, at].max()) / strongest,
                row=row,
            )
            for at in _best(scores, limit)
            for row in (int(at if rows is None else rows[at]),)
        ]

    @staticmethod
    def _cosines(queries: NDArray[np.float32], vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """Best cosine of any of a tool's texts: (m, d), (n, K, d) -> (m, n)."""
        n, texts, dimension = vectors.shape
        cosines = queries @ vectors.reshape(n * texts, dimension).T
        best: NDArray[np.float32] = cosines.reshape(len(queries), n, texts).max(-1) if texts > 1 else cosines
        return best

    def _pool(
        self, index: DenseIndex, queries: NDArray[np.float32], lexical: NDArray[np.float32]
    ) -> NDArray[np.int64]:
        """Rows that either index puts among the best of any intent, ascending."""
        texts = self.vectors.shape[1]
        _, found = index.search(queries, min(POOL * texts, len(self.tools) * texts))
        pooled = [found[found >= 0] // texts]
        for scores in lexical:
            best = np.argpartition(-scores, min(POOL, len(scores) - 1))[:POOL]
            pooled.append(best[scores[best] > 0])
        return np.unique(np.concatenate(pooled)).astype(np.int64)


class ToolRetriever:
    """Holds the current snapshot. Replacing it is one assignment: searches that have begun finish on the old one."""

    def __init__(self, snapshot: CatalogueSnapshot) -> None:
        self.snapshot = snapshot

    def search(
        self, instruction: str, query_vectors: NDArray[np.float32], limit: int = 50
    ) -> list[Retrieved]:
        """As `CatalogueSnapshot.search`, on the current snapshot."""
        return self.snapshot.search(instruction, query_vectors, limit)


def _provider_ids(tools: Sequence[Tool]) -> NDArray[np.int64]:
    """A number for each provider; tools without one stand alone."""
    numbers: dict[tuple[str, ...], int] = {}
    keys = ((t.category, t.provider) if t.provider else (t.name,) for t in tools)
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(tools))


def _best(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    if limit < len(scores):
        threshold = np.partition(scores, len(scores) - limit)[len(scores) - limit]
        rows = np.flatnonzero(scores >= threshold)
    else:
        rows = np.arange(len(scores))
    return rows[np.argsort(-scores[rows], kind="stable")][:limit]
