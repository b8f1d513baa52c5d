"""Decisions: the candidates, the evidence for the chosen one, and the call that was answered."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from uuid import UUID, uuid4

from app.domain.history import HistorySetting, Interaction
from app.domain.tools import Json, Tool, ToolCall
from app.errors import PEToolError


@dataclass(frozen=True)
class Hints:
    """Judgement of a candidate among the others, which the prompt shows to the model. Each hint is 0 to 9."""

    fit: int
    """9 for the candidate that fits the instruction best; lower by the distance to it."""
    liked: int
    """Rank of its nearness to what the user liked or lately used: 0 for the nearest; 9 for the tenth and all after it,
    and without history."""
    disliked: int
    """As `liked`, for what the user disliked or no longer uses."""
    overall: int = 0
    """0 for the best candidate by fit and preference together; higher by the distance. Only the matcher sets it."""


@dataclass(frozen=True)
class Candidate:
    """A tool to choose among. Its score is `relevance + weight * preference` (docs/ranking.md)."""

    tool: Tool
    score: float
    relevance: float
    """How well the tool fits the instruction. Comparable within one request only."""
    preference: float = 0.0
    """How much the history favours the tool, -1 (disliked) to 1 (liked). 0 without evidence."""
    hints: Hints | None = None
    probability: float | None = None
    """The model's probability of this candidate. None if no model was asked or the engine gives none."""


@dataclass(frozen=True)
class Evidence:
    """A past interaction that influenced the choice: `effect` was added to the chosen tool's preference."""

    interaction: Interaction
    effect: float
    reason: str
    """Why it counts: same_tool, same_provider or similar_attributes."""


class AnswerStyle(StrEnum):
    """How the model names the tool in its answer, `{"tool_name": ..., "parameters": {...}}`."""

    NAME = "name"
    """`"Weather.Foo.forecast"`, as in the paper."""
    LABELLED_NAME = "labelled_name"
    """`"C Weather.Foo.forecast"`: one token chooses, and a schema then allows only the name that belongs to it."""
    LABEL = "label"
    """`"C"`: the label alone."""


class DecisionRule(StrEnum):
    """Who chooses the tool."""

    MODEL = "model"
    FUSED = "fused"
    """The model's probabilities and the ranker's scores together (`app.decision.choice`)."""


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
    """One call, as it was decided, answered and stored."""

    instruction: str
    history_setting: HistorySetting
    """The one applied, never `auto`."""
    tool_call: ToolCall
    candidates: tuple[Candidate, ...]
    """Best first by the preference ranker."""
    evidence: tuple[Evidence, ...]
    degraded_reason: str | None = None
    """Why it is not a language model's own valid call (`app.decision.fallback.DEGRADED`); `None` if it is."""
    failure: PEToolError | None = field(default=None, compare=False)
    """What went wrong with the model, for a caller who takes no degraded answer; not stored."""
    decided_by: str = "ranker"
    """Who chose the tool: model, fused or ranker."""
    engine: str | None = None
    """Engine that was asked: vllm or local. `None` if no model was asked."""
    adapter: str | None = None
    """Adapter, or base model, that answered, in the engine's words."""
    asked_adapter: str | None = None
    """Adapter version assigned to this user, even if it gave no answer. `None` means the configured model."""
    raw_output: str | None = None
    """Text that the model wrote, even if it was no valid call."""
    problems: tuple[AnswerProblem, ...] = ()
    """What was wrong with the model's answer."""
    missing_parameters: tuple[str, ...] = ()
    """Required parameters whose value neither the instruction nor the document gives."""
    usage: Mapping[str, Json] = field(default_factory=dict)
    """Counts of tokens, interactions and tools."""
    timings: Mapping[str, float] = field(default_factory=dict)
    """Milliseconds by stage."""
    call_id: UUID = field(default_factory=uuid4)
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    user_id: str = ""
    """Id of the user, as the caller names them; empty in an evaluation, which has no users."""
    catalogue_revision: int = 0
