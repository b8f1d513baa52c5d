"""Circuit breaker: after an engine was not to be reached, requests fail at once until it was heard from again."""

import asyncio
import math
import time

from app.errors import EngineDown


class Breaker:
    """Closed (requests pass) or open (`down`).

    An open one is closed by whoever heard from the engine: a probe, or, where nobody probes (`watched` is false), one
    request let through every `probe_seconds`. For the tasks of one event loop.
    """

    def __init__(self, probe_seconds: float) -> None:
        self._probe_seconds = probe_seconds
        self._openings = 0
        self._next_trial = 0.0
        self.down = False
        self.known = False
        """Whether the engine was ever heard from, or missed."""
        self.answers = 0
        """How often the engine was heard from."""
        self.watched = False
        self.suspected = asyncio.Event()
        """Set when the engine should be probed soon."""

    def enter(self) -> int:
        """A ticket for `check`. Raises `EngineDown` where the breaker is open and it is no request's turn to try."""
        now = time.monotonic()
        if self.down:
            if self.watched or now < self._next_trial:
                raise self.error()
            self._next_trial = now + self._probe_seconds
        return self._openings

    def check(self, ticket: int) -> None:
        """Raises `EngineDown` where the breaker opened since the ticket was given, and is still open."""
        if self.down and ticket != self._openings:
            raise self.error()

    def failed(self) -> None:
        """The engine was not to be reached."""
        self.down = self.known = True
        self._openings += 1
        self._next_trial = time.monotonic() + self._probe_seconds
        self.suspected.set()

    def answered(self) -> None:
        self.down, self.known = False, True
        self.answers += 1

    def error(self, reason: str = "it was not a moment ago") -> EngineDown:
        seconds = max(1, math.ceil(self._probe_seconds))
        return EngineDown(f"The model's server is not reachable: {reason}.", retry_after=seconds)
