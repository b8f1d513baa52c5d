"""Changes of what is served, one at a time: claimed, carried out step by step, finished or undone."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import structlog

from app.adapters.operation_steps import LEASE, Carrier
from app.adapters.registry import registered
from app.db.database import Database, UnitOfWork
from app.domain import Json
from app.domain.adapters import CONFIGURED, Assignment, Operation, OperationKind, OperationState
from app.errors import Conflict, InvalidRequest, NotFound, Unavailable

log = structlog.get_logger("petool")
_RENEW_SECONDS = 2.0
_WATCH_SECONDS = 2.0


class AdapterOperations:
    """Begins operations, works on them in the background, and takes over those whose replica has died.

    An operation is claimed in the assignment's row: of two at once one gets `Conflict`.
    """

    def __init__(self, database: Database, carrier: Carrier, replica: UUID) -> None:
        self._database = database
        self._carrier = carrier
        self._replica = replica
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    async def activate(self, name: str, actor: str, *, min_score: float | None = None) -> Operation:
        """`name`: a version, a name for its newest, or `CONFIGURED`. Raises NotFound, Conflict."""

        async def claim(work: UnitOfWork, now: Assignment) -> tuple[OperationKind, str | None]:
            version = None if name == CONFIGURED else (await registered(work, name)).version
            if now.canary is not None:
                raise Conflict("A canary is running: promote or abort it first.")
            if version == now.active:
                raise Conflict(f"{version or 'What the settings say'} is active already.")
            return OperationKind.ACTIVATE, version

        return await self._begin(claim, actor, {"min_score": self._carrier.check_score(min_score)})

    async def canary(
        self, name: str, actor: str, *, percent: float, users: frozenset[str], min_score: float | None = None
    ) -> Operation:
        """The same for some of the users. For the version that is the canary already: its share is changed."""

        async def claim(work: UnitOfWork, now: Assignment) -> tuple[OperationKind, str | None]:
            adapter = await registered(work, name)
            if adapter.version == now.active:
                raise Conflict(f"{adapter.version} is active already: all users are given to it.")
            if now.canary is not None and now.canary.version != adapter.version:
                raise Conflict(f"{now.canary.version} is the canary: promote or abort it first.")
            return OperationKind.CANARY, adapter.version

        if percent <= 0 and not users:
            raise InvalidRequest("A canary needs a percentage above 0, or users.")
        options = {"percent": percent, "users": sorted(users), "min_score": self._carrier.check_score(min_score)}
        return await self._begin(claim, actor, options)

    async def rollback(self, actor: str) -> Operation:
        """Activate what was active before."""

        async def claim(work: UnitOfWork, now: Assignment) -> tuple[OperationKind, str | None]:
            if now.canary is not None:
                raise Conflict("A canary is running: abort it; what was active before it is active still.")
            if not now.has_previous:
                raise Conflict("Nothing was active before: there is nothing to go back to.")
            if now.previous is not None and await work.adapters.find(now.previous) is None:
                raise Conflict(f"{now.previous} was active before, and has been deleted. Activate another version.")
            return OperationKind.ROLLBACK, now.previous

        return await self._begin(claim, actor, {})

    async def promote(self, actor: str) -> Operation:
        """The canary becomes active."""
        return await self._end_canary(OperationKind.PROMOTE, actor)

    async def abort(self, actor: str, reason: str = "") -> Operation:
        """All users go back to the active version."""
        return await self._end_canary(OperationKind.ABORT, actor, reason)

    async def find(self, operation: UUID) -> Operation:
        async with self._database.statement() as work:
            found = await work.operations.find(operation)
        if found is None:
            raise NotFound(f"There is no operation {operation}; GET /admin/operations lists the latest.")
        return found

    async def latest(self, limit: int) -> list[Operation]:
        async with self._database.statement() as work:
            return await work.operations.latest(limit)

    async def ended(self, operation: UUID) -> Operation:
        """Waits for its end, whichever replica works on it. Raises `Unavailable` if the database stays away."""
        while True:
            found = await self.find(operation)
            if found.state is not OperationState.RUNNING:
                return found
            task = self._tasks.get(operation)
            if task is None:
                await asyncio.sleep(0.2)
            else:
                await asyncio.wait({task}, timeout=1.0)

    async def watch(self) -> None:
        """Take over what other replicas left behind; until cancelled. Cancelled, it lets go of its own."""
        try:
            while True:
                with contextlib.suppress(Unavailable):
                    await self._take_over()
                await asyncio.sleep(_WATCH_SECONDS)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _end_canary(self, kind: OperationKind, actor: str, reason: str = "") -> Operation:
        async def claim(_: UnitOfWork, now: Assignment) -> tuple[OperationKind, str | None]:
            if now.canary is None:
                raise Conflict("There is no canary.")
            return kind, now.canary.version

        return await self._begin(claim, actor, {"reason": reason} if reason else {})

    async def _begin(
        self,
        claim: Callable[[UnitOfWork, Assignment], Awaitable[tuple[OperationKind, str | None]]],
        actor: str,
        options: dict[str, Json],
    ) -> Operation:
        async with self._database.transaction() as work:
            now = await work.adapters.assignment(lock=True)
            if now.operation is not None:
                raise Conflict(
                    f"Another operation is at work: {now.operation}. Try again when it has ended "
                    f"(GET /admin/operations/{now.operation}).",
                    operation=str(now.operation),
                )
            kind, version = await claim(work, now)
            operation = Operation(
                uuid4(), kind, version, OperationState.RUNNING, (), actor, datetime.now(UTC), options,
                replica=self._replica,
            )  # fmt: skip
            await work.operations.add(operation, LEASE)
            await work.adapters.assign(replace(now, operation=operation.id))
            await work.adapters.record(
                actor, f"{kind.value} begun", version, operation=operation.id, detail=str(options.get("reason", ""))
            )
        self._work_on(operation)
        return operation

    async def _take_over(self) -> None:
        async with self._database.statement() as work:
            current = (await work.adapters.assignment()).operation
            if current is None or current in self._tasks or not await work.operations.take(
                current, self._replica, LEASE
            ):  # fmt: skip
                return
            operation = await work.operations.find(current)
        if operation is not None and current not in self._tasks:
            log.warning("operation_taken_over", operation=str(current))
            self._work_on(operation)

    def _work_on(self, operation: Operation) -> None:
        task = asyncio.create_task(self._carried_out(operation))
        self._tasks[operation.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(operation.id, None))

    async def _carried_out(self, operation: Operation) -> None:
        renewing = asyncio.create_task(self._renew(operation.id))
        working = asyncio.create_task(self._carrier.carry_out(operation))
        try:
            # The lease lost, another replica is at it.
            await asyncio.wait({renewing, working}, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and (error := working.exception()) is not None:
                log.error("operation_left", operation=str(operation.id), exc_info=error)
        finally:
            for task in (renewing, working):
                task.cancel()
            await asyncio.gather(renewing, working, return_exceptions=True)

    async def _renew(self, operation: UUID) -> None:
        """Returns when the lease is lost."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with contextlib.suppress(Unavailable):
                async with self._database.statement() as work:
                    if not await work.operations.take(operation, self._replica, LEASE):
                        return
