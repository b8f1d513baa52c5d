from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import Field, model_validator

from app.api.schemas.common import Model, ToolCallModel
from app.domain import DecisionRule, HistorySetting, Rating

MAX_CANDIDATES = 50


class ToolCallRequest(Model):
    instruction: str = Field(
        description="Request of the user, in their own words.",
        examples=["What will the weather be in Lisbon for the next 3 days?"],
    )
    history_setting: HistorySetting = Field(
        HistorySetting.AUTO,
        description="How to read the user's history (docs/ranking.md). `auto` chooses by what it holds.",
    )
    candidates: list[Annotated[str, Field(max_length=512)]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CANDIDATES,
        description="Names of the catalogue's tools to choose among. Without it, tools are retrieved.",
    )
    tools: list[dict[str, Any]] | None = Field(
        None,
        min_length=1,
        max_length=MAX_CANDIDATES,
        description="OpenAI tool definitions of the caller to choose among, in place of the catalogue's.",
    )
    n_candidates: int = Field(10, ge=1, le=MAX_CANDIDATES, description="Number of candidates to choose among.")
    allow_degraded: bool = Field(
        True,
        description="Whether the preference ranker answers if the model cannot. If false, the status is then 503 with "
        "Retry-After, or 502 if the model's answer is not valid.",
    )
    decision: DecisionRule | None = Field(
        None,
        description="Who chooses the tool: `model`, or `fused`, the model and the preference ranker together. "
        "The default is the service's setting.",
    )
    timeout_seconds: float | None = Field(
        None,
        gt=0,
        description="Maximum seconds to wait for the model; the service's setting limits it. After that the preference "
        "ranker answers.",
    )
    dry_run: bool = Field(False, description="Answer without storing the call. Feedback on it is not possible.")

    @model_validator(mode="after")
    def _one_source_of_candidates(self) -> Self:
        if self.candidates is not None and self.tools is not None:
            raise ValueError("give either candidates (catalogue tools by name) or tools (your own), not both")
        return self


class CandidateModel(Model):
    tool_name: str
    score: float = Field(description="relevance + weight * preference. Candidates are sorted by it.")
    relevance: float = Field(
        description="How well the tool fits the instruction, 0 to 1. Comparable within one response only."
    )
    preference: float = Field(description="How much the user's history favours the tool, -1 to 1. 0 without evidence.")
    probability: float | None = Field(
        None,
        description="The model's probability of this candidate. Null if no model was asked or the engine gives none.",
    )


class EvidenceModel(Model):
    interaction_id: int
    tool_name: str
    instruction: str
    rating: Rating | None
    occurred_at: datetime
    effect: float = Field(description="Amount that it added to the chosen tool's preference; negative if it took away.")
    reason: str = Field(description="Why it counts: same_tool, same_provider or similar_attributes.")


class OpenAIFunction(Model):
    name: str = Field(description="The tool's name in characters that OpenAI allows. The full name is in `tool_call`.")
    arguments: str = Field(description="Parameters of the call, as JSON text.")


class OpenAIToolCall(Model):
    id: str
    type: str = "function"
    function: OpenAIFunction


class PromptUsageModel(Model):
    """Tokens of the prompt by part. The five parts add up to `total`, which is at most `budget`."""

    total: int
    budget: int = Field(description="Maximum tokens of a prompt.")
    template: int = Field(description="Tokens of the model's chat template.")
    format: int = Field(description="Tokens of the task, the answer's format and the headings.")
    history: int
    candidates: int
    instruction: int
    history_kept: int = Field(description="Number of interactions in the prompt.")
    history_dropped: int = Field(description="Number of interactions left out for lack of room.")
    documents: str = Field(description="Detail of the candidates' documents in the prompt, from `full` to `names`.")


class UsageModel(Model):
    history_interactions: int = Field(description="Number of interactions taken into account.")
    retrieved_tools: int
    prompt_tokens: int = Field(
        0, description="Tokens of all prompts sent for this call; a fused decision may send two."
    )
    completion_tokens: int = 0
    cached_tokens: int = Field(0, description="Tokens of the prompts that the engine took from its cache.")
    candidates_dropped: int = Field(
        0, description="Number of candidates left out of the prompt for lack of room, worst first."
    )
    prompt: PromptUsageModel | None = None


class AnswerProblemModel(Model):
    kind: str = Field(
        description="Type of the error: invalid_format, tool_hallucination, parameter_name_mismatch, "
        "missing_value, wrong_value."
    )
    parameter: str | None
    reason: str


class DegradedModel(Model):
    reason: str = Field(examples=["no_engine"])
    detail: str


class ToolCallResponse(Model):
    call_id: UUID = Field(description="Id of this call, which feedback refers to.")
    user_id: str
    tool_call: ToolCallModel
    tool_calls: list[OpenAIToolCall] = Field(description="The same call in OpenAI's form.")
    missing_parameters: list[str] = Field(
        description="Required parameters whose value neither the instruction nor the document gives."
    )
    candidates: list[CandidateModel] = Field(description="Best first.")
    evidence: list[EvidenceModel] = Field(description="Past interactions that influenced the choice most.")
    history_setting: HistorySetting = Field(description="The setting that was applied; never `auto`.")
    decided_by: str = Field(description="Who chose the tool: model, fused, or ranker (the preference ranker alone).")
    engine: str | None = Field(description="Engine that was asked: vllm or local. Null if no model was asked.")
    model: str | None = Field(description="Adapter or base model that answered.")
    problems: list[AnswerProblemModel] = Field(description="Errors in the model's answer.")
    usage: UsageModel
    timings: dict[str, float] = Field(description="Milliseconds that each stage took.")
    degraded: bool = Field(description="False if the call is the language model's own valid answer, else true.")
    degraded_reason: DegradedModel | None
    dry_run: bool
    created_at: datetime


class FeedbackRequest(Model):
    call_id: UUID
    rating: Rating
    comment: str | None = Field(None, max_length=4000)
    corrected_tool_call: ToolCallModel | None = Field(None, description="Call that the user wanted instead.")


class FeedbackResponse(Model):
    call_id: UUID
    user_id: str
    rating: Rating
