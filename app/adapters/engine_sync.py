"""Keeps one engine in step with what is to be served: adapters loaded and probed, again whenever it comes back."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import structlog

from app.domain.adapters import Adapter, EngineReport, is_version
from app.errors import AdapterMissing, EngineError, EngineRefused, InvalidAdapter, SetupError
from app.inference.engine import AdapterEngine
from app.inference.pool import Member

log = structlog.get_logger("petool")
_RETRY_SECONDS = 30.0
"""An adapter that an engine would not take is offered to it again after so long."""

Probe = Callable[[Adapter, AdapterEngine], Awaitable[None]]


class EngineKeeper:
    """The engine is asked every `poll_seconds` what it has loaded, and at once when it was lost (`Member.lost`).

    An adapter gets into `member.adapters`, and so takes requests, only once it is loaded and probed. From an engine of
    this process's own, what is no longer wanted is unloaded; from a shared one only operations do that.
    """

    def __init__(
        self,
        member: Member,
        path_of: Callable[[Adapter], Path],
        probe: Probe,
        *,
        noticed: Callable[[], None],
        poll_seconds: float,
    ) -> None:
        """`path_of`: the adapter's directory as the engine sees it. `noticed` is called when its report changed."""
        self._member = member
        self._path_of = path_of
        self._probe = probe
        self._noticed = noticed
        self._poll_seconds = poll_seconds
        self._wanted: Mapping[str, Adapter] = {}
        self._changed = asyncio.Event()
        self._problems: dict[str, tuple[float, str]] = {}
        self._up = False
        self.in_step = asyncio.Event()
        """Set while all that is wanted was tried on the engine, with whatever outcome."""

    def want(self, adapters: Mapping[str, Adapter]) -> None:
        """By version."""
        if adapters.keys() != self._wanted.keys():
            # What was offered before is offered anew with a new wish.
            self._problems = {version: told for version, told in self._problems.items() if version in adapters}
            for version in adapters.keys() - self._wanted.keys():
                self._problems.pop(version, None)
            self._wanted = adapters
            self.in_step.clear()
            self._changed.set()

    def report(self) -> EngineReport:
        return EngineReport(
            self._member.engine.place,
            self._up,
            tuple(sorted(self._member.adapters)),
            self._member.in_flight,
            {version: reason for version, (_, reason) in self._problems.items() if version in self._wanted},
        )

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            before = self._state()
            await self._look()
            if not self._changed.is_set():
                self.in_step.set()
            if self._state() != before:
                self._noticed()
            await self._wait()

    def _state(self) -> EngineReport:
        return replace(self.report(), in_flight=0)

    async def _wait(self) -> None:
        waiting = [asyncio.ensure_future(event.wait()) for event in (self._changed, self._member.lost)]
        try:
            await asyncio.wait(waiting, timeout=self._poll_seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()

    async def _look(self) -> None:
        member = self._member
        self._changed.clear()
        member.lost.clear()
        try:
            loaded = await member.engine.loaded()
        except EngineError as error:
            if self._up:
                log.warning("engine_lost", engine=member.engine.place, reason=error.detail)
            # What it had is taken from it when it is heard to lack it, not when it is too busy to tell.
            self._up = False
            # Not at once again for every request that finds it down.
            await asyncio.sleep(min(self._poll_seconds, 0.2))
            return
        if not self._up:
            log.info("engine_found", engine=member.engine.place)
        self._up = True
        wanted = dict(self._wanted)
        # One that was restarted has lost what it had.
        member.adapters = member.adapters & loaded & wanted.keys()
        for version, adapter in wanted.items():
            if version not in member.adapters and self._is_due(version):
                await self._bring(adapter, is_loaded=version in loaded)
        if not member.engine.shared:
            await self._unload({name for name in loaded if is_version(name)} - wanted.keys())

    async def _bring(self, adapter: Adapter, *, is_loaded: bool) -> None:
        version, engine = adapter.version, self._member.engine
        try:
            if not is_loaded:
                await engine.load_adapter(version, self._path_of(adapter))
            await self._probe(adapter, engine)
        except (InvalidAdapter, SetupError, EngineError) as error:
            if _is_passing(error):
                log.warning("adapter_not_probed", engine=engine.place, adapter=version, reason=error.detail)
            else:
                self._problems[version] = time.monotonic(), error.detail
                log.error("adapter_not_served", engine=engine.place, adapter=version, reason=error.detail)  # noqa: TRY400
        else:
            self._problems.pop(version, None)
            self._member.adapters = self._member.adapters | {version}
            log.info("adapter_ready", engine=engine.place, adapter=version)

    async def _unload(self, versions: set[str]) -> None:
        for version in versions:
            with contextlib.suppress(EngineError):
                await self._member.engine.unload_adapter(version)

    def _is_due(self, version: str) -> bool:
        told = self._problems.get(version)
        return told is None or time.monotonic() - told[0] > _RETRY_SECONDS


def _is_passing(error: Exception) -> bool:
    """Whether the engine may do better shortly: it was busy, is gone, or was told by another to unload the adapter."""
    return isinstance(error, AdapterMissing) or (
        isinstance(error, EngineError) and not isinstance(error, EngineRefused)
    )
