"""Events between replicas through Redis: the catalogue or the assignment of adapters has changed.

An event only saves the wait for the next poll of PostgreSQL. If Redis or an event is lost, nothing else is.
"""

import asyncio
from collections.abc import Callable
from enum import StrEnum

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

log = structlog.get_logger("petool")
_PREFIX = "petool:"
_RETRY_SECONDS = 5.0
_SEND_SECONDS = 1.0
"""Maximum seconds to wait for Redis, which may hang."""


class Topic(StrEnum):
    """What has changed."""

    CATALOGUE = "catalogue"
    ADAPTERS = "adapters"


class ReplicaEvents:
    """Publishes and receives events. Without a Redis URL it does nothing."""

    def __init__(self, redis_url: str) -> None:
        # One retry: a pooled connection from before a restart of Redis fails at first.
        retry = Retry(NoBackoff(), 1)
        self._redis: Redis | None = Redis.from_url(redis_url, retry=retry) if redis_url else None
        self._notices: dict[bytes, Callable[[], None]] = {}

    def on(self, topic: Topic, notice: Callable[[], None]) -> None:
        """Call `notice` for each announcement of the topic by any replica. Register before `listen`."""
        self._notices[f"{_PREFIX}{topic}".encode()] = notice

    async def announce(self, topic: Topic) -> None:
        """Notify all replicas of a change. A failure is logged, not raised."""
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._redis.publish(f"{_PREFIX}{topic}", "changed")
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("event_not_sent", topic=topic.value, reason=str(error))

    async def listen(self) -> None:
        """Pass events on until cancelled. Reconnects after Redis was lost."""
        if self._redis is None or not self._notices:
            return
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(*self._notices)
                    async for message in channel.listen():
                        # After a reconnect, announcements may have been missed, so it counts as one.
                        if message["type"] in ("subscribe", "message"):
                            self._notices[message["channel"]]()
            except (RedisError, OSError) as error:
                log.warning("events_lost", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
