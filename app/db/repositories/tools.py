from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import CatalogueStateRow, ToolEmbeddingRow, ToolRow
from app.domain import Tool
from app.json_data.tools import document_hash, tool_from_json, tool_to_json

# PostgreSQL accepts at most 32,767 bind parameters in a statement.
_BATCH = 1000


@dataclass(frozen=True)
class StoredTool:
    id: int
    tool: Tool
    active: bool
    revision: int
    updated_at: datetime


@dataclass(frozen=True)
class ToolEmbedding:
    tool_id: int
    text_hash: bytes
    vector: NDArray[np.float32]
    """Array of shape (dimension,)."""


_COLUMNS = (ToolRow.id, ToolRow.document, ToolRow.active, ToolRow.revision, ToolRow.updated_at)


def _stored(row: Any) -> StoredTool:
    return StoredTool(row.id, tool_from_json(row.document), row.active, row.revision, row.updated_at)


class ToolRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def revision(self) -> int:
        """Revision of the catalogue. Every change increments it, and revisions become visible in order."""
        result = await self._connection.execute(select(CatalogueStateRow.revision))
        return int(result.scalar_one())

    async def identity(self) -> UUID:
        """Random id of the database, since revisions of two databases do not compare."""
        result = await self._connection.execute(select(CatalogueStateRow.identity))
        return result.scalar_one()

    async def next_revision(self) -> int:
        """Lock the catalogue for other writers until commit. Returns the revision of this transaction's changes."""
        result = await self._connection.execute(
            update(CatalogueStateRow)
            .values(revision=CatalogueStateRow.revision + 1)
            .returning(CatalogueStateRow.revision)
        )
        return int(result.scalar_one())

    async def hashes(self, names: Sequence[str]) -> dict[str, str]:
        """Hashes of the documents of tools, by name; unknown names are left out."""
        found: dict[str, str] = {}
        for start in range(0, len(names), _BATCH):
            result = await self._connection.execute(
                select(ToolRow.name, ToolRow.document_hash).where(ToolRow.name.in_(names[start : start + _BATCH]))
            )
            found.update({row.name: row.document_hash for row in result})
        return found

    async def upsert(self, tools: Sequence[Tool], revision: int) -> dict[str, int]:
        """Insert tools as active, or replace them by name; inactive ones stay inactive. Returns the ids by name."""
        ids: dict[str, int] = {}
        for start in range(0, len(tools), _BATCH):
            rows = [
                {
                    "name": tool.name,
                    "category": tool.category,
                    "document": tool_to_json(tool),
                    "document_hash": document_hash(tool),
                    "active": True,
                    "revision": revision,
                }
                for tool in tools[start : start + _BATCH]
            ]
            statement = insert(ToolRow).values(rows)
            statement = statement.on_conflict_do_update(
                index_elements=[ToolRow.name],
                set_={
                    column: statement.excluded[column]
                    for column in ("category", "document", "document_hash", "revision")
                }
                | {"updated_at": func.now()},
            )
            result = await self._connection.execute(statement.returning(ToolRow.name, ToolRow.id))
            ids.update({row.name: row.id for row in result})
        return ids

    async def set_active(self, name: str, active: bool, revision: int) -> bool:
        """Activate or deactivate a tool. Returns False if there is no such tool."""
        result = await self._connection.execute(
            update(ToolRow)
            .where(ToolRow.name == name)
            .values(active=active, revision=revision, updated_at=func.now())
            .returning(ToolRow.id)
        )
        return result.one_or_none() is not None

    async def find(self, name: str) -> StoredTool | None:
        result = await self._connection.execute(select(*_COLUMNS).where(ToolRow.name == name))
        row = result.one_or_none()
        return _stored(row) if row is not None else None

    async def known(self, names: Sequence[str]) -> dict[str, Tool]:
        """Tools by name, including inactive ones; unknown names are left out."""
        found: dict[str, Tool] = {}
        for start in range(0, len(names), _BATCH):
            result = await self._connection.execute(
                select(ToolRow.name, ToolRow.document).where(ToolRow.name.in_(names[start : start + _BATCH]))
            )
            found.update({row.name: tool_from_json(row.document) for row in result})
        return found

    async def page(self, *, after: int, limit: int, category: str | None, active: bool | None) -> list[StoredTool]:
        """A page of tools with an id above `after`, in order of id."""
        query = select(*_COLUMNS).where(ToolRow.id > after).order_by(ToolRow.id).limit(limit)
        if category is not None:
            query = query.where(ToolRow.category == category)
        if active is not None:
            query = query.where(ToolRow.active == active)
        return [_stored(row) for row in await self._connection.execute(query)]

    async def count(self) -> tuple[int, int]:
        """Number of active tools, and of all tools."""
        result = await self._connection.execute(
            select(func.count().filter(ToolRow.active), func.count()).select_from(ToolRow)
        )
        active, total = result.one()
        return int(active), int(total)

    async def changed_since(self, revision: int, *, after: int = 0, limit: int = 1000) -> list[StoredTool]:
        """A page of the tools changed after `revision`, with an id above `after`, in order of id."""
        query = select(*_COLUMNS).where(ToolRow.revision > revision, ToolRow.id > after)
        return [_stored(row) for row in await self._connection.execute(query.order_by(ToolRow.id).limit(limit))]

    async def embeddings(self, tool_ids: Sequence[int], embedder: str) -> dict[int, ToolEmbedding]:
        """Vectors of tools by this embedder, by the tool's id."""
        found: dict[int, ToolEmbedding] = {}
        for start in range(0, len(tool_ids), _BATCH):
            query = select(
                ToolEmbeddingRow.tool_id,
                ToolEmbeddingRow.text_hash,
                ToolEmbeddingRow.vector,
            ).where(
                ToolEmbeddingRow.embedder == embedder,
                ToolEmbeddingRow.tool_id.in_(tool_ids[start : start + _BATCH]),
            )
            for row in await self._connection.execute(query):
                vector = np.frombuffer(row.vector, dtype="<f4")
                found[row.tool_id] = ToolEmbedding(row.tool_id, row.text_hash, vector)
        return found

    async def store_embeddings(self, embeddings: Sequence[ToolEmbedding], embedder: str) -> None:
        for start in range(0, len(embeddings), _BATCH):
            rows = [
                {
                    "tool_id": embedding.tool_id,
                    "embedder": embedder,
                    "text_hash": embedding.text_hash,
                    "vector": embedding.vector.astype("<f4").tobytes(),
                }
                for embedding in embeddings[start : start + _BATCH]
            ]
            statement = insert(ToolEmbeddingRow).values(rows)
            await self._connection.execute(
                statement.on_conflict_do_update(
                    index_elements=[ToolEmbeddingRow.tool_id, ToolEmbeddingRow.embedder],
                    set_={column: statement.excluded[column] for column in ("text_hash", "vector")},
                )
            )
