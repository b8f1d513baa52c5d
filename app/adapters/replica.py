"""Which adapters this replica serves: follows PostgreSQL's assignment, and tells what it does."""

import asyncio
import contextlib
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from app.adapters.engine_sync import EngineKeeper, Probe
from app.db.database import Database
from app.decision.model import Model, ModelFactory
from app.domain.adapters import Adapter, Assignment, ReplicaReport
from app.errors import PEToolError, SetupError
from app.inference.pool import EnginePool

log = structlog.get_logger("petool")
_START_SECONDS = 30.0
"""For the engines to be ready for what is active before the first request; without, the ranker answers."""
_LOOK_SECONDS = 2.0
_FORGOTTEN = timedelta(hours=1)


@dataclass(frozen=True)
class Lease:
    """Held by a request for as long as it may ask the engine for the adapter."""

    version: str | None
    """None: what the settings say."""
    model: Model


class LiveAdapters:
    """Level-triggered: every look at the assignment brings engines, callers and report nearer to it.

    What is assigned is taken over once an engine serves it. Until then the replica goes on with what it served, as
    long as an engine serves that.
    """

    def __init__(
        self,
        database: Database,
        pool: EnginePool,
        models: ModelFactory,
        path_of: Callable[[Adapter], Path],
        probe: Probe,
        *,
        poll_seconds: float,
    ) -> None:
        self.id: UUID = uuid4()
        """Of this replica, from its start to its end."""
        self.pool = pool
        self._database = database
        self._models = models
        self._poll_seconds = poll_seconds
        self._noticed = asyncio.Event()
        self._keepers = [
            EngineKeeper(member, path_of, probe, noticed=self.notice, poll_seconds=poll_seconds)
            for member in pool.members
        ]
        self._looking = asyncio.Lock()
        self._looks = 0
        """How many have begun."""
        self._known: dict[str, Adapter] = {}
        self._by_version: dict[str | None, Model] = {None: models.configured}
        self._in_use: Counter[str | None] = Counter()
        self._started = False
        self.assignment = Assignment()
        """As last read."""
        self.served = Assignment()
        """As requests are answered by."""

    @contextmanager
    def lease(self, user_id: str) -> Iterator[Lease]:
        version = self.served.version_for(user_id)
        self._in_use[version] += 1
        try:
            yield Lease(version, self._by_version[version])
        finally:
            self._in_use[version] -= 1
            if not self._in_use[version]:
                del self._in_use[version]
                if version == self.assignment.leaving:
                    # Somebody waits for just this.
                    self.notice()

    def notice(self) -> None:
        """Something changed: look now, not at the next poll."""
        self._noticed.set()

    async def start(self) -> None:
        """Returns when requests can be answered as assigned, or after a while. Keepers have to run."""
        async with self._looking:
            await self._look()
        if self.assignment.wanted:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_START_SECONDS):
                    await asyncio.gather(*(keeper.in_step.wait() for keeper in self._keepers))
            async with self._looking:
                await self._look()

    async def follow(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._noticed.wait()
            self._noticed.clear()
            await self.look_again()

    async def keep_engines(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for keeper in self._keepers:
                tasks.create_task(keeper.run())

    async def look_again(self) -> None:
        """Take over what is assigned now, as far as it can be; quick, never raises for a database that is away."""
        begun = self._looks
        try:
            async with asyncio.timeout(_LOOK_SECONDS), self._looking:
                # However many requests ask for a look at once: one that began after they asked is theirs too.
                if self._looks == begun:
                    await self._look()
        except (PEToolError, TimeoutError) as error:
            # What is in memory goes on being served.
            log.warning("adapters_not_followed", reason=str(error) or type(error).__name__)

    async def tidy(self) -> None:
        async with self._database.statement() as work:
            await work.replicas.forget(_FORGOTTEN)

    async def leave(self) -> None:
        """This replica ends in good order: nobody is to wait for it."""
        with contextlib.suppress(PEToolError):
            async with self._database.statement() as work:
                await work.operations.let_go(self.id)
                await work.replicas.remove(self.id)

    def report(self) -> ReplicaReport:
        """`generation` is that of the last assignment that was taken over in full."""
        served = self.served
        return ReplicaReport(
            served.generation,
            served.active,
            served.canary.version if served.canary is not None else None,
            {version or "": count for version, count in self._in_use.items()},
            tuple(keeper.report() for keeper in self._keepers),
        )

    async def _look(self) -> None:
        self._looks += 1
        async with self._database.statement() as work:
            assignment = await work.adapters.assignment()
            # A version that was deleted and registered anew may have another prompt.
            self._known = {version: known for version, known in self._known.items() if version in assignment.wanted}
            for version in assignment.wanted - self._known.keys():
                adapter = await work.adapters.find(version)
                if adapter is not None:
                    self._known[version] = adapter
        wanted = dict(self._known)
        await self._make_callers(wanted)
        for keeper in self._keepers:
            keeper.want(wanted)
        self.assignment = assignment
        self._take_over(assignment)
        async with self._database.statement() as work:
            await work.replicas.tell(self.id, socket.gethostname(), os.getpid(), self.report())

    async def _make_callers(self, wanted: Mapping[str, Adapter]) -> None:
        for version, adapter in wanted.items():
            if version not in self._by_version:
                try:
                    self._by_version[version] = await asyncio.to_thread(self._models.with_adapter, adapter)
                except SetupError as error:
                    # The probe fails for the same reason, and tells.
                    log.error("adapter_not_served", adapter=version, reason=error.detail)  # noqa: TRY400
        served = {self.served.active, self.served.canary.version if self.served.canary is not None else None}
        for idle in self._by_version.keys() - wanted.keys() - self._in_use.keys() - served - {None}:
            del self._by_version[idle]

    def _take_over(self, assignment: Assignment) -> None:
        served = self.served
        if not self._started:
            # There is nothing that users were served before: the wrong adapter is worse than none.
            if assignment.active not in self._by_version:
                raise SetupError(
                    f"The active adapter {assignment.active} cannot be served by this replica: its prompt format is "
                    "not known here, or does not fit the model. The log has the reason; run the petool that the other "
                    "replicas run."
                )
            self._started = True
            if assignment.canary is not None and assignment.canary.version not in self._by_version:
                assignment = replace(assignment, canary=None)
            self.served = assignment
            return
        active, canary = assignment.active, assignment.canary
        if not self._is_servable(active) and self._is_servable(served.active):
            active = served.active
        if canary is not None and not self._is_servable(canary.version):
            canary = None
        whole = active == assignment.active and canary == assignment.canary
        generation = assignment.generation if whole else served.generation
        if (active, canary) != (served.active, served.canary):
            log.info("adapters_taken_over", active=active, canary=canary.version if canary else None)
        self.served = replace(served, generation=generation, active=active, canary=canary)

    def _is_servable(self, version: str | None) -> bool:
        if version is None:
            return True
        return version in self._by_version and any(version in member.adapters for member in self.pool.members)
