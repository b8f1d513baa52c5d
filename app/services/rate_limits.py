"""Rate limits by API key: counted in Redis, which replicas share, or without Redis in this process."""

import time

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from app.errors import RateLimited, SetupError

log = structlog.get_logger("petool")
# A Redis that hangs delays one request by about this long. It is not asked again for `_RETRY_SECONDS`.
_REDIS_SECONDS = 1.0
_RETRY_SECONDS = 5.0


class RateLimitService:
    """`limit` is such as `600/minute`, or empty for none. While Redis is lost, each replica counts by itself."""

    def __init__(self, limit: str, redis_url: str) -> None:
        self._limit = _parse(limit)
        self._local = MovingWindowRateLimiter(MemoryStorage())
        self._redis = _redis(redis_url) if redis_url else None
        self._shared = MovingWindowRateLimiter(self._redis) if self._redis is not None else None
        self._shared_again_at = 0.0
        """Monotonic time, in seconds, before which Redis is not asked again after a failure."""

    async def count(self, who: str) -> None:
        """Count a request of `who`. Raises `RateLimited` if it exceeds the limit."""
        if self._limit is not None and not await self._hit(self._limit, who):
            raise RateLimited(
                f"This API key exceeds its limit of {self._limit}; retry later.",
                retry_after=max(1, self._limit.get_expiry() // 10),
            )

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.bridge.get_connection().aclose()  # type: ignore[attr-defined]

    async def _hit(self, limit: RateLimitItem, who: str) -> bool:
        if self._shared is not None and time.monotonic() >= self._shared_again_at:
            try:
                return await self._shared.hit(limit, who)
            except (RedisError, OSError) as error:
                # An answer matters more than an exact count.
                log.warning("rate_limits_not_shared", reason=str(error))
                self._shared_again_at = time.monotonic() + _RETRY_SECONDS
        return await self._local.hit(limit, who)


def _redis(url: str) -> RedisStorage:
    # The library limits has its own scheme for unix://.
    scheme, rest = url.split("://", 1)
    return RedisStorage(
        f"async+{'redis+unix' if scheme == 'unix' else scheme}://{rest}",
        implementation="redispy",
        socket_timeout=_REDIS_SECONDS,
        socket_connect_timeout=_REDIS_SECONDS,
    )


def _parse(limit: str) -> RateLimitItem | None:
    if not limit:
        return None
    try:
        return parse(limit)
    except ValueError:
        raise SetupError(f"PETOOL_RATE_LIMIT={limit!r} is not a rate such as `600/minute` or `20/second`.") from None
