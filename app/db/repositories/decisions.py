from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from asyncpg import ForeignKeyViolationError
from sqlalchemy import ColumnElement, Double, cast, func, insert, literal_column, select, true
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.db.models import DecisionRow, FeedbackRow, UserRow
from app.domain import Decision, Json, Tool, ToolCall
from app.domain.adapters import Served
from app.json_data.tools import tool_from_json, tool_to_json
from app.json_data.values import replace_unstorable


@dataclass(frozen=True)
class StoredDecision:
    """The parts of a stored decision that later requests need."""

    call_id: UUID
    user_row: int
    user_id: str
    instruction: str
    tool_call: ToolCall
    inline_tools: tuple[Tool, ...]
    created_at: datetime


# Built once: building a statement takes longer than PostgreSQL needs to execute it.
_ADD = insert(DecisionRow)


class DecisionRepository:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def add(self, user_row: int, decision: Decision, inline_tools: Sequence[Tool]) -> bool:
        """Store a decision. False if the user does not exist, having been erased since the call began."""
        values = {
            "id": decision.call_id,
            "user_id": user_row,
            "instruction": decision.instruction,
            "history_setting": decision.history_setting.value,
            "tool_name": decision.tool_call.tool_name,
            "parameters": dict(decision.tool_call.parameters),
            "candidates": [
                [c.tool.name, round(c.score, 5), round(c.relevance, 5), round(c.preference, 5), c.probability]
                for c in decision.candidates
            ],
            "evidence": [[e.interaction.id, round(e.effect, 5), e.reason] for e in decision.evidence],
            "inline_tools": [tool_to_json(tool) for tool in inline_tools] if inline_tools else None,
            "degraded_reason": decision.degraded_reason,
            "decided_by": decision.decided_by,
            "engine": decision.engine,
            "adapter": decision.adapter,
            "asked_adapter": decision.asked_adapter,
            # A model may write NUL and lone surrogates, which PostgreSQL cannot store.
            "raw_output": replace_unstorable(decision.raw_output),
            "problems": [[p.kind, p.parameter, p.reason] for p in decision.problems] or None,
            "catalogue_revision": decision.catalogue_revision,
            "usage": dict(decision.usage),
            "timings": dict(decision.timings),
            "created_at": decision.created_at,
        }
        try:
            await self._connection.execute(_ADD, values)
        except IntegrityError as error:
            # The only foreign key of a decision is its user's.
            if error.orig is not None and isinstance(error.orig.__cause__, ForeignKeyViolationError):
                return False
            raise
        return True

    async def find(self, call_id: UUID) -> StoredDecision | None:
        query = (
            select(
                DecisionRow.id,
                DecisionRow.user_id,
                UserRow.external_id,
                DecisionRow.instruction,
                DecisionRow.tool_name,
                DecisionRow.parameters,
                DecisionRow.inline_tools,
                DecisionRow.created_at,
            )
            .join(UserRow, UserRow.id == DecisionRow.user_id)
            .where(DecisionRow.id == call_id)
        )
        row = (await self._connection.execute(query)).one_or_none()
        if row is None:
            return None
        return StoredDecision(
            call_id=row.id,
            user_row=row.user_id,
            user_id=row.external_id,
            instruction=row.instruction,
            tool_call=ToolCall(row.tool_name, row.parameters),
            inline_tools=tuple(tool_from_json(document) for document in row.inline_tools or ()),
            created_at=row.created_at,
        )

    async def failures(self, version: str, since: datetime, excused: Sequence[str], *, latest: int) -> tuple[int, int]:
        """Number of failed calls, and of all, among the latest calls of users assigned to the version.

        Those with `excused` reasons do not count.
        """
        reasons = (
            select(DecisionRow.degraded_reason.label("reason"))
            .where(
                DecisionRow.asked_adapter == version,
                DecisionRow.created_at >= since,
                DecisionRow.degraded_reason.is_(None) | DecisionRow.degraded_reason.not_in(excused),
            )
            .order_by(DecisionRow.created_at.desc())
            .limit(latest)
            .subquery()
        )
        counts = select(func.count(reasons.c.reason), func.count()).select_from(reasons)
        failed, calls = (await self._connection.execute(counts)).one()
        return int(failed), int(calls)

    async def served(self, version: str | None, since: datetime, excused: Sequence[str]) -> Served:
        """Statistics of the calls of users assigned to a version. `excused` are degraded reasons not caused by it."""
        of_version = DecisionRow.asked_adapter.is_not_distinct_from(version), DecisionRow.created_at >= since
        calls = await self._connection.execute(
            select(
                DecisionRow.degraded_reason,
                func.count(),
                func.count().filter(FeedbackRow.rating == "liked"),
                func.count().filter(FeedbackRow.rating == "disliked"),
            )
            .outerjoin(FeedbackRow, FeedbackRow.call_id == DecisionRow.id)
            .where(*of_version)
            .group_by(DecisionRow.degraded_reason)
        )
        rows = calls.all()
        errors = {reason: count for reason, count, _, _ in rows if reason is not None and reason not in excused}
        counted = [row for row in rows if row[0] not in excused]
        problem = func.json_array_elements(DecisionRow.problems).table_valued("value", name="problem")
        kind: ColumnElement[str] = literal_column("problem.value ->> 0")
        problems = await self._connection.execute(
            select(kind, func.count()).select_from(DecisionRow).join(problem, true()).where(*of_version).group_by(kind)
        )
        milliseconds = cast(DecisionRow.timings["generate"].as_string(), Double)
        median = await self._connection.execute(
            select(func.percentile_cont(0.5).within_group(milliseconds)).where(
                *of_version, DecisionRow.adapter.is_not(None)
            )
        )
        return Served(
            version,
            calls=sum(row[1] for row in counted),
            errors=sum(errors.values()),
            errors_by_kind=errors,
            problems={row[0]: row[1] for row in problems},
            liked=sum(row[2] for row in rows),
            disliked=sum(row[3] for row in rows),
            median_milliseconds=median.scalar_one(),
        )

    async def export(self, user_row: int, *, after: tuple[datetime, UUID] | None, limit: int) -> list[Any]:
        """The user's decisions and the feedback on them as JSON objects, oldest first."""
        query = (
            select(DecisionRow, FeedbackRow)
            .outerjoin(FeedbackRow, FeedbackRow.call_id == DecisionRow.id)
            .where(DecisionRow.user_id == user_row)
            .order_by(DecisionRow.created_at, DecisionRow.id)
            .limit(limit)
        )
        if after is not None:
            query = query.where(
                (DecisionRow.created_at > after[0])
                | ((DecisionRow.created_at == after[0]) & (DecisionRow.id > after[1]))
            )
        return [_exported(row) for row in (await self._connection.execute(query)).mappings()]


def _exported(row: Any) -> dict[str, Json]:
    feedback = None
    if row["rating"] is not None:
        feedback = {key: row[key] for key in ("rating", "comment", "corrected_tool_call", "updated_at")}
    return {
        "call_id": row["id"],
        "instruction": row["instruction"],
        "history_setting": row["history_setting"],
        "tool_call": {"tool_name": row["tool_name"], "parameters": row["parameters"]},
        "candidates": [
            # Decisions of older versions have no probability.
            dict(zip(("tool_name", "score", "relevance", "preference", "probability"), candidate, strict=False))
            for candidate in row["candidates"]
        ],
        "evidence": [
            dict(zip(("interaction_id", "effect", "reason"), evidence, strict=True)) for evidence in row["evidence"]
        ],
        **{
            key: row[key]
            for key in (
                "inline_tools",
                "degraded_reason",
                "decided_by",
                "engine",
                "adapter",
                "asked_adapter",
                "catalogue_revision",
                "raw_output",
                "problems",
                "usage",
                "timings",
                "created_at",
            )
        },
        "feedback": feedback,
    }
