"""Values that all packages share: tools, calls, users' interactions, decisions.

They are frozen and do no input or output; their names follow the paper (section 3.1). The values of LoRA adapters are
in `app.domain.adapters`.
"""

from app.domain.access import Scope
from app.domain.decisions import (
    AnswerProblem,
    AnswerStyle,
    Candidate,
    Decision,
    DecisionRule,
    Evidence,
    Hints,
    ParameterRule,
)
from app.domain.history import HistorySetting, Interaction, Rating
from app.domain.tools import Json, Parameter, Tool, ToolCall, ToolSource

__all__ = [
    "AnswerProblem",
    "AnswerStyle",
    "Candidate",
    "Decision",
    "DecisionRule",
    "Evidence",
    "Hints",
    "HistorySetting",
    "Interaction",
    "Json",
    "Parameter",
    "ParameterRule",
    "Rating",
    "Scope",
    "Tool",
    "ToolCall",
    "ToolSource",
]
