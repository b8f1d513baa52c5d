from uuid import UUID

from sqlalchemy import func
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import FeedbackRow
from app.domain import Rating, ToolCall


class FeedbackRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def put(self, call_id: UUID, rating: Rating, comment: str | None, corrected: ToolCall | None) -> None:
        """Store feedback on a call, replacing earlier feedback on it."""
        values = {
            "rating": rating.value,
            "comment": comment,
            "corrected_tool_call": (
                {"tool_name": corrected.tool_name, "parameters": dict(corrected.parameters)}
                if corrected is not None
                else None
            ),
        }
        statement = insert(FeedbackRow).values(call_id=call_id, **values)
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[FeedbackRow.call_id],
                set_={column: statement.excluded[column] for column in values} | {"updated_at": func.now()},
            )
        )
