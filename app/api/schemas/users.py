from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, Field

from app.api.schemas.common import Model, ToolCallModel
from app.domain import Interaction, Rating, ToolCall


def _utc(value: datetime) -> datetime:
    """The time in UTC; a time without a zone counts as UTC."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("this time cannot be converted to UTC; give a year from 1 to 9999") from None


class InteractionInput(Model):
    instruction: str = Field(min_length=1, max_length=100_000, examples=["Will it rain in Porto tomorrow?"])
    tool_call: ToolCallModel
    rating: Rating | None = None
    occurred_at: Annotated[datetime, AfterValidator(_utc)] | None = Field(
        None, description="Time as ISO 8601. Without a zone it is UTC; without a value it is now."
    )

    def to_domain(self, now: datetime) -> Interaction:
        return Interaction(
            instruction=self.instruction,
            tool_call=ToolCall(self.tool_call.tool_name, self.tool_call.parameters),
            occurred_at=self.occurred_at or now,
            rating=self.rating,
        )


class HistoryRequest(Model):
    # Any JSON is accepted here and checked item by item: one invalid interaction does not reject the others.
    interactions: list[Annotated[InteractionInput | Any, Field(union_mode="left_to_right")]] = Field(
        min_length=1, max_length=10_000
    )


class ItemReport(Model):
    index: int
    reason: str


class HistoryResponse(Model):
    imported: int
    updated: int = Field(
        description="Number of interactions that the history had already (same instruction, call and time). "
        "Their rating is updated."
    )
    rejected: list[ItemReport]
    warnings: list[ItemReport] = Field(
        description="Interactions that are stored although a value violates the tool's document."
    )


class InteractionModel(Model):
    id: int
    instruction: str
    tool_call: ToolCallModel
    rating: Rating | None
    occurred_at: datetime
    call_id: UUID | None = Field(description="Call that the interaction is the feedback on. Null if it was imported.")

    @classmethod
    def of(cls, interaction: Interaction) -> "InteractionModel":
        call = interaction.tool_call
        return cls(
            id=interaction.id,
            instruction=interaction.instruction,
            # Already validated when it was stored.
            tool_call=ToolCallModel.model_construct(tool_name=call.tool_name, parameters=dict(call.parameters)),
            rating=interaction.rating,
            occurred_at=interaction.occurred_at,
            call_id=interaction.call_id,
        )


class HistoryPage(Model):
    items: list[InteractionModel] = Field(description="Newest first.")
    next_cursor: str | None = Field(description="`cursor` of the next page. Null on the last page.")


class ErasureResponse(Model):
    user_id: str
    erased: dict[str, int] = Field(examples=[{"interactions": 12, "calls": 3, "feedback": 1, "idempotent_answers": 0}])
