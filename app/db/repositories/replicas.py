from dataclasses import asdict
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.adapter_models import ReplicaRow
from app.domain.adapters import EngineReport, Replica, ReplicaReport


class ReplicaRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def tell(self, replica: UUID, host: str, process: int, report: ReplicaReport) -> None:
        """That it is alive, and what it serves."""
        statement = insert(ReplicaRow).values(id=replica, host=host, process=process, report=asdict(report))
        await self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=[ReplicaRow.id],
                set_={"seen_at": func.now(), "report": statement.excluded.report},
            )
        )

    async def all(self, gone_after: timedelta) -> list[Replica]:
        """The longest running first. A replica not seen for so long is not alive."""
        alive = (ReplicaRow.seen_at > func.now() - gone_after).label("alive")
        query = select(*ReplicaRow.__table__.columns, alive).order_by(ReplicaRow.started_at, ReplicaRow.id)
        return [
            Replica(**{**row, "report": _report(row["report"])})
            for row in (await self._connection.execute(query)).mappings()
        ]

    async def remove(self, replica: UUID) -> None:
        await self._connection.execute(delete(ReplicaRow).where(ReplicaRow.id == replica))

    async def forget(self, older_than: timedelta) -> None:
        """Those that were killed and never came back: a replica that starts is a new one."""
        await self._connection.execute(delete(ReplicaRow).where(ReplicaRow.seen_at < func.now() - older_than))


def _report(document: Any) -> ReplicaReport:
    engines = tuple(EngineReport(**{**engine, "adapters": tuple(engine["adapters"])}) for engine in document["engines"])
    return ReplicaReport(**{**document, "engines": engines})
