from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.adapter_models import AdapterOperationRow
from app.domain.adapters import Operation, OperationKind, OperationState, Step

_COLUMNS = tuple(column for column in AdapterOperationRow.__table__.columns if column.name != "lease_until")


class OperationRepository:
    """Operations on adapters. A replica works on one for as long as it renews its lease, by the database's clock."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, operation: Operation, lease: timedelta) -> None:
        await self._connection.execute(
            insert(AdapterOperationRow).values(
                id=operation.id,
                kind=operation.kind.value,
                version=operation.version,
                state=operation.state.value,
                steps=_steps_json(operation.steps),
                actor=operation.actor,
                options=dict(operation.options),
                replica=operation.replica,
                lease_until=func.now() + lease,
            )
        )

    async def find(self, operation: UUID) -> Operation | None:
        query = select(*_COLUMNS).where(AdapterOperationRow.id == operation)
        row = (await self._connection.execute(query)).mappings().one_or_none()
        return _operation(row) if row is not None else None

    async def latest(self, limit: int) -> list[Operation]:
        query = select(*_COLUMNS).order_by(AdapterOperationRow.started_at.desc()).limit(limit)
        return [_operation(row) for row in (await self._connection.execute(query)).mappings()]

    async def take(self, operation: UUID, replica: UUID, lease: timedelta) -> bool:
        """Renew the lease, or take over one that has run out; False where another replica works on it."""
        row = AdapterOperationRow
        result = await self._connection.execute(
            update(row)
            .where(
                row.id == operation,
                row.state == OperationState.RUNNING.value,
                (row.replica == replica) | (row.lease_until < func.now()),
            )
            .values(replica=replica, lease_until=func.now() + lease)
        )
        return bool(result.rowcount)

    async def let_go(self, replica: UUID) -> None:
        """Others may take over at once what this replica works on."""
        await self._connection.execute(
            update(AdapterOperationRow)
            .where(AdapterOperationRow.replica == replica, AdapterOperationRow.state == OperationState.RUNNING.value)
            .values(lease_until=func.now() - timedelta(seconds=1))
        )

    async def set_steps(self, operation: UUID, steps: Sequence[Step]) -> None:
        await self._change(operation, steps=_steps_json(steps))

    async def flip(self, operation: UUID) -> None:
        await self._change(operation, flipped=True)

    async def finish(self, operation: UUID, steps: Sequence[Step], error: str | None) -> None:
        state = OperationState.SUCCEEDED if error is None else OperationState.FAILED
        await self._change(operation, state=state.value, error=error, steps=_steps_json(steps), finished_at=func.now())

    async def _change(self, operation: UUID, **values: Any) -> None:
        await self._connection.execute(
            update(AdapterOperationRow).where(AdapterOperationRow.id == operation).values(values)
        )


def _operation(row: Any) -> Operation:
    return Operation(
        **{
            **row,
            "kind": OperationKind(row["kind"]),
            "state": OperationState(row["state"]),
            "steps": tuple(Step(name, datetime.fromisoformat(at), detail) for name, at, detail in row["steps"]),
        }
    )


def _steps_json(steps: Sequence[Step]) -> list[list[str]]:
    return [[step.name, step.at.isoformat(), step.detail] for step in steps]
