"""Finding the tools that can do what an instruction asks for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import overload

import numpy as np
from numpy.typing import NDArray

from app.domain import Tool
from app.retrieval.lexical import LexicalIndex
from app.retrieval.query import Query
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

    def search(self, query: Query, limit: int = 50) -> "Retrieval":
        """The `limit` most relevant tools, best first; of equals, the first in the catalogue."""
        if not self.tools or limit <= 0:
            return Retrieval(self, query, [], np.zeros((len(query.terms), 0), np.float32))
        lexical = self.lexical.scores(query.terms)
        strongest = float(lexical.max())
        if self.index is None:
            return self.score(query, None, lexical, strongest, limit)
        rows = self._pool(self.index, query, lexical, max(POOL, 2 * limit))
        return self.score(query, rows, lexical[:, rows], strongest, limit)

    def score(
        self,
        query: Query,
        rows: NDArray[np.int64] | None,
        lexical: NDArray[np.float32],
        strongest: float,
        limit: int,
    ) -> "Retrieval":
        """The best of these rows; of all for None. `lexical` (m + 1, rows): their BM25F, of which `strongest` is 1."""
        if rows is None:
            vectors, providers = self.vectors, self._groups
        else:
            vectors, providers = self.vectors[rows], Providers(self.providers[rows])
        dense = query.vectors_and_whole @ vectors.T
        scores = relevance(dense, lexical, providers)
        best = _best(scores, limit)
        items = [
            Retrieved(self.tools[row], score, dense_score, lexical_score, row)
            for row, score, dense_score, lexical_score in zip(
                (best if rows is None else rows[best]).tolist(),
                scores[best].tolist(),
                dense[:, best].max(0).tolist(),
                (lexical[:, best].max(0) / max(strongest, 1e-6)).tolist(),
                strict=True,
            )
        ]
        return Retrieval(self, query, items, lexical[:, best])

    def _pool(self, index: ToolIndex, query: Query, lexical: NDArray[np.float32], size: int) -> NDArray[np.int64]:
        """Rows that either index puts among the best `size` for any sentence, ascending."""
        found = index.search(query.vectors_and_whole, size).ravel()
        rows = np.searchsorted(self.ids, found)
        pooled = [rows[self.ids[rows.clip(max=len(self.ids) - 1)] == found]]
        for scores in lexical:
            best = np.argpartition(-scores, min(size, len(scores) - 1))[:size]
            pooled.append(best[scores[best] > 0])
        return np.unique(np.concatenate(pooled)).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Retrieval(Sequence[Retrieved]):
    """Tools found for one query, best first."""

    snapshot: CatalogueSnapshot
    query: Query
    items: Sequence[Retrieved]
    lexical: NDArray[np.float32]
    """(m + 1, n): BM25F of each for each sentence, and for all together."""

    @overload
    def __getitem__(self, position: int) -> Retrieved: ...

    @overload
    def __getitem__(self, position: slice) -> Sequence[Retrieved]: ...

    def __getitem__(self, position: int | slice) -> Retrieved | Sequence[Retrieved]:
        return self.items[position]

    def __len__(self) -> int:
        return len(self.items)

    @property
    def tools(self) -> list[Tool]:
        return [item.tool for item in self.items]

    @cached_property
    def vectors(self) -> NDArray[np.float32]:
        """(n, d): the tools' vectors."""
        return self.snapshot.vectors[[item.row for item in self.items]]

    def among(self, positions: Sequence[int]) -> "Retrieval":
        """Those at these positions as if the catalogue had no other tools, best first.

        How relevant a tool is depends on the tools it is found among.
        """
        if not positions:
            return Retrieval(self.snapshot, self.query, [], self.lexical[:, :0])
        rows = np.array([self.items[position].row for position in positions], np.int64)
        lexical = self.lexical[:, list(positions)]
        return self.snapshot.score(self.query, rows, lexical, float(lexical.max()), len(rows))


def _provider_numbers(tools: Sequence[Tool]) -> NDArray[np.int64]:
    """A number for each provider; a tool without one stands alone."""
    numbers: dict[tuple[str, ...], int] = {}
    keys = ((tool.category, tool.provider) if tool.provider else (tool.name,) for tool in tools)
    return np.fromiter((numbers.setdefault(key, len(numbers)) for key in keys), np.int64, len(tools))


def _best(scores: NDArray[np.float32], limit: int) -> NDArray[np.int64]:
    """Positions of the `limit` highest scores, best first; of equals, the lower position first."""
    rows: NDArray[np.int64] = np.arange(len(scores))
    if limit < len(scores):
        rows = np.flatnonzero(scores >= np.partition(scores, len(scores) - limit)[len(scores) - limit])
    return rows[np.argsort(-scores[rows], kind="stable")][:limit]
