"""Several engines of the same base model as one: failover, load, prefix affinity, and which adapters each has."""

import asyncio
import hashlib
import time
from collections.abc import Collection, Sequence
from dataclasses import replace

from app.errors import AdapterMissing, EngineDown, EngineError, EngineFailed, EngineOverloaded, EngineTimeout
from app.inference.engine import AdapterEngine, Generation, GenerationRequest

_SLACK = 4
"""Requests that a user's own engine may have more than the idlest one, before a kept prefix is worth less than room."""


class Member:
    """One of the engines, and what this process knows of it."""

    def __init__(self, engine: AdapterEngine) -> None:
        self.engine = engine
        self.adapters: frozenset[str] = frozenset()
        """Those that it may be asked for: loaded, and found to be what they should be."""
        self.in_flight = 0
        """This process's requests at it."""
        self.lost = asyncio.Event()
        """Set when it was not to be reached, or lacked an adapter that it should have: what it has is to be looked at
        anew before it serves adapters."""

    def lose(self, adapter: str | None) -> None:
        self.adapters = self.adapters - {adapter}
        self.lost.set()


class EnginePool:
    """`Engine` over `engines`; all of one kind.

    A request goes to the engine that its user's requests went to before, where its prompt's prefix is kept
    (rendezvous hashing: an engine that is lost moves its own users only), unless that one has `_SLACK` requests more
    than the idlest. One that is down, full or lacks the adapter is passed over; where all are, the last one's error
    is raised. Only engines that are known to have an adapter are asked for it.

    fixed: adapters that the engines have by themselves, so that any may be asked for them.
    """

    def __init__(self, engines: Sequence[AdapterEngine], fixed: Collection[str] = ()) -> None:
        self.members = tuple(Member(engine) for engine in engines)
        self._fixed = frozenset(fixed)

    @property
    def name(self) -> str:
        return self.members[0].engine.name

    async def generate(self, request: GenerationRequest) -> Generation:
        """As an engine's; `EngineError` too where one answers in another adapter's name than was asked for."""
        deadline = time.monotonic() + request.timeout
        failure: EngineError = AdapterMissing(f"No engine has the adapter {request.adapter!r} now.")
        tried: set[Member] = set()
        while (member := self._choose(request, tried)) is not None:
            tried.add(member)
            left = deadline - time.monotonic()
            if left <= 0:
                raise EngineTimeout(f"The model did not answer within {request.timeout:g} s.")
            try:
                return await self._ask(member, replace(request, timeout=left))
            except AdapterMissing as error:
                member.lose(request.adapter)
                failure = error
            except (EngineFailed, EngineOverloaded) as error:
                # Of one request: what the engine has for all others stays in use.
                failure = error
            except EngineDown as error:
                # What it has is not forgotten: it may have been a moment of the network. One that was started anew
                # refuses what it lacks.
                member.lost.set()
                failure = error
        raise failure

    async def ready(self) -> bool:
        # Asked together: one that hangs is not to hide that another is well.
        return any(await asyncio.gather(*(member.engine.ready() for member in self.members)))

    async def watch(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for member in self.members:
                tasks.create_task(member.engine.watch())

    async def close(self) -> None:
        await asyncio.gather(*(member.engine.close() for member in self.members))

    async def _ask(self, member: Member, request: GenerationRequest) -> Generation:
        member.in_flight += 1
        try:
            generation = await member.engine.generate(request)
        finally:
            member.in_flight -= 1
        if request.adapter is not None and generation.model != request.adapter:
            # Some servers answer with the base model where an adapter is not there: never passed off as the adapter's.
            raise AdapterMissing(f"{member.engine.place} answered as {generation.model!r}, not {request.adapter!r}.")
        return generation

    def _choose(self, request: GenerationRequest, tried: Collection[Member]) -> Member | None:
        left = [member for member in self.members if member not in tried and self._may_serve(member, request.adapter)]
        if not left:
            return None
        idlest = min(left, key=lambda member: member.in_flight)
        if not request.user:
            return idlest
        preferred = max(left, key=lambda member: _affinity(request.user, member.engine.place))
        return preferred if preferred.in_flight <= idlest.in_flight + _SLACK else idlest

    def _may_serve(self, member: Member, adapter: str | None) -> bool:
        return adapter is None or adapter in self._fixed or adapter in member.adapters


def _affinity(user: str, place: str) -> bytes:
    return hashlib.blake2b(f"{place}\0{user}".encode(), digest_size=8).digest()
