"""Use cases of API keys, which are shown once and stored as a hash."""

import hashlib
import secrets

from cachetools import TTLCache

from app.db.database import Database
from app.db.repositories.api_keys import StoredApiKey
from app.domain import Scope
from app.errors import NotFound

# A revoked key stops working within this time, in every replica.
_REMEMBERED_SECONDS = 10
_MARK = "petool_"


def hash_key(key: str) -> bytes:
    """Hash of a key. Keys are 256 random bits, so a plain SHA-256 is safe, and fast enough for every request."""
    return hashlib.sha256(key.encode()).digest()


class KeyService:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._valid: TTLCache[bytes, StoredApiKey] = TTLCache(maxsize=10_000, ttl=_REMEMBERED_SECONDS)

    async def create(self, name: str, scope: Scope) -> tuple[str, StoredApiKey]:
        """Create a key. Returns the key, which is not stored, and its stored record."""
        key = _MARK + secrets.token_urlsafe(32)
        async with self._database.transaction() as work:
            stored = await work.api_keys.add(
                name=name, prefix=key[: len(_MARK) + 4], key_hash=hash_key(key), scope=scope.value
            )
        return key, stored

    async def authenticate(self, key: str) -> StoredApiKey | None:
        """The stored record of a key. None if it is unknown or revoked."""
        if not key.startswith(_MARK):
            return None
        key_hash = hash_key(key)
        known = self._valid.get(key_hash)
        if known is not None:
            return known
        async with self._database.statement() as work:
            stored = await work.api_keys.find(key_hash)
        if stored is not None:
            self._valid[key_hash] = stored
        return stored

    async def all(self) -> list[StoredApiKey]:
        async with self._database.statement() as work:
            return await work.api_keys.all()

    async def revoke(self, key_id: int) -> None:
        async with self._database.statement() as work:
            if not await work.api_keys.revoke(key_id):
                raise NotFound(f"There is no valid key {key_id}; `petool keys list` shows all keys.")
