"""What the stages ask of whoever writes the text; `template` and `openai` are the two there are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from app.domain import HistorySetting, Interaction, Rating, Tool
from training.data.records import Attributes, ToolUse


class WriterRejected(Exception):
    """The writer could not give a valid text for this one item. `kind` is counted in the stage's report."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"{kind}: {detail}")
        self.kind = kind
        """invalid_json, invalid_parameters, wrong_tool, name_leak, empty_history or blank."""
        self.detail = detail


@dataclass(frozen=True)
class PlannedInteraction:
    """A history's entry before it has text: which tool, and what the user thought of it."""

    tool: Tool
    example: ToolUse
    attributes: Attributes
    rating: Rating | None


class Writer(Protocol):
    """`key` names the item: the same key gives the same text. Parameters that come back are valid for their tool
    (`app.answers.validation`). Each raises `WriterRejected` for an item it cannot write; anything else ends the run.
    """

    name: str
    """Kind and model: text of another writer is not the same text, so it is part of the stages' fingerprints."""

    async def example(self, tool: Tool, key: str) -> ToolUse:
        """A tool-use example (paper, figure 8)."""
        ...

    async def understand(self, tool: Tool, example: ToolUse) -> Attributes:
        """Functionality and non-functional attributes, told apart (paper, figure 9)."""
        ...

    async def history(
        self, setting: HistorySetting, planned: Sequence[PlannedInteraction], key: str
    ) -> Sequence[ToolUse]:
        """Text for each entry, in their order, oldest first (paper, figures 10 to 12)."""
        ...

    async def instruction(
        self, history: Sequence[Interaction], tool: Tool, group: Sequence[Attributes], key: str, attempt: int
    ) -> ToolUse:
        """An instruction that the tool can fulfil (paper, figure 13), without its name; whether it gives the tool
        away is for the stage to check, which asks again with the next `attempt`. `group`: the attributes of all tools
        of the tool's group, in the group's order; the wording may come from any of them."""
        ...
