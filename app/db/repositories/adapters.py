from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.adapter_models import AdapterAssignmentRow, AdapterEventRow, AdapterRow
from app.domain.adapters import Adapter, AdapterState, Assignment, AuditEvent, Canary

_COLUMNS = tuple(AdapterRow.__table__.columns)
_ASSIGNMENT = tuple(column for column in AdapterAssignmentRow.__table__.columns if column.name != "id")
# Made once: every replica reads it every second, and when told.
_READ = select(*_ASSIGNMENT)


class AdapterRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, adapter: Adapter) -> None:
        values = {column.name: getattr(adapter, column.name) for column in _COLUMNS}
        values |= {"state": adapter.state.value, "target_modules": list(adapter.target_modules)}
        values |= {"scores": dict(adapter.scores)}
        await self._connection.execute(insert(AdapterRow).values(values))

    async def find(self, name: str) -> Adapter | None:
        """By version; by a name alone its newest version."""
        column = AdapterRow.version if "@" in name else AdapterRow.name
        query = select(*_COLUMNS).where(column == name).order_by(AdapterRow.registered_at.desc(), AdapterRow.version)
        row = (await self._connection.execute(query.limit(1))).mappings().one_or_none()
        return _adapter(row) if row is not None else None

    async def all(self) -> list[Adapter]:
        """The newest first."""
        query = select(*_COLUMNS).order_by(AdapterRow.registered_at.desc(), AdapterRow.version)
        return [_adapter(row) for row in (await self._connection.execute(query)).mappings()]

    async def set_state(self, version: str | None, state: AdapterState) -> None:
        """Nothing to do for None, which stands for what the settings say."""
        await self._connection.execute(
            update(AdapterRow).where(AdapterRow.version == version).values(state=state.value, changed_at=func.now())
        )

    async def delete(self, version: str) -> bool:
        """Whether no other version has the same files."""
        digest = select(AdapterRow.digest).where(AdapterRow.version == version).scalar_subquery()
        others = await self._connection.execute(
            select(func.count()).where(AdapterRow.digest == digest, AdapterRow.version != version)
        )
        alone = others.scalar_one() == 0
        await self._connection.execute(delete(AdapterRow).where(AdapterRow.version == version))
        return alone

    async def assignment(self, *, lock: bool = False) -> Assignment:
        """`lock`: nobody else changes it until the transaction ends."""
        query = _READ.with_for_update() if lock else _READ
        row = (await self._connection.execute(query)).mappings().one()
        return Assignment(**{**row, "canary": _canary(row["canary"])})

    async def assign(self, assignment: Assignment) -> None:
        """Its generation is the one before and one more; the row has to be locked."""
        values = {column.name: getattr(assignment, column.name) for column in _ASSIGNMENT}
        values["canary"] = _canary_json(assignment.canary)
        values["generation"] = AdapterAssignmentRow.generation + 1
        await self._connection.execute(update(AdapterAssignmentRow).values(values))

    async def record(
        self, actor: str, action: str, version: str | None, *, operation: UUID | None = None, detail: str = ""
    ) -> None:
        """In the audit trail."""
        await self._connection.execute(
            insert(AdapterEventRow).values(
                actor=actor, action=action, version=version, operation=operation, detail=detail
            )
        )

    async def events(self, *, before: int | None, limit: int) -> list[AuditEvent]:
        """The latest first."""
        query = select(*AdapterEventRow.__table__.columns).order_by(AdapterEventRow.id.desc()).limit(limit)
        if before is not None:
            query = query.where(AdapterEventRow.id < before)
        return [AuditEvent(**row) for row in (await self._connection.execute(query)).mappings()]


def _adapter(row: Any) -> Adapter:
    return Adapter(
        **{**row, "state": AdapterState(row["state"]), "target_modules": tuple(row["target_modules"])},
    )


def _canary(document: Any) -> Canary | None:
    if document is None:
        return None
    return Canary(
        document["version"],
        document["percent"],
        frozenset(document["users"]),
        datetime.fromisoformat(document["since"]),
    )


def _canary_json(canary: Canary | None) -> dict[str, Any] | None:
    if canary is None:
        return None
    return {
        "version": canary.version,
        "percent": canary.percent,
        "users": sorted(canary.users),
        "since": canary.since.isoformat(),
    }
