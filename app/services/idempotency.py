"""Answers kept for their `Idempotency-Key`. In PostgreSQL, with the data they protect: losing Redis loses none."""

from dataclasses import dataclass
from datetime import timedelta

from app.db.database import Database
from app.errors import Conflict, InvalidRequest

# How long a key stays reserved if the process that reserved it dies.
_LEASE = timedelta(minutes=2)


@dataclass(frozen=True)
class KeptAnswer:
    status: int
    body: bytes


class IdempotencyService:
    def __init__(self, database: Database, keep: timedelta) -> None:
        self._database = database
        self._keep = keep

    async def claim(self, owner: str, key: str, fingerprint: bytes, user_id: str | None) -> KeptAnswer | None:
        """None: go ahead, then `complete` or `release`. Otherwise the answer given before.

        Raises `Conflict` while the first request is at work, `InvalidRequest` if the key was for another request.
        """
        async with self._database.statement() as work:
            stored = await work.idempotency.claim(owner, key, fingerprint, user_id, lease=_LEASE)
        if stored is None:
            return None
        if stored.request_hash != fingerprint:
            raise InvalidRequest("This Idempotency-Key was used for another request; take a new one for each.")
        if stored.status is None or stored.body is None:
            raise Conflict("The first request with this Idempotency-Key is still at work.", retry_after=1)
        return KeptAnswer(stored.status, stored.body)

    async def complete(self, owner: str, key: str, status: int, body: bytes, user_id: str | None) -> None:
        async with self._database.statement() as work:
            await work.idempotency.complete(owner, key, status, body, user_id, keep=self._keep)

    async def release(self, owner: str, key: str) -> None:
        async with self._database.statement() as work:
            await work.idempotency.release(owner, key)

    async def delete_expired(self) -> int:
        async with self._database.statement() as work:
            return await work.idempotency.delete_expired()
