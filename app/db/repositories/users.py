from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import DecisionRow, FeedbackRow, IdempotencyRow, InteractionRow, UserRow


@dataclass(frozen=True)
class StoredUser:
    id: int
    """Id of the row, which the API never shows."""
    external_id: str
    history_version: int
    created_at: datetime


_COLUMNS = (UserRow.id, UserRow.external_id, UserRow.history_version, UserRow.created_at)

# Built once: building a statement takes longer than PostgreSQL needs to execute it.
_FIND = select(*_COLUMNS).where(UserRow.external_id == bindparam("external_id"))


class UserRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, external_id: str) -> StoredUser | None:
        result = await self._connection.execute(_FIND, {"external_id": external_id})
        row = result.one_or_none()
        return StoredUser(*row) if row is not None else None

    async def create(self, external_id: str) -> StoredUser:
        """The user of that name, created if necessary. Concurrent calls get the same user."""
        await self._connection.execute(insert(UserRow).values(external_id=external_id).on_conflict_do_nothing())
        stored = await self.find(external_id)
        # Another request may erase the user between the two statements. Then it is created again.
        return stored if stored is not None else await self.create(external_id)

    async def change_history(self, user_id: int) -> bool:
        """Lock the user's row until commit, and increment the history version. False if the user does not exist."""
        result = await self._connection.execute(
            update(UserRow)
            .where(UserRow.id == user_id)
            .values(history_version=UserRow.history_version + 1)
            .returning(UserRow.id)
        )
        return result.one_or_none() is not None

    async def erase(self, user: StoredUser) -> dict[str, int]:
        """Delete the user and all rows that refer to it. Returns the number of deleted rows by kind."""
        lock = select(UserRow.id).where(UserRow.id == user.id).with_for_update()
        await self._connection.execute(lock)
        interactions = await self._count(InteractionRow.user_id == user.id, InteractionRow)
        decisions = await self._count(DecisionRow.user_id == user.id, DecisionRow)
        calls = select(DecisionRow.id).where(DecisionRow.user_id == user.id)
        feedback = await self._count(FeedbackRow.call_id.in_(calls), FeedbackRow)
        await self._connection.execute(delete(UserRow).where(UserRow.id == user.id))
        return {"interactions": interactions, "calls": decisions, "feedback": feedback}

    async def erase_answers(self, external_id: str) -> int:
        """Delete the responses stored for the user's idempotency keys. Returns their number."""
        result = await self._connection.execute(
            delete(IdempotencyRow).where(IdempotencyRow.external_user_id == external_id)
        )
        return result.rowcount

    async def _count(self, condition: object, row: type) -> int:
        result = await self._connection.execute(
            select(func.count()).select_from(row).where(condition)  # type: ignore[arg-type]
        )
        return int(result.scalar_one())
