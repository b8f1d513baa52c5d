"""What the service talks about: plain frozen values without I/O. The names are the paper's (section 3.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeAlias
from uuid import UUID

Json: TypeAlias = Any
"""A JSON value: None, bool, int, float, str, list of Json, or dict of str to Json."""


class HistorySetting(StrEnum):
    """How a user's history is to be read (paper, section 3.2.3), plus two of our own."""

    PREFERRED_ONLY = "preferred_only"
    """Every interaction is with a tool that the user prefers."""
    RATING_INTEGRATED = "rating_integrated"
    """Interactions are liked or disliked."""
    CHRONOLOGICAL = "chronological"
    """In time order: the recent is preferred over the earlier."""
    NONE = "none"
    """No history: the answer is not personal."""
    AUTO = "auto"
    """Chosen from what the history holds."""


class Rating(StrEnum):
    LIKED = "liked"
    DISLIKED = "disliked"


class ToolSource(StrEnum):
    """The format a tool document came in."""

    RAPIDAPI = "rapidapi"
    OPENAI = "openai"
    OPENAPI = "openapi"


@dataclass(frozen=True)
class Parameter:
    """One input of a tool. `schema` is the JSON Schema of its value (type, enum, format, items, bounds)."""

    name: str
    schema: Mapping[str, Json]
    required: bool = False
    description: str = ""
    default: Json = None
    """The document's default or example, already of the schema's type; None where it has none."""


@dataclass(frozen=True)
class Tool:
    """One callable API: `d(t)` of the paper.

    `name` is unique and kept as it came: `<category>.<provider>.<api>` for RapidAPI and OpenAPI documents, the
    function's own name for OpenAI tools. It is data: spaces, slashes, dots inside the parts, any Unicode.
    """

    name: str
    category: str
    provider: str
    """Who offers it: RapidAPI's tool name, OpenAPI's title; empty for OpenAI tools."""
    api: str
    """What it does in the provider's words: RapidAPI's api name, OpenAPI's operation."""
    description: str
    parameters: tuple[Parameter, ...] = ()
    response_schema: Json = None
    source: ToolSource = ToolSource.RAPIDAPI

    @cached_property
    def parameters_schema(self) -> dict[str, Json]:
        """JSON Schema of the whole parameters object, as in an OpenAI tool definition."""
        properties: dict[str, Json] = {}
        for parameter in self.parameters:
            schema = dict(parameter.schema)
            if parameter.description:
                schema["description"] = parameter.description
            if parameter.default is not None:
                schema["default"] = parameter.default
            properties[parameter.name] = schema
        return {
            "type": "object",
            "properties": properties,
            "required": [parameter.name for parameter in self.parameters if parameter.required],
            "additionalProperties": False,
        }


@dataclass(frozen=True)
class ToolCall:
    """`c = (t, p)`: a tool and its parameters."""

    tool_name: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True)
class Interaction:
    """`h = (q, c)`: a past instruction and the call that answered it, perhaps rated, always dated (UTC)."""

    instruction: str
    tool_call: ToolCall
    occurred_at: datetime
    rating: Rating | None = None
    id: int = 0
    """0 until stored."""
    call_id: UUID | None = None
    """The served call it comes from, if it was not imported."""
    tool: Tool | None = None
    """The tool's document where the catalogue does not have it (a tool that came inline with a call)."""


class Scope(StrEnum):
    """Of an API key."""

    CLIENT = "client"
    """Calls, feedback, users' histories, reading the catalogue."""
    ADMIN = "admin"
    """All of that, and changing the catalogue and the adapters."""


class AnswerStyle(StrEnum):
    """How the model names the tool in its answer, `{"tool_name": ..., "parameters": {...}}`."""

    NAME = "name"
    """`"Weather.Foo.forecast"`: the paper's."""
    LABELLED_NAME = "labelled_name"
    """`"C Weather.Foo.forecast"`: the choice is one token, and under a schema the name after it is forced."""
    LABEL = "label"
    """`"C"`: nothing but the choice."""


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


class DecisionRule(StrEnum):
    """Who chooses the tool."""

    MODEL = "model"
    FUSED = "fused"
    """The model's probabilities and the ranker's scores together (`app.calling.fusion`)."""


class ParameterRule(StrEnum):
    """Who fills in the parameters of the tool that a model chose."""

    MODEL = "model"
    RULES = "rules"
    """The rules that read them from the instruction (`app.calling.extraction`); the model where these do not find a
    required one."""
    CHECKED = "checked"
    """The model where the instruction bears out what it wrote (`app.calling.filling`), else as `rules`."""


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
    """vllm, local or scripted; None where no model was asked."""
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
