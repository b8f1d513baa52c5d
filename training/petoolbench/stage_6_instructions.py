"""Stage 6: what each user asks for: an instruction for a preferred tool that the history does not show (3.2.3)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from app.domain import Interaction, Json, Tool, ToolCall
from training.common.stages import Progress, write_rows
from training.data.dataset import read_rows
from training.data.records import ToolUse, Understanding, call_from_json
from training.generators.writer import Writer, WriterRejected
from training.petoolbench.leaks import leak
from training.petoolbench.stage_3_group import Group
from training.petoolbench.stage_4_preferences import User
from training.petoolbench.writing import write_all

INSTRUCTIONS = "instructions.jsonl"
NAME_LEAK, DUPLICATE = "name_leak", "duplicate"


@dataclass(frozen=True)
class Asked:
    """One instruction of one user."""

    user_id: str
    number: int
    instruction: str
    answer: ToolCall


@dataclass(frozen=True)
class _Wanted:
    user: User
    number: int
    tool: Tool
    group: Group

    @property
    def key(self) -> str:
        return f"{self.user.id}/{self.number}"


@dataclass(frozen=True)
class Material:
    tools: Mapping[str, Tool]
    understood: Mapping[str, Understanding]
    groups: Mapping[str, Group]
    """By the name of each of their tools."""

    def functionalities(self, group: Group) -> list[str]:
        return [self.understood[name].attributes.functionality for name in group.tools]

    def leak(self, instruction: str, tool: str) -> str | None:
        group = self.groups[tool]
        return leak(instruction, [self.tools[name] for name in group.tools], self.functionalities(group))


async def write_instructions(
    users: Sequence[User],
    histories: Mapping[str, Sequence[Interaction]],
    material: Material,
    writer: Writer,
    attempts: int,
    directory: Path,
    progress: Progress,
) -> Mapping[str, Json]:
    """A row an instruction. One that gives its tool away, or that stands there already, is asked for again."""
    left = [
        _Wanted(user, number, material.tools[target], material.groups[target])
        for user in users
        if user.id in histories
        for number, target in enumerate(user.targets)
    ]
    progress.start("Writing instructions", len(left))
    total = len(left)
    written: dict[str, Asked] = {}
    texts: set[str] = set()
    refused: Counter[str] = Counter()
    given_up: Counter[str] = Counter()
    for attempt in range(attempts):

        async def one(wanted: _Wanted, attempt: int = attempt) -> ToolUse:
            attributes = [material.understood[name].attributes for name in wanted.group.tools]
            return await writer.instruction(histories[wanted.user.id], wanted.tool, attributes, wanted.key, attempt)

        results = await write_all(left, one, progress if attempt == 0 else Progress())
        again = []
        given_up.clear()
        for wanted, result in zip(left, results, strict=True):
            fault = _fault(wanted, result, material, texts)
            if fault is None:
                assert isinstance(result, ToolUse)
                texts.add(_folded(result.instruction))
                answer = ToolCall(wanted.tool.name, result.parameters)
                written[wanted.key] = Asked(wanted.user.id, wanted.number, result.instruction, answer)
            else:
                refused[fault] += attempt + 1 < attempts
                given_up[fault] += 1
                again.append(wanted)
        left = again
    write_rows(directory / INSTRUCTIONS, (_row(written[key]) for key in sorted(written)))
    return {
        "wanted": total,
        "instructions": len(written),
        "asked_again": dict(sorted((+refused).items())),
        "given_up": dict(sorted(given_up.items())),
    }


def _fault(wanted: _Wanted, result: ToolUse | WriterRejected, material: Material, texts: set[str]) -> str | None:
    if isinstance(result, WriterRejected):
        return result.kind
    if not result.instruction.strip():
        return "blank"
    if material.leak(result.instruction, wanted.tool.name) is not None:
        return NAME_LEAK
    return DUPLICATE if _folded(result.instruction) in texts else None


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _row(asked: Asked) -> dict[str, Json]:
    return {
        "user_id": asked.user_id,
        "number": asked.number,
        "instruction": asked.instruction,
        "answer": {"tool_name": asked.answer.tool_name, "parameters": dict(asked.answer.parameters)},
    }


def read_instructions(path: Path) -> list[Asked]:
    return [
        Asked(row["user_id"], row["number"], row["instruction"], call_from_json(row["answer"]))
        for row in read_rows(path)
    ]
