"""The catalogue as this replica searches it: a snapshot in memory, kept current with PostgreSQL."""

import asyncio
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from app.db.database import Database
from app.db.repositories.tools import StoredTool, ToolEmbedding
from app.domain import Tool
from app.errors import PEToolError
from app.retrieval.batching import BatchingEmbedder
from app.retrieval.retriever import CatalogueSnapshot
from app.retrieval.texts import RETRIEVAL_TEXTS, attribute_text, retrieval_texts

log = structlog.get_logger("petool")
_PAGE = 1000


class ToolEncoder:
    """Tools to vectors: (k + 1, d) a tool, the retrieval texts' and then the attribute text's."""

    def __init__(self, embedder: BatchingEmbedder) -> None:
        self._embedder = embedder
        self.name = embedder.name
        self.dimension = embedder.dimension

    @staticmethod
    def text_hash(tool: Tool) -> bytes:
        return hashlib.sha256("\x1f".join(_texts(tool)).encode()).digest()

    async def encode(self, tools: Sequence[Tool]) -> NDArray[np.float32]:
        """(n, k + 1, d)."""
        texts = [text for tool in tools for text in _texts(tool)]
        vectors = await self._embedder.encode(texts)
        return vectors.reshape(len(tools), -1, vectors.shape[1])


def _texts(tool: Tool) -> tuple[str, ...]:
    return (*retrieval_texts(tool), attribute_text(tool))


class LiveCatalogue:
    """`snapshot` is replaced, never changed: whoever holds one goes on with it undisturbed."""

    def __init__(self, database: Database, encoder: ToolEncoder, directory: Path) -> None:
        self._database = database
        self._encoder = encoder
        self._directory = directory
        self._tools: dict[int, tuple[Tool, NDArray[np.float32]]] = {}
        self._refreshing = asyncio.Lock()
        self._changed = asyncio.Event()
        self.snapshot = _build({}, 0, encoder.dimension)

    async def refresh(self) -> bool:
        """Take over what changed since the last time; whether anything did. Concurrent calls wait."""
        async with self._refreshing:
            async with self._database.statement() as work:
                revision = await work.tools.revision()
            if revision == self.snapshot.revision:
                return False
            tools = dict(self._tools)
            for page in await self._changes(self.snapshot.revision):
                await self._apply(page, tools)
            snapshot = await asyncio.to_thread(_build, tools, revision, self._encoder.dimension)
            self._tools, self.snapshot = tools, snapshot
            log.info("catalogue_refreshed", revision=revision, tools=len(tools))
            return True

    def notice(self) -> None:
        """Something says that the catalogue changed: look now, not at the next poll."""
        self._changed.set()

    async def follow(self, every_seconds: float) -> None:
        """Refresh whenever noticed, and every so often anyway; until cancelled."""
        while True:
            try:
                await asyncio.wait_for(self._changed.wait(), every_seconds)
            except TimeoutError:
                pass
            self._changed.clear()
            try:
                await self.refresh()
            except PEToolError as error:
                # The snapshot in memory goes on answering while the database is away.
                log.warning("catalogue_refresh_failed", reason=error.detail)

    async def _changes(self, since: int) -> list[list[StoredTool]]:
        pages: list[list[StoredTool]] = []
        after = 0
        while True:
            async with self._database.statement() as work:
                page = await work.tools.changed_since(since, after=after, limit=_PAGE)
            if not page:
                return pages
            pages.append(page)
            after = page[-1].id

    async def _apply(self, page: Sequence[StoredTool], tools: dict[int, tuple[Tool, NDArray[np.float32]]]) -> None:
        active = [stored for stored in page if stored.active]
        for stored in page:
            if not stored.active:
                tools.pop(stored.id, None)
        vectors = await self._vectors(active)
        tools.update({stored.id: (stored.tool, vectors[stored.id]) for stored in active})

    async def _vectors(self, stored: Sequence[StoredTool]) -> dict[int, NDArray[np.float32]]:
        """From the store; computed and stored where there are none by this embedder for this text."""
        async with self._database.statement() as work:
            known = await work.tools.embeddings([tool.id for tool in stored], self._encoder.name)
        found: dict[int, NDArray[np.float32]] = {}
        missing: list[tuple[StoredTool, bytes]] = []
        for tool in stored:
            text_hash = self._encoder.text_hash(tool.tool)
            if tool.id in known and known[tool.id].text_hash == text_hash:
                found[tool.id] = known[tool.id].vectors
            else:
                missing.append((tool, text_hash))
        if missing:
            vectors = await self._encoder.encode([tool.tool for tool, _ in missing])
            computed = [
                ToolEmbedding(tool.id, text_hash, rows)
                for (tool, text_hash), rows in zip(missing, vectors, strict=True)
            ]
            async with self._database.transaction() as work:
                await work.tools.store_embeddings(computed, self._encoder.name)
            found.update({embedding.tool_id: embedding.vectors for embedding in computed})
        return found


def _build(tools: dict[int, tuple[Tool, NDArray[np.float32]]], revision: int, dimension: int) -> CatalogueSnapshot:
    ordered = [tools[key] for key in sorted(tools)]
    vectors = (
        np.stack([rows for _, rows in ordered])
        if ordered
        else np.zeros((0, RETRIEVAL_TEXTS + 1, dimension), np.float32)
    )
    return CatalogueSnapshot.build(
        [tool for tool, _ in ordered], vectors[:, :-1], np.ascontiguousarray(vectors[:, -1]), revision
    )
