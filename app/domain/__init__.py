"""What the service talks about: tools, users' interactions, decisions.

Plain frozen values without input or output; the names are the paper's (section 3.1). The values of LoRA adapters are in
`app.domain.adapters`.
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
