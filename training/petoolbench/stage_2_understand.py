"""Stage 2: a tool-use example for each tool, then what it does and what it is like, told apart (section 3.2.1)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.domain import Json, Tool
from app.errors import SetupError
from training.common.stages import Progress, write_rows
from training.data.dataset import read_rows
from training.data.records import Understanding
from training.generators.writer import Writer, WriterRejected
from training.petoolbench.writing import write_all

UNDERSTOOD = "understood.jsonl"
REJECTED = "rejected.jsonl"


async def understand(tools: Sequence[Tool], writer: Writer, directory: Path, progress: Progress) -> Mapping[str, Json]:
    """Tools that the writer cannot write for are listed, counted and left out."""
    progress.start("Understanding tools", len(tools))

    async def one(tool: Tool) -> Understanding:
        example = await writer.example(tool, tool.name)
        return Understanding(tool.name, example, await writer.understand(tool, example))

    results = await write_all(tools, one, progress)
    understood = [result for result in results if isinstance(result, Understanding)]
    rejected = [
        (tool, result) for tool, result in zip(tools, results, strict=True) if isinstance(result, WriterRejected)
    ]
    if not understood:
        raise SetupError(f"{writer.name} could not write an example for any of {len(tools)} tools.")
    write_rows(directory / UNDERSTOOD, (each.to_json() for each in understood))
    write_rows(
        directory / REJECTED,
        ({"tool_name": tool.name, "kind": result.kind, "detail": result.detail} for tool, result in rejected),
    )
    return {
        "writer": writer.name,
        "tools": len(understood),
        "rejected": dict(sorted(Counter(result.kind for _, result in rejected).items())),
        "distinct_functionality": len({each.attributes.functionality for each in understood}),
        "distinct_non_functional": len({each.attributes.non_functional for each in understood}),
    }


def read_understood(path: Path) -> dict[str, Understanding]:
    """By tool name, in the tools' order."""
    return {each.tool_name: each for each in map(Understanding.from_json, read_rows(path))}
