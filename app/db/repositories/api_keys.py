from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import ApiKeyRow


@dataclass(frozen=True)
class StoredApiKey:
    id: int
    name: str
    prefix: str
    scope: str
    created_at: datetime
    revoked_at: datetime | None


_COLUMNS = (
    ApiKeyRow.id,
    ApiKeyRow.name,
    ApiKeyRow.prefix,
    ApiKeyRow.scope,
    ApiKeyRow.created_at,
    ApiKeyRow.revoked_at,
)


class ApiKeyRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, *, name: str, prefix: str, key_hash: bytes, scope: str) -> StoredApiKey:
        result = await self._connection.execute(
            insert(ApiKeyRow).values(name=name, prefix=prefix, key_hash=key_hash, scope=scope).returning(*_COLUMNS)
        )
        return StoredApiKey(*result.one())

    async def find(self, key_hash: bytes) -> StoredApiKey | None:
        """The key with this hash. None if it is unknown or revoked."""
        result = await self._connection.execute(
            select(*_COLUMNS).where(ApiKeyRow.key_hash == key_hash, ApiKeyRow.revoked_at.is_(None))
        )
        row = result.one_or_none()
        return StoredApiKey(*row) if row is not None else None

    async def all(self) -> list[StoredApiKey]:
        result = await self._connection.execute(select(*_COLUMNS).order_by(ApiKeyRow.id))
        return [StoredApiKey(*row) for row in result]

    async def revoke(self, key_id: int) -> bool:
        result = await self._connection.execute(
            update(ApiKeyRow)
            .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
            .values(revoked_at=func.now())
        )
        return bool(result.rowcount)
