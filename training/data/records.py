"""What the stages hand on: plain frozen values, each with its JSON form. Names are the paper's (section 3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.domain import HistorySetting, Interaction, Json, Rating, ToolCall


class Part(StrEnum):
    TRAIN = "train"
    TEST = "test"
    UNSEEN = "unseen"
    """Test instances whose tools, in whatever role, and groups never occur in `train`."""


@dataclass(frozen=True)
class ToolUse:
    """An instruction and the parameters of the call that answers it: a tool-use example, or what a writer made up."""

    instruction: str
    parameters: Mapping[str, Json]


@dataclass(frozen=True)
class Attributes:
    """A tool's two descriptions (paper, section 3.2.1): what it does, and what it is like apart from that."""

    functionality: str
    non_functional: str


@dataclass(frozen=True)
class Understanding:
    tool_name: str
    example: ToolUse
    attributes: Attributes

    def to_json(self) -> dict[str, Json]:
        return {
            "tool_name": self.tool_name,
            "example": {"instruction": self.example.instruction, "parameters": dict(self.example.parameters)},
            "functionality": self.attributes.functionality,
            "non_functional": self.attributes.non_functional,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Json]) -> "Understanding":
        """KeyError or TypeError for a row that `to_json` did not write."""
        example = ToolUse(row["example"]["instruction"], row["example"]["parameters"])
        return cls(row["tool_name"], example, Attributes(row["functionality"], row["non_functional"]))


@dataclass(frozen=True)
class Instance:
    """One instruction of one user, with the history, the candidates and the right call."""

    id: str
    user_id: str
    setting: HistorySetting
    part: Part
    history: tuple[Interaction, ...]
    """Oldest first. Ratings only in `rating_integrated`."""
    instruction: str
    candidates: tuple[str, ...]
    """Tool names in prompt order; the answer's is one of them."""
    answer: ToolCall
    same_function: tuple[str, ...]
    """Candidates that could do the job too, but that the user does not prefer: the rest of the answer's group."""
    asked_at: datetime

    def to_json(self) -> dict[str, Json]:
        return {
            "id": self.id,
            "user_id": self.user_id,
            "setting": self.setting.value,
            "part": self.part.value,
            "history": [interaction_to_json(each) for each in self.history],
            "instruction": self.instruction,
            "candidates": list(self.candidates),
            "answer": call_to_json(self.answer),
            "same_function": list(self.same_function),
            "asked_at": self.asked_at.isoformat(),
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Json]) -> "Instance":
        """KeyError, TypeError or ValueError for a row that `to_json` did not write."""
        return cls(
            id=row["id"],
            user_id=row["user_id"],
            setting=HistorySetting(row["setting"]),
            part=Part(row["part"]),
            history=tuple(interaction_from_json(each) for each in row["history"]),
            instruction=row["instruction"],
            candidates=tuple(row["candidates"]),
            answer=call_from_json(row["answer"]),
            same_function=tuple(row["same_function"]),
            asked_at=datetime.fromisoformat(row["asked_at"]),
        )


def call_to_json(call: ToolCall) -> dict[str, Json]:
    return {"tool_name": call.tool_name, "parameters": dict(call.parameters)}


def call_from_json(row: Mapping[str, Json]) -> ToolCall:
    return ToolCall(row["tool_name"], row["parameters"])


def interaction_to_json(interaction: Interaction) -> dict[str, Json]:
    return {
        "instruction": interaction.instruction,
        "tool_call": call_to_json(interaction.tool_call),
        "rating": interaction.rating.value if interaction.rating is not None else None,
        "occurred_at": interaction.occurred_at.isoformat(),
    }


def interaction_from_json(row: Mapping[str, Json]) -> Interaction:
    return Interaction(
        instruction=row["instruction"],
        tool_call=call_from_json(row["tool_call"]),
        occurred_at=datetime.fromisoformat(row["occurred_at"]),
        rating=Rating(row["rating"]) if row["rating"] is not None else None,
    )
