"""Finding the tools that can do what an instruction asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from app.domain import Tool
from app.retrieval.lexical import LexicalIndex, terms
from app.retrieval.query import intents
from app.retrieval.relevance import Providers, relevance
from app.retrieval.texts import lexical_index
from app.retrieval.tool_index import ToolIndex

POOL = 100
"""Tools taken from the dense and from the lexical index for each sentence, at least, before the exact scoring."""


@dataclass(frozen=True)
class Retrieved:
    """A tool found for an instruction."""

    tool: Tool
    relevance: float
    """In [0, 1], comparable within one request."""
    dense: float
    """Best cosine of any of the instruction's sentences, or of all together."""
    lexical: float
    """The same of BM25F, as a share of the request's best: in [0, 1]."""
    row: int
    """Position in the snapshot's `tools` and `vectors`."""


@dataclass(frozen=True, eq=False)
class CatalogueSnapshot:
    """A catalogue at one revision with everything needed to search it; immutable, for any number of threads."""

    tools: tuple[Tool, ...]
    ids: NDArray[np.int64]
    """(n,), ascending: the tools' ids in the index."""
    vectors: NDArray[np.float32]
    """(n, d), L2-normalised: the embedded `retrieval_text` of each tool."""
    revision: int
    lexical: LexicalIndex
    providers: NDArray[np.int64]
    """(n,): the same number for tools of the same provider."""
    index: ToolIndex | None
    """Of a superset of the tools; None for a handful, which are scored one and all."""

    @classmethod
    def build(
        cls,
        tools: Sequence[Tool],
        vectors: NDArray[np.float32],
        revision: int,
        *,
        ids: NDArray[np.int64] | None = None,
        index: ToolIndex | None = None,
    ) -> "CatalogueSnapshot":
        """Index tools with their stored vectors, (n, d). No model is used; meant for a thread.

        `ids` ascending, `index` over at least these ids; without an index every tool is scored. Raises ValueError
        if the lengths differ.
        """
        ids = np.arange(len(tools)) if ids is None else ids
        if not len(tools) == len(vectors) == len(ids):
            raise ValueError("tools, vectors and ids differ in length")
        return cls(
            tools=tuple(tools),
            ids=ids,
            vectors=np.ascontiguousarray(vectors, np.float32),
            revision=revision,
            lexical=lexical_index(tools),
            providers=_provider_numbers(tools),
            index=index,
        )

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row by tool name."""
        return {tool.name: row for row, tool in enumerate(self.tools)}

    @cached_property
    def _groups(self) -> Providers:
        return Providers(self.providers)

    def only(self, names: Iterable[str]) -> "CatalogueSnapshot":
        """The same with these tools alone, in this order. Words keep the weight they have in the whole catalogue.

        Raises KeyError for a name that is not here.
        """
        rows = np.array([self.rows[name] for name in names], np.int64)
        return CatalogueSnapshot(
            tools=tuple(self.tools[row] for row in rows),
            ids=self.ids[rows],
            vectors=self.vectors[rows],
            revision=self.revision,
            lexical=self.lexical.take(rows),
            providers=self.providers[rows],
            index=None,
        )

    def search(self, instruction: str, query_vectors: NDArray[np.float32], limit: int = 50) -> list[Retrieved]:
        """The `limit` most relevant tools, best first; of equals, the first in the catalogue.

        `query_vectors` (m, d) are the embedded `intents(instruction)`. Raises ValueError if m is another number.
        """
        queries, lexical = self._evidence(instruction, query_vectors)
        if not self.tools or limit <= 0:
            return []
        strongest = float(lexical.max())
        pool = None if self.index is None else self._pool(self.index, queries, lexical, max(POOL, 2 * limit))
        return self._scored(pool, queries, lexical if pool is None else lexical[:, pool], strongest, limit)

    def among(self, rows: Sequence[int], instruction: str, query_vectors: NDArray[np.float32]) -> list[Retrieved]:
        """The tools of these rows as if there were no others: what `only` their names would find, best first."""
        queries, lexical = self._evidence(instruction, query_vectors)
        chosen = np.asarray(rows, np.int64)
        if not len(chosen):
            return []
        lexical = lexical[:, chosen]
        return self._scored(chosen, queries, lexical, float(lexical.max()), len(chosen))

    def _evidence(
        self, instruction: str, query_vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors (m + 1, d) and BM25F (m + 1, n) of the sentences and of the whole."""
        sentences = [terms(text) for text in intents(instruction)]
        if len(sentences) != len(query_vectors):
            raise ValueError("query_vectors are not those of intents(instruction)")
        whole = [term for sentence in sentences for term in sentence]
        return _with_whole(query_vectors), self.lexical.scores([*sentences, whole])

    def _scored(
        self,
        rows: NDArray[np.int64] | None,
        queries: NDArray[np.float32],
        lexical: NDArray[np.float32],
        strongest: float,
        limit: int,
    ) -> list[Retrieved]:
        """The best of these rows, whose BM25F is `lexical`; of all for None."""
        if rows is None:
            dense = queries @ self.vectors.T
            scores = relevance(dense, lexical, self._groups)
        else:
            dense = queries @ self.vectors[rows].T
            scores = relevance(dense, lexical, Providers(self.providers[rows]))
        best = _best(scores, limit)
        return [
            Retrieved(self.tools[row], score, dense_score, lexical_score, row)
            for row, score, dense_score, lexical_score in zip(
                (best if rows is None else rows[best]).tolist(),
                scores[best].tolist(),
                dense[:, best].max(0).tolist(),
                (lexical[:, best].max(0) / max(strongest, 1e-6)).tolist(),
                strict=True,
            )
        ]

    def _pool(
        self, index: ToolIndex, queries: NDArray[np.float32], lexical: NDArray[np.float32], size: int
    ) -> NDArray[np.int64]:
        """Rows that either index puts among the best `size` for any query, ascending."""
        found = index.search(queries, size).ravel()
        rows = np.searchsorted(self.ids, found)
        pooled = [rows[self.ids[rows.clip(max=len(self.ids) - 1)] == found]]
        for scores in lexical:
            best = np.argpartition(-scores, min(size, len(scores) - 1))[:size]
            pooled.append(best[scores[best] > 0])
        return np.unique(np.concatenate(pooled)).astype(np.int64)


def _provider_numbers(tools: Sequence[Tool]) -> NDArray[np.int64]:
    """A number for each provider; a tool without one stands alone."""
    numbers: dict[tuple[str, ...], int] = {}
    keys = ((tool.category, tool.provider) if tool.provider else (tool.name,) for tool in tools)
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(tools))


def _with_whole(sentences: NDArray[np.float32]) -> NDArray[np.float32]:
    """(m, d) -> (m + 1, d): the last row stands for the whole instruction.

    It is the direction of the sentences' sum. Embedding the instruction once more finds nothing better, and would
    double what a request costs.
    """
    whole = sentences.sum(0, keepdims=True)
    whole /= max(float(np.linalg.norm(whole)), 1e-6)
    return np.concatenate([sentences, whole]).astype(np.float32, copy=False)


def _best(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Positions of the `limit` highest scores, best first; of equals, the lower position first."""
    rows: NDArray[np.int64] = np.arange(len(scores))
    if limit < len(scores):
        rows = np.flatnonzero(scores >= np.partition(scores, len(scores) - limit)[len(scores) - limit])
    return rows[np.argsort(-scores[rows], kind="stable")][:limit]
