from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field

from app.api.schemas.common import Model, ToolCallModel
from app.domain import Interaction, Rating, ToolCall


def _utc(value: datetime) -> datetime:
    """A time without a zone is UTC."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("not a time that can be told in UTC") from None


class InteractionInput(Model):
    instruction: str = Field(min_length=1, max_length=100_000, examples=["Will it rain in Porto tomorrow?"])
    tool_call: ToolCallModel
    rating: Rating | None = None
    occurred_at: Annotated[datetime, AfterValidator(_utc)] | None = Field(
        None, description="ISO 8601; without a zone UTC; now if left out."
    )

    def to_domain(self, now: datetime) -> Interaction:
        return Interaction(
            instruction=self.instruction,
            tool_call=ToolCall(self.tool_call.tool_name, self.tool_call.parameters),
            occurred_at=self.occurred_at or now,
            rating=self.rating,
        )


class HistoryRequest(Model):
    # Anything is let through to be judged by item: one bad interaction does not refuse the others.
    interactions: list[Annotated[InteractionInput | Any, Field(union_mode="left_to_right")]] = Field(
        min_length=1, max_length=10_000
    )


class ItemReport(Model):
    index: int
    reason: str


class HistoryResponse(Model):
    imported: int
    updated: int = Field(
        description="Already in the history (same instruction, call and time): the rating was updated."
    )
    rejected: list[ItemReport]
    warnings: list[ItemReport] = Field(
        description="Stored all the same: calls with a value that the tool's document would not allow."
    )


class InteractionModel(Model):
    id: int
    instruction: str
    tool_call: ToolCallModel
    rating: Rating | None
    occurred_at: datetime
    call_id: UUID | None = Field(description="The served call it comes from; null if it was imported.")

    @classmethod
    def of(cls, interaction: Interaction) -> "InteractionModel":
        call = interaction.tool_call
        return cls(
            id=interaction.id,
            instruction=interaction.instruction,
            # Stored ones were validated when they came.
            tool_call=ToolCallModel.model_construct(tool_name=call.tool_name, parameters=dict(call.parameters)),
            rating=interaction.rating,
            occurred_at=interaction.occurred_at,
            call_id=interaction.call_id,
        )


class HistoryPage(Model):
    items: list[InteractionModel] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="For the next page; null on the last.")


class ErasureResponse(Model):
    user_id: str
    erased: dict[str, int] = Field(examples=[{"interactions": 12, "calls": 3, "feedback": 1, "idempotent_answers": 0}])
