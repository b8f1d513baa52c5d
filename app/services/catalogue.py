"""Use cases of the catalogue: import, list, search and deactivate tools."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from app.catalogue.parse import Import, Rejection, parse
from app.db.database import Database
from app.db.repositories.tools import StoredTool, ToolEmbedding
from app.domain import Json, Tool, ToolSource
from app.errors import NotFound
from app.json_data.tools import document_hash
from app.retrieval.embedders.batching import BatchingEmbedder
from app.retrieval.embedders.tools import ToolEncoder
from app.retrieval.query import embed_query
from app.retrieval.snapshot import Retrieved
from app.services.catalogue_index import CatalogueIndex

# Tools embedded and committed together. An interrupted import loses at most one batch.
_BATCH = 256

Progress = Callable[[int, int], None]
"""Callback with the number of tools done and the number of all tools."""


@dataclass(frozen=True)
class ImportReport:
    """Result of an import. Each tool of each document counts in one of `imported`, `updated` and `rejected`."""

    imported: int = 0
    updated: int = 0
    """Tools that the catalogue had already, changed or not."""
    unchanged: int = 0
    """Updated tools whose document has not changed."""
    rejected: list[Rejection] = field(default_factory=list)


class CatalogueService:
    def __init__(
        self,
        database: Database,
        embedder: BatchingEmbedder,
        encoder: ToolEncoder,
        index: CatalogueIndex,
        announce: Callable[[], Awaitable[None]],
    ) -> None:
        """`announce` notifies the other replicas of a change of the catalogue."""
        self._database = database
        self._embedder = embedder
        self._encoder = encoder
        self._index = index
        self._announce = announce

    async def import_documents(self, source: ToolSource, documents: Sequence[Json]) -> ImportReport:
        """Add or replace tools by name. A document that cannot be imported is reported and does not stop the others.

        Afterwards this replica searches the new tools, and the others are notified.
        """
        report = await self.store_documents(source, documents)
        if report.imported or report.updated > report.unchanged:
            await self.publish()
        return report

    async def store_documents(
        self,
        source: ToolSource | None,
        documents: Sequence[Json],
        progress: Progress | None = None,
        whole: Import | None = None,
    ) -> ImportReport:
        """As `import_documents`, but without publishing. If `source` is None, each document's format is detected.

        `whole`: state that the batches of one import share.
        """
        parsed = await asyncio.to_thread(parse, source, documents, whole)
        tools = [tool for _, tool in parsed.tools]
        imported = updated = unchanged = 0
        for start in range(0, len(tools), _BATCH):
            new, changed, same = await self._store(tools[start : start + _BATCH])
            imported, updated, unchanged = imported + new, updated + changed + same, unchanged + same
            if progress is not None:
                progress(min(start + _BATCH, len(tools)), len(tools))
        # An exact duplicate of another document of the same import counts as an unchanged tool.
        repeated = len(parsed.duplicates)
        return ImportReport(imported, updated + repeated, unchanged + repeated, list(parsed.rejections))

    async def publish(self) -> None:
        """Refresh this replica's index, and notify the other replicas."""
        await self._index.refresh()
        await self._announce()

    async def _store(self, tools: Sequence[Tool]) -> tuple[int, int, int]:
        """Store the tools. Returns the number of new, changed and unchanged ones."""
        async with self._database.statement() as work:
            known = await work.tools.hashes([tool.name for tool in tools])
        changed = [tool for tool in tools if known.get(tool.name) != document_hash(tool)]
        if changed:
            vectors = await self._encoder.encode(changed)
            async with self._database.transaction() as work:
                revision = await work.tools.next_revision()
                ids = await work.tools.upsert(changed, revision)
                embeddings = [
                    ToolEmbedding(ids[tool.name], self._encoder.text_hash(tool), vector)
                    for tool, vector in zip(changed, vectors, strict=True)
                ]
                await work.tools.store_embeddings(embeddings, self._encoder.name)
        new = sum(tool.name not in known for tool in changed)
        return new, len(changed) - new, len(tools) - len(changed)

    async def search(self, query: str, limit: int) -> Sequence[Retrieved]:
        """Tools that fit the query, best first, without regard to any user's preferences."""
        return self._index.snapshot.search(await embed_query(self._embedder, query), limit)

    async def page(self, *, after: int, limit: int, category: str | None, active: bool | None) -> list[StoredTool]:
        async with self._database.statement() as work:
            return await work.tools.page(after=after, limit=limit, category=category, active=active)

    async def get(self, name: str) -> StoredTool:
        async with self._database.statement() as work:
            stored = await work.tools.find(name)
        if stored is None:
            raise NotFound(f"There is no tool {name!r}; GET /tools/search?q=… finds tools by what they do.")
        return stored

    async def set_active(self, name: str, active: bool) -> StoredTool:
        async with self._database.transaction() as work:
            revision = await work.tools.next_revision()
            if not await work.tools.set_active(name, active, revision):
                raise NotFound(f"There is no tool {name!r}; GET /tools lists all tools.")
        await self.publish()
        return await self.get(name)

    async def counts(self) -> tuple[int, int]:
        """Number of active tools, and of all tools."""
        async with self._database.statement() as work:
            return await work.tools.count()
