"""Tries again what may go better in a moment."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from training.openai.wire import Passing

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
"""Seconds between tries, where the server does not ask for more."""
_PATIENCE = 300.0
"""Seconds that a server may ask for."""

Sleep = Callable[[float], Awaitable[None]]
T = TypeVar("T")


class Failed(Exception):
    """There is no answer to this question, whatever is wrong with it; `detail` says why."""

    def __init__(self, detail: str, *, alone: bool = False) -> None:
        super().__init__(detail)
        self.detail = detail
        self.alone = alone
        """It is this question that fails: it says nothing of others."""


async def patiently(ask: Callable[[], Awaitable[T]], retries: int, sleep: Sleep = asyncio.sleep) -> T:
    """What `ask` gives. After `Passing` it is asked again, later from try to try; Failed after the last."""
    for number in range(retries + 1):
        try:
            return await ask()
        except Passing as failure:
            if number == retries or (failure.retry_after or 0) > _PATIENCE:
                times = "once" if number == 0 else f"{number + 1} times"
                raise Failed(f"asked {times}; the last time {failure.detail}") from failure
            longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2**number)
            # Spread, so that not all come back at once.
            own = random.uniform(longest / 2, longest)  # noqa: S311
            await sleep(own if failure.retry_after is None else failure.retry_after + own / 2)
    raise AssertionError("the last try returns or raises")
