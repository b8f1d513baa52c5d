"""What the service decides: candidates, the evidence for one of them, and the call that was answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.history import HistorySetting, Interaction
from app.domain.tools import Json, Tool, ToolCall


@dataclass(frozen=True)
class Hints:
    """The ranker's view of a candidate among the others, for the model to read; each from 0 to 9 (one digit)."""

    fit: int
    """9: fits the instruction best; less by the distance to the best."""
    liked: int
    """Rank of its nearness to what the user liked or lately used: 0 for the nearest; 9 for the tenth and all after it,
    and without history."""
    disliked: int
    """The same for what the user disliked or left behind."""
    overall: int = 0
    """How far it is behind the best, all things considered: 0 for the best. Only of `app.retrieval.matcher`."""


@dataclass(frozen=True)
class Candidate:
    """A tool the call may use. `score = relevance + weight * preference` (docs/ranking.md)."""

    tool: Tool
    score: float
    relevance: float
    """How well the tool's function fits the instruction; comparable within one request only."""
    preference: float = 0.0
    """What the history says of this tool: -1 (disliked) to 1 (liked); 0 without evidence."""
    hints: Hints | None = None
    probability: float | None = None
    """The model's, among the candidates; None where no model was asked or the engine does not tell."""


@dataclass(frozen=True)
class Evidence:
    """A past interaction that moved the choice. `effect` is signed: what it added to the chosen tool's preference."""

    interaction: Interaction
    effect: float
    reason: str
    """same_tool, same_provider or similar_attributes."""


class AnswerStyle(StrEnum):
    """How the model names the tool in its answer, `{"tool_name": ..., "parameters": {...}}`."""

    NAME = "name"
    """`"Weather.Foo.forecast"`: the paper's."""
    LABELLED_NAME = "labelled_name"
    """`"C Weather.Foo.forecast"`: the choice is one token, and under a schema the name after it is forced."""
    LABEL = "label"
    """`"C"`: nothing but the choice."""


class DecisionRule(StrEnum):
    """Who chooses the tool."""

    MODEL = "model"
    FUSED = "fused"
    """The model's probabilities and the ranker's scores together (`app.decision.fusion`)."""


class ParameterRule(StrEnum):
    """Who fills in the parameters of the tool that a model chose."""

    MODEL = "model"
    RULES = "rules"
    """The rules that read them from the instruction (`app.extraction`); the model where these do not find a
    required one."""
    CHECKED = "checked"
    """The model where the instruction bears out what it wrote (`app.decision.filling`), else as `rules`."""


@dataclass(frozen=True)
class AnswerProblem:
    """One thing wrong with a model's answer, as one of the paper's error types."""

    kind: str
    """invalid_format, tool_hallucination, parameter_name_mismatch, missing_value or wrong_value."""
    parameter: str | None
    reason: str


@dataclass(frozen=True)
class Decision:
    """One served call, as it was answered and as it is stored."""

    call_id: UUID
    user_id: str
    instruction: str
    history_setting: HistorySetting
    tool_call: ToolCall
    candidates: tuple[Candidate, ...]
    evidence: tuple[Evidence, ...]
    created_at: datetime
    degraded_reason: str | None = None
    decided_by: str = "ranker"
    """Who chose the tool: model, fused or ranker."""
    engine: str | None = None
    """vllm or local; None where no model was asked."""
    adapter: str | None = None
    """The adapter, or base model, that answered."""
    asked_adapter: str | None = None
    """The registered version that the user was given to, also where it did not answer; None: as the settings say."""
    raw_output: str | None = None
    """What the model wrote, also where it was no valid call."""
    problems: tuple[AnswerProblem, ...] = ()
    """What was wrong with the model's answer."""
    catalogue_revision: int = 0
    missing_parameters: tuple[str, ...] = ()
    """Required parameters whose value neither the instruction nor the document gives."""
    usage: Mapping[str, Json] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by stage."""
