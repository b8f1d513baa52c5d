import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import case, delete, literal, literal_column, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import InteractionRow
from app.domain import Interaction, Rating, ToolCall
from app.json_data.tools import tool_from_json, tool_to_json

_BATCH = 1000
_COLUMNS = (
    InteractionRow.id,
    InteractionRow.tool_name,
    InteractionRow.tool_document,
    InteractionRow.instruction,
    InteractionRow.parameters,
    InteractionRow.rating,
    InteractionRow.occurred_at,
    InteractionRow.call_id,
)


@dataclass(frozen=True)
class TimelinePosition:
    """Position in a user's history, where a page ends."""

    occurred_at: datetime
    id: int


def content_hash(interaction: Interaction) -> bytes:
    """Hash of instruction, call and time, without the rating; 32 bytes."""
    content = [
        interaction.instruction,
        interaction.tool_call.tool_name,
        interaction.tool_call.parameters,
        interaction.occurred_at.timestamp(),
        # A served call is always a separate interaction, even if another has the same content and time.
        str(interaction.call_id or ""),
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()


def _interaction(row: Any) -> Interaction:
    return Interaction(
        id=row.id,
        instruction=row.instruction,
        tool_call=ToolCall(row.tool_name, row.parameters),
        occurred_at=row.occurred_at,
        rating=Rating(row.rating) if row.rating is not None else None,
        call_id=row.call_id,
        tool=tool_from_json(row.tool_document) if row.tool_document is not None else None,
    )


class InteractionRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, user_id: int, interactions: Sequence[Interaction]) -> int:
        """Store interactions; for one that exists, update the rating. Returns the number of new ones."""
        # One statement may update a row only once, so the last of equal interactions counts.
        rows = {content_hash(interaction): _values(user_id, interaction) for interaction in interactions}
        new = 0
        hashes = list(rows)
        for start in range(0, len(hashes), _BATCH):
            statement = insert(InteractionRow).values([rows[key] for key in hashes[start : start + _BATCH]])
            statement = statement.on_conflict_do_update(
                index_elements=[InteractionRow.user_id, InteractionRow.content_hash],
                set_={"rating": statement.excluded.rating},
            )
            # xmax is 0 on a row that this statement inserted, not on one that it updated.
            inserted = case((literal_column("xmax = 0"), literal(1)), else_=literal(0))
            result = await self._connection.execute(statement.returning(inserted))
            new += sum(result.scalars())
        return new

    async def recent(self, user_id: int, limit: int) -> list[Interaction]:
        """The user's `limit` most recent interactions, oldest first."""
        query = (
            select(*_COLUMNS)
            .where(InteractionRow.user_id == user_id)
            .order_by(InteractionRow.occurred_at.desc(), InteractionRow.id.desc())
            .limit(limit)
        )
        return [_interaction(row) for row in (await self._connection.execute(query)).all()[::-1]]

    async def page(self, user_id: int, *, after: TimelinePosition | None, limit: int) -> list[Interaction]:
        """The user's interactions older than `after`, newest first."""
        query = select(*_COLUMNS).where(InteractionRow.user_id == user_id)
        if after is not None:
            query = query.where(
                tuple_(InteractionRow.occurred_at, InteractionRow.id) < tuple_(after.occurred_at, after.id)
            )
        query = query.order_by(InteractionRow.occurred_at.desc(), InteractionRow.id.desc()).limit(limit)
        return [_interaction(row) for row in await self._connection.execute(query)]

    async def delete(self, user_id: int, interaction_id: int) -> bool:
        result = await self._connection.execute(
            delete(InteractionRow).where(InteractionRow.user_id == user_id, InteractionRow.id == interaction_id)
        )
        return bool(result.rowcount)

    async def replace_of_call(self, user_id: int, call_id: UUID, interactions: Sequence[Interaction]) -> None:
        """Replace the interactions that came from feedback on one call."""
        await self._connection.execute(
            delete(InteractionRow).where(InteractionRow.user_id == user_id, InteractionRow.call_id == call_id)
        )
        await self.add(user_id, interactions)


def _values(user_id: int, interaction: Interaction) -> dict[str, Any]:
    return {
        "user_id": user_id,
        "tool_name": interaction.tool_call.tool_name,
        "tool_document": tool_to_json(interaction.tool) if interaction.tool is not None else None,
        "instruction": interaction.instruction,
        "parameters": dict(interaction.tool_call.parameters),
        "rating": interaction.rating.value if interaction.rating is not None else None,
        "occurred_at": interaction.occurred_at,
        "content_hash": content_hash(interaction),
        "call_id": interaction.call_id,
    }
