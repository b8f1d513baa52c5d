"""Back-pressure: how many requests an engine works on at once, and how many may wait for it."""

import asyncio

from app.errors import EngineOverloaded

RETRY_SECONDS = 1


class Gate:
    """An async context manager: `running` tasks are inside at once, `waiting` more wait, first come, first served.

    Entering raises `EngineOverloaded` at once where no more may wait. For the tasks of one event loop.
    """

    def __init__(self, running: int, waiting: int) -> None:
        self._slots = asyncio.Semaphore(running)
        self._max_waiting = waiting
        self._waiting = 0
        self.running = 0
        """Tasks inside."""

    @property
    def full(self) -> bool:
        return self._slots.locked() and self._waiting >= self._max_waiting

    async def __aenter__(self) -> None:
        if self.full:
            raise EngineOverloaded(
                f"The model is busy: {self.running} requests run and {self._waiting} wait. Try again in a moment.",
                retry_after=RETRY_SECONDS,
            )
        self._waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting -= 1
        self.running += 1

    async def __aexit__(self, *_: object) -> None:
        self.running -= 1
        self._slots.release()
