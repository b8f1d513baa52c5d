"""This replica's index of the catalogue: a snapshot in memory, refreshed from PostgreSQL."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import structlog
from numpy.typing import NDArray

from app.db.database import Database
from app.db.repositories.tools import StoredTool, ToolEmbedding
from app.domain import Tool
from app.errors import PEToolError
from app.retrieval.embedders.tools import ToolEncoder
from app.retrieval.snapshot import CatalogueSnapshot
from app.retrieval.tool_index import ToolIndex

log = structlog.get_logger("petool")
_PAGE = 1000
# Any tool serves: the text made of it shows the wording that tools are embedded in.
_SAMPLE_TOOL = Tool("category.provider.api", "category", "provider", "api", "description")


@dataclass(frozen=True)
class _Entry:
    tool: Tool
    vector: NDArray[np.float32]
    revision: int


_Entries = Mapping[int, _Entry]
"""Active tools by their id in the database."""


class CatalogueIndex:
    """The active tools, as this replica searches them. `snapshot` is replaced as a whole and never changed.

    The dense index is saved in `directory` and loaded at the start; changes since then are applied to it. A large
    index is rebuilt in the background after many changes.
    """

    def __init__(self, database: Database, encoder: ToolEncoder, directory: Path) -> None:
        self._database = database
        self._encoder = encoder
        self._directory = directory
        self._entries: _Entries = {}
        self._refreshing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._identity = ""
        self.snapshot = CatalogueSnapshot.build([], np.zeros((0, encoder.dimension), np.float32), 0)

    async def refresh(self) -> bool:
        """Apply the changes since the last refresh. Returns whether there were any. Concurrent calls wait."""
        async with self._refreshing:
            async with self._database.statement() as work:
                revision = await work.tools.revision()
                if revision == self.snapshot.revision:
                    return False
                self._identity = str(await work.tools.identity())
            entries = dict(self._entries)
            for page in await self._read_changes(self.snapshot.revision):
                await self._apply(page, entries)
            self.snapshot = await asyncio.to_thread(self._build_snapshot, entries, revision)
            self._entries = entries
            log.info("catalogue_refreshed", revision=revision, tools=len(entries))
            return True

    def notify(self) -> None:
        """Make `keep_current` refresh now instead of at the next poll."""
        self._changed.set()

    async def keep_current(self, every_seconds: float) -> None:
        """Refresh after each `notify`, and at least every `every_seconds`, until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), every_seconds)
            self._changed.clear()
            try:
                await self.refresh()
                await self._rebuild_if_due()
            except PEToolError as error:
                # Requests are answered from the snapshot in memory while the database is not reachable.
                log.warning("catalogue_refresh_failed", reason=error.detail)

    def _build_snapshot(self, entries: _Entries, revision: int) -> CatalogueSnapshot:
        """The snapshot of these entries. Blocks for up to seconds."""
        ids = np.array(sorted(entries), np.int64)
        vectors = _matrix([entries[key].vector for key in ids.tolist()], self._encoder.dimension)
        index = self.snapshot.index or ToolIndex.load(self._directory, space=self._embedding_space())
        if index is None or index.revision > revision:
            index = self._build_index(ids, vectors, revision, threads=None)
        else:
            index = self._update_index(index, entries, revision)
        tools = [entries[key].tool for key in ids.tolist()]
        return CatalogueSnapshot.build(tools, vectors, revision, ids=ids, index=index)

    def _build_index(
        self, ids: NDArray[np.int64], vectors: NDArray[np.float32], revision: int, threads: int | None
    ) -> ToolIndex:
        index = ToolIndex.build(ids, vectors, revision, threads=threads)
        try:
            index.save(self._directory, space=self._embedding_space())
        except OSError as error:
            # The next start has to build the index again, which only takes time.
            log.warning("index_not_saved", reason=str(error))
        return index

    def _update_index(self, index: ToolIndex, entries: _Entries, revision: int) -> ToolIndex:
        """The index with the changes up to `revision`, the revision of `entries`."""
        changed = [key for key, entry in entries.items() if entry.revision > index.revision]
        vectors = _matrix([entries[key].vector for key in changed], self._encoder.dimension)
        return index.with_changes(changed, vectors, [key for key in index.ids.tolist() if key not in entries], revision)

    async def _rebuild_if_due(self) -> None:
        snapshot = self.snapshot
        if snapshot.index is None or not snapshot.index.needs_rebuild:
            return
        # On one core, so that the others answer requests from the old index meanwhile.
        rebuilt = await asyncio.to_thread(self._build_index, snapshot.ids, snapshot.vectors, snapshot.revision, 1)
        async with self._refreshing:
            index = self._update_index(rebuilt, self._entries, self.snapshot.revision)
            self.snapshot = replace(self.snapshot, index=index)

    def _embedding_space(self) -> str:
        # Includes the wording of the embedded text: another wording gives other vectors for the same tools.
        return f"{self._identity}|{self._encoder.name}|{self._encoder.text_hash(_SAMPLE_TOOL).hex()}"

    async def _read_changes(self, since: int) -> list[list[StoredTool]]:
        pages: list[list[StoredTool]] = []
        after = 0
        while True:
            async with self._database.statement() as work:
                page = await work.tools.changed_since(since, after=after, limit=_PAGE)
            if not page:
                return pages
            pages.append(page)
            after = page[-1].id

    async def _apply(self, page: Sequence[StoredTool], entries: dict[int, _Entry]) -> None:
        active = [stored for stored in page if stored.active]
        for stored in page:
            if not stored.active:
                entries.pop(stored.id, None)
        vectors = await self._load_vectors(active)
        entries.update({stored.id: _Entry(stored.tool, vectors[stored.id], stored.revision) for stored in active})

    async def _load_vectors(self, stored: Sequence[StoredTool]) -> dict[int, NDArray[np.float32]]:
        """The tools' vectors by id, from the database; missing or outdated ones are computed and stored."""
        async with self._database.statement() as work:
            known = await work.tools.embeddings([tool.id for tool in stored], self._encoder.name)
        found: dict[int, NDArray[np.float32]] = {}
        missing: list[tuple[StoredTool, bytes]] = []
        for tool in stored:
            text_hash = self._encoder.text_hash(tool.tool)
            if tool.id in known and known[tool.id].text_hash == text_hash:
                found[tool.id] = known[tool.id].vector
            else:
                missing.append((tool, text_hash))
        if missing:
            vectors = await self._encoder.encode([tool.tool for tool, _ in missing])
            computed = [
                ToolEmbedding(tool.id, text_hash, vector)
                for (tool, text_hash), vector in zip(missing, vectors, strict=True)
            ]
            async with self._database.transaction() as work:
                await work.tools.store_embeddings(computed, self._encoder.name)
            found.update({embedding.tool_id: embedding.vector for embedding in computed})
        return found


def _matrix(vectors: Sequence[NDArray[np.float32]], dimension: int) -> NDArray[np.float32]:
    """The vectors as one array of shape (n, dimension); n may be 0."""
    return np.stack(vectors) if vectors else np.zeros((0, dimension), np.float32)
