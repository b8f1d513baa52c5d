"""Registering adapters: checked against the base model, stored for good, listed, deleted."""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import structlog

from app.adapters.store import AdapterStore, Staged
from app.db.database import Database, UnitOfWork
from app.domain import Json
from app.domain.adapters import NAME, RESERVED, Adapter, AdapterState, AuditEvent, version_of
from app.errors import Conflict, InvalidAdapter, InvalidRequest, NotFound, SetupError
from app.json_data.values import replace_unstorable
from app.model_files.manifest import MANIFEST, Manifest, weights_digest
from app.prompting.formats import PromptFormat, format_named

log = structlog.get_logger("petool")
_STALE_SECONDS = 3600.0
"""Of what a killed process left in the store."""


@dataclass(frozen=True)
class ServedBase:
    """What adapters are checked against."""

    model: str
    """Directory, or name on the hub."""
    prompt_format: PromptFormat
    """Of adapters whose manifest or registration tells none."""
    prompt_tokens: int
    max_rank: int


class AdapterRegistry:
    def __init__(self, database: Database, store: AdapterStore, base: ServedBase) -> None:
        self._database = database
        self._store = store
        self._base = base
        self._shapes: Mapping[str, tuple[int, int]] | None = None
        self._digest: str | None = None
        self._checking = asyncio.Lock()

    async def register_directory(
        self, name: str, path: str, actor: str, *, prompt_format: str | None = None, prompt_tokens: int | None = None
    ) -> tuple[Adapter, bool]:
        """`path`: below the configured source. See `_register`."""
        return await self._register(
            name, lambda: self._store.stage_directory(path), actor, prompt_format, prompt_tokens
        )

    async def register_upload(
        self,
        name: str,
        file: BinaryIO,
        actor: str,
        *,
        prompt_format: str | None = None,
        prompt_tokens: int | None = None,
    ) -> tuple[Adapter, bool]:
        """`file`: a tar. See `_register`."""
        return await self._register(name, lambda: self._store.stage_tar(file), actor, prompt_format, prompt_tokens)

    async def all(self) -> list[Adapter]:
        """The newest first."""
        async with self._database.statement() as work:
            return await work.adapters.all()

    async def find(self, name: str) -> Adapter:
        """By version, or the newest of a name."""
        async with self._database.statement() as work:
            return await registered(work, name)

    async def delete(self, name: str, actor: str) -> Adapter:
        """Conflict for a version that is, or is about to be, served."""
        async with self._database.transaction() as work:
            now = await work.adapters.assignment(lock=True)
            adapter = await registered(work, name)
            running = await work.operations.find(now.operation) if now.operation is not None else None
            if now.uses(adapter.version) or (running is not None and running.version == adapter.version):
                raise Conflict(
                    f"{adapter.version} is {adapter.state.value}: it cannot be deleted while it is in use. "
                    "Activate another version first."
                )
            if adapter.state is AdapterState.DRAINING:
                raise Conflict(f"{adapter.version} is being taken off the engines; try again in a moment.")
            await work.adapters.record(actor, "deleted", adapter.version)
            if await work.adapters.delete(adapter.version):
                # Under the lock, so that nobody registers the same files between here and there.
                await asyncio.to_thread(self._store.remove, adapter.digest)
        return adapter

    async def events(self, *, before: int | None, limit: int) -> list[AuditEvent]:
        """The audit trail, the latest first."""
        async with self._database.statement() as work:
            return await work.adapters.events(before=before, limit=limit)

    def verify(self, adapter: Adapter) -> None:
        """Blocking. InvalidAdapter where its files are not what was registered."""
        self._store.verify(adapter.digest)

    async def tidy(self) -> None:
        await asyncio.to_thread(self._store.sweep, _STALE_SECONDS)

    async def _register(
        self,
        name: str,
        stage: Callable[[], Staged],
        actor: str,
        prompt_format: str | None,
        prompt_tokens: int | None,
    ) -> tuple[Adapter, bool]:
        """The version, and whether it is new: the same files under the same name are the same version.

        Raises InvalidRequest for the name, InvalidAdapter for the files, Conflict where the same files were registered
        for another prompt.
        """
        if re.fullmatch(NAME, name) is None or name in RESERVED:
            raise InvalidRequest(
                f"{name!r} is no name for an adapter: 1 to 63 of a-z, 0-9, dot, dash and underscore, a letter or digit "
                f"first, and none of {', '.join(sorted(RESERVED))}."
            )
        staged = await asyncio.to_thread(stage)
        try:
            # One at a time: it takes memory for all its tensors.
            async with self._checking:
                adapter = await asyncio.to_thread(self._checked, name, staged, actor, prompt_format, prompt_tokens)
                await asyncio.to_thread(self._store.prepare, staged)
            async with self._database.transaction() as work:
                await work.adapters.assignment(lock=True)
                # Before the row: a version that is listed has its files.
                await asyncio.to_thread(self._store.commit, staged)
                known = await work.adapters.find(adapter.version)
                if known is None:
                    await work.adapters.add(adapter)
                    await work.adapters.record(actor, "registered", adapter.version)
                    return adapter, True
        finally:
            await asyncio.to_thread(self._store.discard, staged)
        if (known.prompt_format, known.prompt_tokens) != (adapter.prompt_format, adapter.prompt_tokens):
            raise Conflict(
                f"{known.version} is registered with the prompt format {known.prompt_format} and "
                f"{known.prompt_tokens} tokens: delete it first, or register it under another name."
            )
        return known, False

    def _checked(
        self, name: str, staged: Staged, actor: str, prompt_format: str | None, prompt_tokens: int | None
    ) -> Adapter:
        # Torch and transformers take seconds to import: only where adapters are registered.
        from app.model_files.inspection import base_shapes, inspect_adapter

        if self._shapes is None:
            try:
                self._shapes = base_shapes(self._base.model)
            except SetupError as error:
                raise Conflict(f"Adapters cannot be checked here: {error.detail}") from error
        facts = inspect_adapter(staged.path, Path(self._base.model).name, self._shapes, max_rank=self._base.max_rank)
        manifest = facts.manifest
        now = datetime.now(UTC)
        return Adapter(
            version_of(name, staged.digest),
            name,
            staged.digest,
            AdapterState.REGISTERED,
            replace_unstorable(facts.base_name),
            self._is_verified(manifest),
            facts.rank,
            facts.target_modules,
            facts.parameters,
            staged.size,
            self._format(manifest, prompt_format),
            prompt_tokens or (manifest.prompt_tokens if manifest is not None else self._base.prompt_tokens),
            _scores(manifest),
            actor,
            now,
            now,
        )

    def _is_verified(self, manifest: Manifest | None) -> bool:
        """Whether the base has the weights that the adapter was trained for; InvalidAdapter where it has others."""
        if manifest is None or manifest.base is None:
            return False
        if self._digest is None:
            try:
                self._digest = weights_digest(Path(self._base.model))
            except SetupError as error:
                # A directory with the tokenizer alone, or a name on the hub.
                log.warning("base_not_verified", reason=error.detail)
                return False
        if self._digest != manifest.base.digest:
            raise InvalidAdapter(
                f"It was trained for {manifest.base.name} with other weights than the model that is served here: "
                "register it where that one is served, or train it anew."
            )
        return True

    def _format(self, manifest: Manifest | None, asked: str | None) -> str:
        trained_on = manifest.prompt_format if manifest is not None else None
        if asked and trained_on and asked != trained_on:
            raise InvalidAdapter(f"Its manifest says that it was trained on {trained_on}: leave prompt_format out.")
        try:
            return format_named(trained_on or asked or self._base.prompt_format.name).name
        except SetupError as error:
            raise InvalidAdapter(error.detail) from error


async def registered(work: UnitOfWork, name: str) -> Adapter:
    """By version, or the newest of a name. Raises NotFound."""
    adapter = await work.adapters.find(name)
    if adapter is None:
        raise NotFound(f"There is no adapter {name!r}; GET /admin/adapters lists what is registered.")
    return adapter


def _scores(manifest: Manifest | None) -> Mapping[str, Json]:
    if manifest is None:
        return {}
    try:
        json.dumps(manifest.scores, allow_nan=False)
    except ValueError as error:
        raise InvalidAdapter(f"{MANIFEST}: a score is no number of JSON (NaN, infinity).") from error
    scores: Mapping[str, Json] = replace_unstorable(dict(manifest.scores))
    return scores
