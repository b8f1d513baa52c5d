"""Jobs that run for as long as the service does."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from app.errors import Unavailable

_RESTART_SECONDS = 5.0
log = structlog.get_logger("petool")


async def supervised(name: str, job: Callable[[], Awaitable[object]]) -> None:
    """Run a background job until it returns or is cancelled. After an error it is logged and started again."""
    while True:
        try:
            await job()
        except Exception as error:
            log.error("background_job_failed", job=name, exc_info=error)  # noqa: TRY400
            await asyncio.sleep(_RESTART_SECONDS)
        else:
            return


async def every(seconds: float, job: Callable[[], Awaitable[object]]) -> None:
    """Run a job again and again, `seconds` apart. While the database is not reachable, runs are skipped."""
    while True:
        try:
            await job()
        except Unavailable as error:
            # It runs again once the database is back.
            log.warning("background_job_skipped", reason=error.detail)
        await asyncio.sleep(seconds)
