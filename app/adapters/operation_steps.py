"""The steps of an operation. Each may be done twice: whoever takes an operation over begins it anew."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from uuid import UUID

import structlog

from app.adapters.probe import Prober
from app.adapters.replica import LiveAdapters
from app.adapters.transitions import flipped, released, states_after
from app.db.database import Database, UnitOfWork
from app.domain.adapters import Adapter, AdapterState, Assignment, Operation, OperationKind, Replica, Step, is_version
from app.errors import EngineError, InvalidRequest, PEToolError, Unavailable

log = structlog.get_logger("petool")
LEASE = timedelta(seconds=10)
"""Of an operation: renewed by the replica that works on it, by the database's clock."""
GONE = timedelta(seconds=10)
"""A replica that told nothing for so long is waited for no more."""
_LOOK_SECONDS = 0.05
_PATIENCE_SECONDS = 120.0
"""For a database that is away in the middle of an operation."""
_GRACE_SECONDS = 5.0
"""For engines that are all down: one may be just coming back."""
_RELEASE_SECONDS = 3.0
_AFTER_USE = {AdapterState.DRAINING: AdapterState.RETIRED, AdapterState.LOADED: AdapterState.REGISTERED}
"""What is off the engines becomes of its state; `loaded` is one that never got to be served."""

T = TypeVar("T")


class Lost(Exception):
    """Another replica works on the operation."""


class Failed(Exception):
    """The operation cannot be carried out; says why."""


@dataclass
class _Work:
    operation: Operation
    steps: list[Step] = field(default_factory=list)


class Carrier:
    """Carries operations out on behalf of one replica.

    prepare_seconds: for all engines to load and probe an adapter. drain_seconds: for requests in flight: longer than
    any of them may take. announce: tells the other replicas. verify: raises InvalidAdapter where the adapter's stored
    files are not what was registered.
    """

    def __init__(
        self,
        database: Database,
        live: LiveAdapters,
        prober: Prober,
        *,
        announce: Callable[[], Awaitable[None]],
        verify: Callable[[Adapter], None],
        prepare_seconds: float,
        drain_seconds: float,
        min_score: float | None,
    ) -> None:
        self._database = database
        self._live = live
        self._prober = prober
        self._announce = announce
        self._verify = verify
        self._prepare_seconds = prepare_seconds
        self._drain_seconds = drain_seconds
        self._min_score = min_score

    def check_score(self, asked: float | None) -> float | None:
        """The score that an adapter has to reach. InvalidRequest where there is nothing to measure it on."""
        if asked is not None and not self._prober.cases:
            raise InvalidRequest("min_score needs an evaluation set: set PETOOL_ADAPTER_EVALUATION to its file.")
        return asked if asked is not None else self._min_score

    async def carry_out(self, operation: Operation) -> None:
        """To its end, whatever it is; raises `Lost`, and `Unavailable` for a database that stays away."""
        work = _Work(operation, list(operation.steps))
        try:
            if not operation.flipped:
                await self._ready(work)
                await self._step(work, "flip")
                await self._steadily(lambda: self._flip(operation))
        except (Failed, PEToolError) as error:
            if isinstance(error, Unavailable) and not isinstance(error, EngineError):
                raise
            await self._undo(work, error.detail if isinstance(error, PEToolError) else str(error))
            return
        except Exception as error:
            if isinstance(error, Lost) or await self._steadily(lambda: self._has_flipped(operation)):
                raise
            log.exception("operation_failed", operation=str(operation.id))
            await self._undo(work, f"An unexpected {type(error).__name__}; the log has more.")
            return
        await self._drain(work)
        await self._release(work, None)

    async def _undo(self, work: _Work, reason: str) -> None:
        """Before the flip: what was served is served on."""
        await self._step(work, "failed", reason)
        await self._release(work, reason)

    async def _ready(self, work: _Work) -> None:
        """Verify, load, probe, evaluate. Raises `Failed` or PEToolError."""
        operation = work.operation
        if operation.version is None or operation.kind is OperationKind.ABORT:
            return
        adapter = await self._steadily(lambda: self._adapter(operation.version or ""))
        await self._step(work, "verify")
        try:
            async with asyncio.timeout(self._prepare_seconds):
                await asyncio.to_thread(self._verify, adapter)
        except (Unavailable, TimeoutError) as error:
            # The disk's fault, which no other try of the same operation is to wait for.
            raise Failed(f"Its files cannot be read: {error or 'the disk does not answer'}") from error
        await self._step(work, "load")
        generation = await self._steadily(lambda: self._prepare(operation, adapter))
        await self._step(work, "probe", await self._prepared(adapter.version, generation))
        least = operation.options.get("min_score")
        if least is not None:
            score = await self._prober.score(adapter)
            detail = f"tool {score.tool:.1%}, parameters {score.parameters:.1%} of {score.cases} cases"
            await self._step(work, "evaluate", detail)
            if score.tool < least:
                raise Failed(f"It chooses the right tool in {score.tool:.1%} of the evaluation set; {least:.1%} is "
                             "the least that is accepted.")  # fmt: skip

    async def _adapter(self, version: str) -> Adapter:
        async with self._database.statement() as work:
            adapter = await work.adapters.find(version)
        if adapter is None:
            raise Failed(f"{version} was deleted meanwhile.")
        return adapter

    async def _prepare(self, operation: Operation, adapter: Adapter) -> int:
        """Every replica is to bring it to its engines; the generation in which this is said."""
        async with self._database.transaction() as work:
            now = await self._claimed(work, operation)
            if now.preparing != adapter.version:
                await work.adapters.assign(replace(now, preparing=adapter.version))
                if adapter.state in (AdapterState.REGISTERED, AdapterState.RETIRED):
                    await work.adapters.set_state(adapter.version, AdapterState.LOADED)
            generation = (await work.adapters.assignment()).generation
        await self._tell()
        return generation

    async def _prepared(self, version: str, generation: int) -> str:
        """Waits until every engine of every replica has it, or is down. Raises `Failed`."""
        started = asyncio.get_running_loop().time()

        def outcome(replicas: list[Replica]) -> str | None:
            waited = asyncio.get_running_loop().time() - started
            engines = [(replica, engine) for replica in replicas for engine in replica.report.engines]
            for replica, engine in engines:
                if version in engine.problems:
                    raise Failed(f"{engine.place} ({_name(replica)}): {engine.problems[version]}")
            have = [engine for _, engine in engines if engine.up and version in engine.adapters]
            behind = [replica for replica in replicas if replica.report.generation < generation]
            slow = [engine for _, engine in engines if engine.up and version not in engine.adapters]
            if have and not behind and not slow:
                down = sorted({engine.place for _, engine in engines if not engine.up})
                return f"{len({engine.place for engine in have})} engines" + (
                    f"; down, to load it when back: {', '.join(down)}" if down else ""
                )
            if not have and not slow and waited > _GRACE_SECONDS:
                raise Failed("No engine is up.")
            if waited > self._prepare_seconds:
                names = sorted({engine.place for engine in slow} | {_name(replica) for replica in behind})
                raise Failed(f"Not ready within {self._prepare_seconds:g} s: {', '.join(names) or 'all engines'}.")
            return None

        return await self._until(outcome)

    async def _flip(self, operation: Operation) -> None:
        """Once, however often it is called: the commit's answer may get lost."""
        async with self._database.transaction() as work:
            now = await self._claimed(work, operation)
            known = await work.operations.find(operation.id)
            if known is not None and known.flipped:
                return
            after = flipped(operation, now, datetime.now(UTC))
            await work.adapters.assign(after)
            for version, state in states_after(now, after).items():
                await work.adapters.set_state(version, state)
            await work.operations.flip(operation.id)
            await work.adapters.record(
                operation.actor, f"{operation.kind.value} flipped", operation.version, operation=operation.id
            )
        await self._tell()

    async def _has_flipped(self, operation: Operation) -> bool:
        async with self._database.statement() as work:
            known = await work.operations.find(operation.id)
        return known is not None and known.flipped

    async def _drain(self, work: _Work) -> None:
        """Waits until every replica serves by the new assignment, and no request for the old version is left."""
        now = await self._steadily(self._assignment)
        started = asyncio.get_running_loop().time()

        def outcome(replicas: list[Replica]) -> str | None:
            late = [
                replica
                for replica in replicas
                if replica.report.generation < now.generation
                or (now.leaving is not None and replica.report.in_use.get(now.leaving, 0))
            ]
            if not late:
                return ""
            if asyncio.get_running_loop().time() - started > self._drain_seconds:
                return f"not waited for any longer: {', '.join(map(_name, late))}"
            return None

        await self._step(work, "drain", await self._until(outcome))

    async def _release(self, work: _Work, error: str | None) -> None:
        """Takes off the engines what nobody is served any more, and ends the operation."""
        operation = work.operation
        await self._steadily(lambda: self._let_go(operation))
        now = await self._steadily(self._assignment)
        started = asyncio.get_running_loop().time()

        def outcome(replicas: list[Replica]) -> str | None:
            waited = asyncio.get_running_loop().time() - started
            known = all(replica.report.generation >= now.generation for replica in replicas)
            return "" if known or waited > _RELEASE_SECONDS else None

        await self._until(outcome)
        await self._step(work, "unload", await self._unload(operation, now.wanted))
        await self._steadily(lambda: self._end(work, error))

    async def _let_go(self, operation: Operation) -> None:
        async with self._database.transaction() as work:
            now = await self._claimed(work, operation)
            await work.adapters.assign(released(now))
        await self._tell()

    async def _unload(self, operation: Operation, wanted: frozenset[str]) -> str:
        """From engines that are shared; each replica sees to its own."""
        gone: set[str] = set()
        for member in self._live.pool.members:
            if not member.engine.shared:
                continue
            try:
                left = {name for name in await member.engine.loaded() if is_version(name)} - wanted
                for version in left:
                    # Not on the word of a lease that has run out: the next operation may be loading it again.
                    await self._steadily(lambda: self._still_claimed(operation))
                    await member.engine.unload_adapter(version)
            except EngineError as error:
                # It has lost all when it is back, or the next operation takes it off.
                log.warning("adapter_not_unloaded", engine=member.engine.place, reason=error.detail)
            else:
                gone |= left
        return ", ".join(sorted(gone))

    async def _end(self, done: _Work, error: str | None) -> None:
        operation = done.operation
        async with self._database.transaction() as work:
            now = await self._claimed(work, operation)
            await work.adapters.assign(replace(now, operation=None))
            for adapter in await work.adapters.all():
                if not now.uses(adapter.version) and adapter.state in _AFTER_USE:
                    await work.adapters.set_state(adapter.version, _AFTER_USE[adapter.state])
            steps = [*done.steps, Step("done", datetime.now(UTC))] if error is None else done.steps
            await work.operations.finish(operation.id, steps, error)
            outcome = "succeeded" if error is None else "failed"
            await work.adapters.record(
                operation.actor,
                f"{operation.kind.value} {outcome}",
                operation.version,
                operation=operation.id,
                detail=error or "",
            )
        log.info("operation_ended", operation=str(operation.id), kind=operation.kind.value, error=error)
        await self._tell()

    async def _claimed(self, work: UnitOfWork, operation: Operation) -> Assignment:
        """The assignment, locked. Raises `Lost` where another replica works on the operation, or it has ended."""
        now = await work.adapters.assignment(lock=True)
        if now.operation != operation.id or not await work.operations.take(operation.id, self._replica, LEASE):
            raise Lost
        return now

    async def _still_claimed(self, operation: Operation) -> None:
        async with self._database.statement() as work:
            if not await work.operations.take(operation.id, self._replica, LEASE):
                raise Lost

    @property
    def _replica(self) -> UUID:
        return self._live.id

    async def _assignment(self) -> Assignment:
        async with self._database.statement() as work:
            return await work.adapters.assignment()

    async def _step(self, work: _Work, name: str, detail: str = "") -> None:
        """Noted when it begins, or, where it has a detail, when that is known."""
        work.steps.append(Step(name, datetime.now(UTC), detail))

        async def write() -> None:
            async with self._database.statement() as unit:
                await unit.operations.set_steps(work.operation.id, work.steps)

        await self._steadily(write)

    async def _tell(self) -> None:
        self._live.notice()
        await self._announce()

    async def _until(self, outcome: Callable[[list[Replica]], str | None]) -> str:
        """Looks at what the replicas that are alive tell, until there is an outcome."""
        patience = asyncio.get_running_loop().time() + GONE.total_seconds()
        while True:
            living = [replica for replica in await self._steadily(self._replicas, again=True) if replica.alive]
            # While this one has not told either, the database was away and nobody could.
            if any(replica.id == self._replica for replica in living) or asyncio.get_running_loop().time() > patience:
                told = outcome(living)
                if told is not None:
                    return told
            await asyncio.sleep(_LOOK_SECONDS)

    async def _replicas(self) -> list[Replica]:
        async with self._database.statement() as work:
            return await work.replicas.all(GONE)

    async def _steadily(self, job: Callable[[], Awaitable[T]], *, again: bool = False) -> T:
        """A database that is away for a while does not end an operation. `again`: after that the job is done twice."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE_SECONDS
        was_away = False
        while True:
            try:
                result = await job()
            except Unavailable as error:
                if isinstance(error, EngineError) or asyncio.get_running_loop().time() > deadline:
                    raise
                was_away = True
                await asyncio.sleep(0.5)
            else:
                if was_away:
                    # The other replicas had no way to tell that they are alive, either.
                    await asyncio.sleep(2.0)
                    was_away = False
                    if again:
                        continue
                return result


def _name(replica: Replica) -> str:
    return f"{replica.host}:{replica.process}"
