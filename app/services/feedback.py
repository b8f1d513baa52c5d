"""Use case feedback: a rating or correction of a call is stored, and becomes part of the user's history."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from app.answers.validation import ProblemKind, parameter_problems
from app.db.database import Database, UnitOfWork
from app.db.repositories.decisions import StoredDecision
from app.domain import Interaction, Rating, Tool, ToolCall
from app.errors import InvalidRequest, NotFound, UnknownTools


@dataclass(frozen=True)
class FeedbackReceipt:
    call_id: UUID
    user_id: str
    rating: Rating


class FeedbackService:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, call_id: UUID, rating: Rating, *, comment: str | None, corrected: ToolCall | None
    ) -> FeedbackReceipt:
        """Store feedback on a call, replacing earlier feedback on it. A corrected call counts as liked.

        Raises `NotFound` for an unknown call, `UnknownTools` or `InvalidRequest` for a correction that is not valid.
        """
        async with self._database.transaction() as work:
            decision = await work.decisions.find(call_id)
            # This locks the user's row, so concurrent feedback is stored one after the other.
            if decision is None or not await work.users.change_history(decision.user_row):
                raise NotFound(f"There is no call {call_id}; feedback takes the call_id of a tool call's answer.")
            interactions = [_rated_interaction(decision, rating)]
            if corrected is not None:
                interactions.append(await _corrected_interaction(work, decision, corrected))
            await work.feedback.put(call_id, rating, comment, corrected)
            await work.interactions.replace_of_call(decision.user_row, call_id, interactions)
        return FeedbackReceipt(call_id, decision.user_id, rating)


def _rated_interaction(decision: StoredDecision, rating: Rating) -> Interaction:
    return Interaction(
        instruction=decision.instruction,
        tool_call=decision.tool_call,
        occurred_at=decision.created_at,
        rating=rating,
        call_id=decision.call_id,
        tool=_inline_tool(decision, decision.tool_call.tool_name),
    )


async def _corrected_interaction(work: UnitOfWork, decision: StoredDecision, corrected: ToolCall) -> Interaction:
    name = corrected.tool_name
    inline = _inline_tool(decision, name)
    tool = inline or (await work.tools.known([name])).get(name)
    if tool is None:
        raise UnknownTools(
            f"corrected_tool_call names {name!r}, which is neither in the catalogue nor among the call's own tools.",
            unknown=[name],
        )
    problems = parameter_problems(tool, corrected.parameters)
    foreign = [problem.reason for problem in problems if problem.kind is ProblemKind.NAME_MISMATCH]
    if foreign:
        raise InvalidRequest("corrected_tool_call: " + "; ".join(foreign[:5]))
    return Interaction(
        instruction=decision.instruction,
        tool_call=corrected,
        # A microsecond after the call that it corrects, so that the order is defined.
        occurred_at=decision.created_at + timedelta(microseconds=1),
        rating=Rating.LIKED,
        call_id=decision.call_id,
        tool=inline,
    )


def _inline_tool(decision: StoredDecision, name: str) -> Tool | None:
    return next((tool for tool in decision.inline_tools if tool.name == name), None)
