"""Users' past interactions, which decisions learn from (paper, section 3.1)."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.tools import Tool, ToolCall


class HistorySetting(StrEnum):
    """How to read a user's history: three settings of the paper (section 3.2.3), and two more."""

    PREFERRED_ONLY = "preferred_only"
    """Each interaction is with a tool that the user prefers."""
    RATING_INTEGRATED = "rating_integrated"
    """Each interaction is rated liked or disliked."""
    CHRONOLOGICAL = "chronological"
    """Recent tools are preferred over earlier ones."""
    NONE = "none"
    """The history is not used."""
    AUTO = "auto"
    """One of the others, chosen by what the history holds."""


class Rating(StrEnum):
    """A user's verdict on a call."""

    LIKED = "liked"
    DISLIKED = "disliked"


@dataclass(frozen=True)
class Interaction:
    """A past instruction, the call that answered it, its time in UTC, and its rating if there is one."""

    instruction: str
    tool_call: ToolCall
    occurred_at: datetime
    rating: Rating | None = None
    id: int = 0
    """Id in the database; 0 until it is stored."""
    call_id: UUID | None = None
    """Id of the decision that it is feedback on. None if it was imported."""
    tool: Tool | None = None
    """The tool's document where the catalogue does not have it (a tool that came with a request)."""
