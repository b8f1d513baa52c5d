"""Requests per key: counted in Redis if there is one, so that replicas share the count; else in process."""

from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from app.errors import RateLimited, SetupError


class RateLimitService:
    """`limit` such as `600/minute`; empty for none. Redis lost: each replica counts for itself until it is back."""

    def __init__(self, limit: str, redis_url: str) -> None:
        self._limit = _parse(limit)
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._shared = (
            MovingWindowRateLimiter(RedisStorage(f"async+{redis_url}", implementation="redispy")) if redis_url else None
        )

    async def count(self, who: str) -> None:
        """Raises `RateLimited` for one request too many."""
        if self._limit is not None and not await self._hit(self._limit, who):
            raise RateLimited(
                f"More than {self._limit} with this API key.",
                retry_after=max(1, self._limit.get_expiry() // 10),
            )

    async def _hit(self, limit: RateLimitItem, who: str) -> bool:
        if self._shared is not None:
            try:
                return await self._shared.hit(limit, who)
            except (RedisError, OSError):
                # Answering matters more than counting exactly.
                return await self._local.hit(limit, who)
        return await self._local.hit(limit, who)


def _parse(limit: str) -> RateLimitItem | None:
    if not limit:
        return None
    try:
        return parse(limit)
    except ValueError:
        raise SetupError(f"PETOOL_RATE_LIMIT={limit!r} is not a rate such as `600/minute` or `20/second`.") from None
