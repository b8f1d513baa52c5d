"""Use cases of users' histories: import, read, delete, erase and export."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from app.answers.validation import ProblemKind, parameter_problems
from app.db.database import Database, UnitOfWork
from app.db.repositories.interactions import TimelinePosition
from app.db.repositories.users import StoredUser
from app.domain import Interaction, Json, Tool
from app.errors import NotFound

# A client's clock may be ahead. A time further ahead than this is a mistake.
CLOCK_SKEW = timedelta(days=1)
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_EXPORT_PAGE = 500


@dataclass(frozen=True)
class ItemReport:
    index: int
    """Position in the request, from 0."""
    reason: str


@dataclass(frozen=True)
class HistoryImport:
    imported: int
    updated: int
    """Interactions that the history had already. Their rating is updated."""
    rejected: list[ItemReport] = field(default_factory=list)
    warnings: list[ItemReport] = field(default_factory=list)
    """Interactions that are stored although a value violates the tool's document."""


class HistoryService:
    def __init__(self, database: Database, forget: Callable[[int], None]) -> None:
        """`forget` drops a user, given by row id, from the caches in memory."""
        self._database = database
        self._forget = forget

    async def add(
        self, user_id: str, interactions: Mapping[int, Interaction], rejected: Sequence[ItemReport]
    ) -> HistoryImport:
        """Store the valid ones of `interactions`, which are by position in the request, and list the others.

        `rejected`: items refused before, for their form. An unknown user is created.
        """
        names = sorted({interaction.tool_call.tool_name for interaction in interactions.values()})
        async with self._database.statement() as work:
            tools = await work.tools.known(names)
        latest = datetime.now(UTC) + CLOCK_SKEW
        refused, warnings = list(rejected), []
        accepted = []
        checked = await asyncio.to_thread(
            lambda: {index: _check_interaction(item, tools, latest) for index, item in interactions.items()}
        )
        for index, (reason, warning) in checked.items():
            if reason is not None:
                refused.append(ItemReport(index, reason))
                continue
            accepted.append(interactions[index])
            if warning is not None:
                warnings.append(ItemReport(index, warning))
        new = await self._store(user_id, accepted)
        return HistoryImport(
            imported=new,
            updated=len(accepted) - new,
            rejected=sorted(refused, key=lambda item: item.index),
            warnings=warnings,
        )

    async def page(self, user_id: str, *, after: TimelinePosition | None, limit: int) -> list[Interaction]:
        """A page of the user's interactions, newest first. Raises `NotFound` for an unknown user."""
        async with self._database.statement() as work:
            user = await _find_user(work, user_id)
            return await work.interactions.page(user.id, after=after, limit=limit)

    async def delete(self, user_id: str, interaction_id: int) -> None:
        async with self._database.transaction() as work:
            user = await _find_user(work, user_id)
            await work.users.change_history(user.id)
            if not await work.interactions.delete(user.id, interaction_id):
                raise NotFound(f"User {user_id!r} has no interaction {interaction_id}.")

    async def erase(self, user_id: str) -> dict[str, int]:
        """Delete everything stored about the user. Returns the number of deleted rows by kind."""
        async with self._database.transaction() as work:
            answers = await work.users.erase_answers(user_id)
            user = await work.users.find(user_id)
            if user is None and not answers:
                await _find_user(work, user_id)
            erased = await work.users.erase(user) if user is not None else {}
        if user is not None:
            self._forget(user.id)
        return {"interactions": 0, "calls": 0, "feedback": 0} | erased | {"idempotent_answers": answers}

    async def export(self, user_id: str) -> AsyncIterator[tuple[str, Json | Interaction]]:
        """Everything stored about the user: `("user", …)`, then each `("interaction", …)`, then each `("call", …)`."""
        async with self._database.statement() as work:
            user = await _find_user(work, user_id)
        yield "user", {"user_id": user.external_id, "created_at": user.created_at}
        position: TimelinePosition | None = None
        while True:
            async with self._database.statement() as work:
                page = await work.interactions.page(user.id, after=position, limit=_EXPORT_PAGE)
            for interaction in page:
                yield "interaction", interaction
            if len(page) < _EXPORT_PAGE:
                break
            position = TimelinePosition(page[-1].occurred_at, page[-1].id)
        after = None
        while True:
            async with self._database.statement() as work:
                calls = await work.decisions.export(user.id, after=after, limit=_EXPORT_PAGE)
            for call in calls:
                yield "call", call
            if len(calls) < _EXPORT_PAGE:
                return
            after = (calls[-1]["created_at"], calls[-1]["call_id"])

    async def _store(self, user_id: str, interactions: Sequence[Interaction]) -> int:
        if not interactions:
            return 0
        async with self._database.transaction() as work:
            user = await work.users.find(user_id) or await work.users.create(user_id)
            while not await work.users.change_history(user.id):
                # Another request has just erased the user. What arrives after that belongs to a new user.
                user = await work.users.create(user_id)
            # The user's row is locked: an erasure waits until the interactions are stored, and deletes them too.
            return await work.interactions.add(user.id, interactions)


async def _find_user(work: UnitOfWork, user_id: str) -> StoredUser:
    user = await work.users.find(user_id)
    if user is None:
        raise NotFound(f"There is no user {user_id!r}: no call, history or feedback has come for it yet.")
    return user


def _check_interaction(item: Interaction, tools: Mapping[str, Tool], latest: datetime) -> tuple[str | None, str | None]:
    """Reason to reject the interaction, or None; and a warning about it, or None."""
    tool = tools.get(item.tool_call.tool_name)
    if tool is None:
        return (
            f"tool {item.tool_call.tool_name!r} is not in the catalogue; import it first (PUT /tools)",
            None,
        )
    if item.occurred_at > latest:
        return f"occurred_at {item.occurred_at.isoformat()} lies more than a day in the future", None
    if item.occurred_at < EARLIEST:
        return f"occurred_at {item.occurred_at.isoformat()} lies before 1970", None
    problems = parameter_problems(tool, item.tool_call.parameters)
    foreign = [problem.reason for problem in problems if problem.kind is ProblemKind.NAME_MISMATCH]
    if foreign:
        return "; ".join(foreign[:5]), None
    # A past call with a missing or wrong value still shows which tool the user wanted.
    return None, "; ".join(problem.reason for problem in problems[:5]) or None
