"""What a prompt costs: `python -m performance.prompt` (make bench-prompt).

Ten candidates and histories of 0 to 2,000 interactions, for every format: milliseconds of `PromptBuilder.build` with
nothing cached, with the documents cached but not the history (a user's first call), and with everything cached (the
next one); and the tokens by part. The tokenizer is a byte-level BPE trained here on the documents themselves, so that
token counts are near those of a model of that size of vocabulary. Then what the levels of detail cost in tokens.

Documents and queries are the real ones that `PETOOL_SHARED` names (../shared by default), else the demo catalogue.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from app.catalogue.parse import parse
from app.domain import Candidate, Hints, HistorySetting, Interaction, Rating, Tool, ToolCall, ToolSource
from app.model_files.text_files import ModelFiles
from app.prompting.builder import PromptBuilder
from app.prompting.documents import Detail, DocumentWriter
from app.prompting.formats import FORMATS, format_named
from app.prompting.prompt import Prompt, prompt_order
from app.prompting.text import SegmentEncoder
from app.prompting.tokenizer import PromptTokenizer
from performance.service import documents_and_instructions
from tests.support.tiny_model import trained_tokenizer
from training.pretraining.tokenizer import SPECIAL, TEMPLATE

VOCABULARY = 16_000
SIZES = (0, 20, 200, 2_000)
WINDOWS = 12
"""Different sets of ten candidates."""
SETTING = HistorySetting.RATING_INTEGRATED
START = datetime(2026, 1, 1, tzinfo=UTC)


def tokenizer(texts: list[str]) -> PromptTokenizer:
    trained = trained_tokenizer(texts, VOCABULARY)
    return PromptTokenizer(ModelFiles(json.loads(trained.to_str()), TEMPLATE, {"bos_token": SPECIAL[0]}))


def history(tools: list[Tool], instructions: list[str], size: int) -> tuple[Interaction, ...]:
    """Interactions with tools from all over the catalogue, parameters as the documents' defaults have them."""
    return tuple(
        Interaction(
            instructions[number % len(instructions)],
            ToolCall(of.name, {each.name: each.default for each in of.parameters if each.default is not None}),
            START + timedelta(hours=number),
            Rating.DISLIKED if number % 4 == 0 else Rating.LIKED,
        )
        for number in range(size)
        for of in [tools[number * 37 % len(tools)]]
    )


def windows(tools: list[Tool]) -> list[list[Candidate]]:
    step = len(tools) // WINDOWS
    return [
        prompt_order(
            [Candidate(of, 0.5, 0.5, hints=Hints(9 - n, n, 9 - n)) for n, of in enumerate(tools[start : start + 10])]
        )
        for start in range(0, WINDOWS * step, step)
    ]


def timed(build: Callable[[], Prompt]) -> tuple[float, Prompt]:
    started = time.perf_counter()
    prompt = build()
    return (time.perf_counter() - started) * 1_000, prompt


def measure(
    encoder: PromptTokenizer, name: str, interactions: tuple[Interaction, ...], sets: list[list[Candidate]]
) -> list[str]:
    cold, first, cached, prompts = [], [], [], []
    warm = PromptBuilder(encoder, format_named(name))
    for number, candidates in enumerate(sets):
        asked = f"Find what number {number} of these services has on volcanoes."
        fresh = PromptBuilder(encoder, format_named(name))
        cold.append(timed(lambda: fresh.build(asked, SETTING, interactions, candidates))[0])  # noqa: B023
        warm.build(asked, HistorySetting.NONE, (), candidates)
        # Other interactions each time: nothing of this user's is cached.
        other = tuple(replace(each, instruction=f"{number}: {each.instruction}") for each in interactions)
        first.append(timed(lambda: warm.build(asked, SETTING, other, candidates))[0])  # noqa: B023
        milliseconds, prompt = timed(lambda: warm.build(asked, SETTING, other, candidates))  # noqa: B023
        cached.append(milliseconds)
        prompts.append(prompt)
    usage = [prompt.usage for prompt in prompts]
    parts = ("total", "format", "history", "candidates", "instruction", "history_kept")
    means = [f"{statistics.mean(getattr(each, part) for each in usage):.0f}" for part in parts]
    details = sorted({each.documents.value for each in usage})
    return [*(f"{statistics.median(times):.2f}" for times in (cold, first, cached)), *means, ", ".join(details)]


def building(console: Console, encoder: PromptTokenizer, tools: list[Tool], instructions: list[str]) -> None:
    table = Table(title=f"Building a prompt of 10 candidates, medians of {WINDOWS} (ms) and mean tokens")
    for column in (
        "format",
        "interactions",
        "cold",
        "first call",
        "cached",
        "tokens",
        "format",
        "history",
        "candidates",
    ):
        table.add_column(column, justify="left" if column == "format" else "right")
    for column in ("instruction", "kept", "documents"):
        table.add_column(column, justify="left" if column == "documents" else "right")
    for name in FORMATS:
        for size in SIZES:
            row = measure(encoder, name, history(tools, instructions, size), windows(tools))
            table.add_row(name, str(size), *row, end_section=size == SIZES[-1])
    console.print(table)


def levels(console: Console, encoder: PromptTokenizer, tools: list[Tool]) -> None:
    table = Table(title=f"Tokens of a document by level of detail, {len(tools)} documents")
    table.add_column("format")
    table.add_column("")
    for detail in Detail:
        table.add_column(detail.value, justify="right")
    for name in ("published-1", "hinted-1"):
        writer = DocumentWriter(SegmentEncoder(encoder, 1 << 28), format_named(name))
        tokens = [[writer.segment(of, detail).tokens for of in tools] for detail in Detail]
        table.add_row(name, "mean", *(f"{statistics.mean(each):.0f}" for each in tokens))
        table.add_row(name, "p95", *(f"{sorted(each)[len(each) * 95 // 100]}" for each in tokens), end_section=True)
    console.print(table)


def main() -> int:
    console = Console()
    raw, instructions = documents_and_instructions()
    tools = [of for _, of in parse(ToolSource.RAPIDAPI, raw).tools]
    encoder = tokenizer([json.dumps(each, ensure_ascii=False) for each in raw] + instructions)
    building(console, encoder, tools, instructions)
    levels(console, encoder, tools)
    return 0


if __name__ == "__main__":
    sys.exit(main())
