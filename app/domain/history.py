"""What users did before: the interactions that a choice learns from (paper, section 3.1)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.tools import Tool, ToolCall


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
