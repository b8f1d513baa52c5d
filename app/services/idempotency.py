"""Use case idempotency: responses are stored by `Idempotency-Key` in PostgreSQL, beside the data they protect."""

from dataclasses import dataclass
from datetime import timedelta

from app.db.database import Database
from app.errors import Conflict, InvalidRequest

# A key is reserved for this long if the process that reserved it dies.
_LEASE = timedelta(minutes=2)


@dataclass(frozen=True)
class StoredResponse:
    status: int
    body: bytes


class IdempotencyService:
    def __init__(self, database: Database, keep: timedelta) -> None:
        self._database = database
        self._keep = keep

    async def claim(self, owner: str, key: str, fingerprint: bytes, user_id: str | None) -> StoredResponse | None:
        """Reserve the key. Returns the stored response of an earlier request with it, or None.

        After None, carry the request out, then call `complete` or `release`. Raises `Conflict` while an earlier
        request with this key is in progress, `InvalidRequest` if the key belongs to another request.
        """
        async with self._database.statement() as work:
            stored = await work.idempotency.claim(owner, key, fingerprint, user_id, lease=_LEASE)
        if stored is None:
            return None
        if stored.request_hash != fingerprint:
            raise InvalidRequest("This Idempotency-Key was used for another request; use a new one for each request.")
        if stored.status is None or stored.body is None:
            raise Conflict(
                ("The first request with this Idempotency-Key is still in progress; retry in a second."), retry_after=1
            )
        return StoredResponse(stored.status, stored.body)

    async def complete(self, owner: str, key: str, status: int, body: bytes, user_id: str | None) -> None:
        async with self._database.statement() as work:
            await work.idempotency.complete(owner, key, status, body, user_id, keep=self._keep)

    async def release(self, owner: str, key: str) -> None:
        async with self._database.statement() as work:
            await work.idempotency.release(owner, key)

    async def delete_expired(self) -> int:
        async with self._database.statement() as work:
            return await work.idempotency.delete_expired()
