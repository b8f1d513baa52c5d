"""A canary beside the version that is active: how users fare with either, and an end to it when it goes wrong."""

import contextlib
from dataclasses import dataclass

import structlog

from app.adapters.operations import AdapterOperations
from app.db.database import Database
from app.domain.adapters import Canary, Served
from app.errors import Conflict, NotFound

log = structlog.get_logger("petool")
_NOT_ITS_FAULT = ("engine_unavailable", "engine_overloaded", "no_engine", "model_not_loaded", "candidates_too_long")
"""Degraded reasons that tell nothing of the adapter."""
_ACTOR = "petool (automatic)"
_LATEST = 1000
"""Calls that the rate is of: a fault that begins late is not made small by what went well before."""


@dataclass(frozen=True)
class Comparison:
    canary: Canary
    of_canary: Served
    of_active: Served
    """In the same time, of the other users."""


class CanaryService:
    """max_error_rate: of the canary's latest calls, above which it is aborted once it has had `min_calls`."""

    def __init__(
        self,
        database: Database,
        operations: AdapterOperations,
        *,
        max_error_rate: float,
        min_calls: int,
    ) -> None:
        self._database = database
        self._operations = operations
        self._max_error_rate = max_error_rate
        self._min_calls = min_calls

    async def compare(self) -> Comparison:
        """NotFound where there is no canary."""
        async with self._database.statement() as work:
            now = await work.adapters.assignment()
            if now.canary is None:
                raise NotFound("There is no canary: POST /admin/adapters/{name}/activate with a canary starts one.")
            return Comparison(
                now.canary,
                await work.decisions.served(now.canary.version, now.canary.since, _NOT_ITS_FAULT),
                await work.decisions.served(now.active, now.canary.since, _NOT_ITS_FAULT),
            )

    async def check(self) -> None:
        """Abort the canary if too many of its calls fail; every replica may ask at once."""
        async with self._database.statement() as work:
            now = await work.adapters.assignment()
            if now.canary is None or now.operation is not None:
                return
            latest = max(_LATEST, self._min_calls)
            errors, calls = await work.decisions.failures(
                now.canary.version, now.canary.since, _NOT_ITS_FAULT, latest=latest
            )
        if calls < max(self._min_calls, 1) or errors / calls <= self._max_error_rate:
            return
        reason = f"{errors} of its latest {calls} calls failed, more than {self._max_error_rate:.1%}"
        log.error("canary_aborted", adapter=now.canary.version, reason=reason)
        with contextlib.suppress(Conflict):
            await self._operations.abort(_ACTOR, reason)
