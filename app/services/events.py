"""Telling the other replicas that something changed: through Redis, if there is one.

An event only saves waiting for the next poll of PostgreSQL, so losing Redis, or an event, loses nothing.
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
"""A Redis that hangs is no reason to hang too."""


class Topic(StrEnum):
    CATALOGUE = "catalogue"
    ADAPTERS = "adapters"


class ReplicaEvents:
    def __init__(self, redis_url: str) -> None:
        # Once more, since a connection kept from before a restart of Redis fails at first.
        retry = Retry(NoBackoff(), 1)
        self._redis: Redis | None = Redis.from_url(redis_url, retry=retry) if redis_url else None
        self._notices: dict[bytes, Callable[[], None]] = {}

    def on(self, topic: Topic, notice: Callable[[], None]) -> None:
        """`notice` is called whenever a replica, this one too, announces that the topic changed; before `listen`."""
        self._notices[f"{_PREFIX}{topic}".encode()] = notice

    async def announce(self, topic: Topic) -> None:
        if self._redis is None:
            return
        try:
            async with asyncio.timeout(_SEND_SECONDS):
                await self._redis.publish(f"{_PREFIX}{topic}", "changed")
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("event_not_sent", topic=topic.value, reason=str(error))

    async def listen(self) -> None:
        """Pass events on until cancelled; comes back by itself when Redis does."""
        if self._redis is None or not self._notices:
            return
        while True:
            try:
                async with self._redis.pubsub() as channel:
                    await channel.subscribe(*self._notices)
                    async for message in channel.listen():
                        # Subscribed anew: whatever was announced meanwhile was missed.
                        if message["type"] in ("subscribe", "message"):
                            self._notices[message["channel"]]()
            except (RedisError, OSError) as error:
                log.warning("events_lost", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def close(self) -> None:
        if self._redis is not None:
            await self._redis.aclose()
