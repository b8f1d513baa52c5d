from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import IdempotencyRow


@dataclass(frozen=True)
class StoredAnswer:
    request_hash: bytes
    status: int | None
    """None while the first request with this key is in progress."""
    body: bytes | None


class IdempotencyRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def claim(
        self, owner: str, key: str, request_hash: bytes, user_id: str | None, *, lease: timedelta
    ) -> StoredAnswer | None:
        """Reserve the key. None if this request is the first to use it, else what is stored for it.

        `lease`: how long the reservation holds if nothing completes or releases it (the process was killed).
        """
        expires_at = func.now() + lease
        statement = insert(IdempotencyRow).values(
            owner=owner,
            key=key,
            request_hash=request_hash,
            external_user_id=user_id,
            expires_at=expires_at,
        )
        # An expired row counts as none.
        statement = statement.on_conflict_do_update(
            index_elements=[IdempotencyRow.owner, IdempotencyRow.key],
            set_={
                "request_hash": request_hash,
                "external_user_id": user_id,
                "status": None,
                "body": None,
                "expires_at": expires_at,
            },
            where=IdempotencyRow.expires_at < func.now(),
        )
        claimed = await self._connection.execute(statement.returning(IdempotencyRow.key))
        if claimed.one_or_none() is not None:
            return None
        result = await self._connection.execute(
            select(IdempotencyRow.request_hash, IdempotencyRow.status, IdempotencyRow.body).where(
                IdempotencyRow.owner == owner, IdempotencyRow.key == key
            )
        )
        row = result.one_or_none()
        # Released by the other request between the two statements: the caller sees it as in progress.
        return StoredAnswer(*row) if row is not None else StoredAnswer(request_hash, None, None)

    async def complete(
        self, owner: str, key: str, status: int, body: bytes, user_id: str | None, *, keep: timedelta
    ) -> None:
        await self._connection.execute(
            update(IdempotencyRow)
            .where(IdempotencyRow.owner == owner, IdempotencyRow.key == key)
            .values(status=status, body=body, external_user_id=user_id, expires_at=func.now() + keep)
        )

    async def release(self, owner: str, key: str) -> None:
        """Delete the reservation of a failed request, so that a retry is carried out."""
        await self._connection.execute(
            delete(IdempotencyRow).where(IdempotencyRow.owner == owner, IdempotencyRow.key == key)
        )

    async def delete_expired(self) -> int:
        result = await self._connection.execute(delete(IdempotencyRow).where(IdempotencyRow.expires_at < func.now()))
        return result.rowcount
