"""Asking the writer for many texts at once, in order."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from training.common.stages import Progress
from training.generators.writer import WriterRejected

Item = TypeVar("Item")
Text = TypeVar("Text")
_AT_ONCE = 256
"""More wait than any endpoint serves together; how many do is the client's own limit."""


async def write_all(
    items: Sequence[Item], write: Callable[[Item], Awaitable[Text]], progress: Progress
) -> list[Text | WriterRejected]:
    """The text of each item, in their order, or why there is none. What ends the run ends the rest of it too."""
    written: list[Text | WriterRejected] = []
    for start in range(0, len(items), _AT_ONCE):
        batch = items[start : start + _AT_ONCE]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(_attempt(write, item, progress)) for item in batch]
        except ExceptionGroup as failures:
            # What ends the run, such as a budget that is spent, meets many at once; one tells it.
            raise failures.exceptions[0] from None
        written.extend(task.result() for task in tasks)
    return written


async def _attempt(write: Callable[[Item], Awaitable[Text]], item: Item, progress: Progress) -> Text | WriterRejected:
    try:
        return await write(item)
    except WriterRejected as rejected:
        return rejected
    finally:
        progress.advance(1)
