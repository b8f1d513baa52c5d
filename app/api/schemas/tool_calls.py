from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from app.api.schemas.common import Model, ToolCallModel
from app.domain import DecisionRule, HistorySetting, Rating

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
        True,
        description="Whether the ranker may answer when no model can. If not: 503 with Retry-After where none answers, "
        "502 where its answer is not valid.",
    )
    decision: DecisionRule | None = Field(
        None,
        description="Who chooses the tool: the model, or it and the preference ranker together. Default: as set up.",
    )
    timeout_seconds: float | None = Field(
        None, gt=0, description="How long the model may take; no longer than set up. After that the ranker answers."
    )
    dry_run: bool = Field(False, description="Answer without storing anything; such a call takes no feedback.")

    @model_validator(mode="after")
    def _one_source_of_candidates(self) -> Self:
        if self.candidates is not None and self.tools is not None:
            raise ValueError("give either candidates (catalogue tools by name) or tools (your own), not both")
        return self


class CandidateModel(Model):
    tool_name: str
    score: float = Field(description="The ranker's: relevance + weight * preference; the order of the candidates.")
    relevance: float = Field(description="Fit to the instruction, 0 to 1; comparable within one answer.")
    preference: float = Field(description="What the history says, -1 to 1; 0 without evidence.")
    probability: float | None = Field(None, description="The model's, among the candidates, where the engine tells it.")


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


class PromptUsageModel(Model):
    """Tokens by part; they add up to `total`."""

    total: int
    budget: int
    template: int = Field(description="The model's chat template.")
    format: int = Field(description="The task and the form of the answer.")
    history: int
    candidates: int
    instruction: int
    history_kept: int = Field(description="Interactions in the prompt.")
    history_dropped: int = Field(description="Interactions that there was no room for.")
    documents: str = Field(description="How much of the candidates' documents there was room for.")


class UsageModel(Model):
    history_interactions: int = Field(description="Interactions that were taken into account.")
    retrieved_tools: int
    prompt_tokens: int = Field(0, description="Of all the engine was asked; `fused` may ask twice.")
    completion_tokens: int = 0
    cached_tokens: int = Field(0, description="Tokens of the prompt that the engine had kept from earlier calls.")
    candidates_dropped: int = Field(0, description="Candidates that the prompt had no room for, the least wanted.")
    prompt: PromptUsageModel | None = None


class AnswerProblemModel(Model):
    kind: str = Field(
        description="The paper's error types: invalid_format, tool_hallucination, parameter_name_mismatch, "
        "missing_value, wrong_value."
    )
    parameter: str | None
    reason: str


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
    decided_by: str = Field(description="Who chose the tool: model, fused or ranker.")
    engine: str | None = Field(description="The engine that was asked: vllm, local; null where there is none.")
    model: str | None = Field(description="The adapter, or base model, that answered.")
    problems: list[AnswerProblemModel] = Field(description="What was wrong with what the model wrote.")
    usage: UsageModel
    timings: dict[str, float] = Field(description="Milliseconds by stage.")
    degraded: bool = Field(description="True unless the answer is a language model's own, and valid.")
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
