from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from app.api.schemas.common import Model, ToolCallModel
from app.domain import HistorySetting, Rating

MAX_CANDIDATES = 50


class ToolCallRequest(Model):
    instruction: str = Field(
        description="What the user asks for, in their words.",
        examples=["What will the weather be in Lisbon for the next 3 days?"],
    )
    history_setting: HistorySetting = Field(
        HistorySetting.AUTO, description="How the user's history is to be read (docs/ranking.md)."
    )
    candidates: list[Annotated[str, Field(max_length=512)]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CANDIDATES,
        description="Names of catalogue tools; only these are considered.",
    )
    tools: list[dict[str, Any]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CANDIDATES,
        description="OpenAI tool definitions of the caller's own; only these are considered.",
    )
    n_candidates: int = Field(10, ge=1, le=MAX_CANDIDATES, description="Candidates to decide among (the paper's N).")
    allow_degraded: bool = Field(
        True, description="Whether the ranker may answer when no model can. If not: 503 with Retry-After."
    )
    dry_run: bool = Field(False, description="Answer without storing anything; such a call takes no feedback.")

    @model_validator(mode="after")
    def _one_source_of_candidates(self) -> Self:
        if self.candidates is not None and self.tools is not None:
            raise ValueError("give either candidates (catalogue tools by name) or tools (your own), not both")
        return self


class CandidateModel(Model):
    tool_name: str
    score: float = Field(description="relevance + weight * preference; the order of the candidates.")
    relevance: float = Field(description="Fit to the instruction, 0 to 1; comparable within one answer.")
    preference: float = Field(description="What the history says, -1 to 1; 0 without evidence.")
    probability: float | None = Field(None, description="The model's, where an engine gives it.")


class EvidenceModel(Model):
    interaction_id: int
    tool_name: str
    instruction: str
    rating: Rating | None
    occurred_at: datetime
    effect: float = Field(description="What it added to (or took from) the chosen tool's preference.")
    reason: str = Field(description="same_tool, same_provider or similar_attributes.")


class OpenAIFunction(Model):
    name: str = Field(description="OpenAI-safe alias of the tool's name; the name itself is in `tool_call`.")
    arguments: str = Field(description="JSON text.")


class OpenAIToolCall(Model):
    id: str
    type: str = "function"
    function: OpenAIFunction


class UsageModel(Model):
    history_interactions: int = Field(description="Interactions that were taken into account.")
    retrieved_tools: int
    prompt_tokens: int = 0
    completion_tokens: int = 0


class DegradedModel(Model):
    reason: str = Field(examples=["no_engine"])
    detail: str


class ToolCallResponse(Model):
    call_id: UUID = Field(description="What feedback refers to.")
    user_id: str
    tool_call: ToolCallModel
    tool_calls: list[OpenAIToolCall] = Field(description="The same call in OpenAI's form.")
    missing_parameters: list[str] = Field(
        description="Required parameters for which neither instruction nor document gives a value."
    )
    candidates: list[CandidateModel] = Field(description="Best first.")
    evidence: list[EvidenceModel] = Field(description="The interactions that moved the choice most.")
    history_setting: HistorySetting = Field(description="The one applied; never `auto`.")
    usage: UsageModel
    timings: dict[str, float] = Field(description="Milliseconds by stage.")
    degraded: bool = Field(description="True if no language model made this answer.")
    degraded_reason: DegradedModel | None
    dry_run: bool
    created_at: datetime


class FeedbackRequest(Model):
    call_id: UUID
    rating: Rating
    comment: str | None = Field(None, max_length=4000)
    corrected_tool_call: ToolCallModel | None = Field(None, description="The call that would have been right.")


class FeedbackResponse(Model):
    call_id: UUID
    user_id: str
    rating: Rating
