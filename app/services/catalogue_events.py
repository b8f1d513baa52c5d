"""Telling the other replicas that the catalogue changed: through Redis, if there is one.

An event only saves waiting for the next poll of PostgreSQL, so losing Redis, or an event, loses nothing.
"""

import asyncio
from collections.abc import Callable

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = structlog.get_logger("petool")
_CHANNEL = "petool:catalogue"
_RETRY_SECONDS = 5.0


class CatalogueEvents:
    def __init__(self, redis_url: str, notice: Callable[[], None]) -> None:
        # Once more, since a connection kept from before a restart of Redis fails at first.
        retry = Retry(NoBackoff(), 1)
        self._redis: Redis | None = Redis.from_url(redis_url, retry=retry) if redis_url else None
        self._notice = notice

    async def announce(self) -> None:
        if self._redis is None:
            return
        try:
            await self._redis.publish(_CHANNEL, "changed")
        except (RedisError, OSError) as error:
            log.warning("event_not_sent", reason=str(error))

    async def listen(self) -> None:
        """Pass events on until cancelled; comes back by itself when Redis does."""
        if self._redis is None:
            return
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(_CHANNEL)
                    async for message in channel.listen():
                        # Subscribed anew: whatever was announced meanwhile was missed.
                        if message["type"] in ("subscribe", "message"):
                            self._notice()
            except (RedisError, OSError) as error:
                log.warning("events_lost", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
