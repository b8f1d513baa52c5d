"""What a run would take, told without loading weights: parameters, tokens, steps, memory."""

import json
from collections import Counter
from collections.abc import Sequence
from math import ceil

import numpy as np

from training.common.stages import Progress
from training.data.benchmark import open_benchmark
from training.finetune.config import FinetuneConfig
from training.finetune.memory import Lengths, memory
from training.finetune.prompts import write_examples
from training.finetune.shape import ModelShape, shape_of
from training.finetune.sources import find_sources

_BINS, _WIDTH = 12, 40
_MARKS = (0, 50, 90, 99, 100)
"""Percentiles of the lengths."""


def make_plan(config: FinetuneConfig, processes: int, progress: Progress) -> str:
    """The base needs config.json and its tokenizer only. Prompts are written, and kept for the run; without the
    benchmark they are taken to be as long as the budget.

    SetupError for a batch that does not divide, and for an example that does not fit.
    """
    passes = config.accumulation(processes)
    # The adapter that DPO starts from may be a plan too.
    found = config if config.adapter is not None and config.adapter.exists() else _as_sft(config)
    sources = find_sources(found, weights=False)
    shape = shape_of(sources, config)
    lines = [
        f"{config.name}: {config.stage} of {config.base}",
        "",
        f"Parameters: {shape.total:,} in the base; {shape.trainable:,} of the adapter are trained "
        f"({100 * shape.trainable / shape.total:.2f}%).",
        f"Prompts: {sources.format.name}, at most {sources.budget:,} tokens.",
    ]
    examples: int | None = None
    lengths = Lengths(sources.budget, 0)
    if (config.benchmark / "dataset").exists():
        rows = write_examples(open_benchmark(config.benchmark), sources, config, progress).rows
        prompts, answers = ([len(each) for each in rows[name]] for name in ("prompt", "answer"))
        both = list(rows["length"])
        examples = len(rows) - config.evaluation.instances
        lengths = Lengths(max(both), max(answers))
        lines += [f"Examples: {examples:,} to train on, {config.evaluation.instances:,} held out.", ""]
        lines += [*_table({"prompt": prompts, "answer": answers, "together": both}), "", *_histogram(both)]
    else:
        lines += [f"No benchmark at {config.benchmark}: prompts are taken to be as long as the budget."]
    lines += ["", _steps(config, examples, processes, passes), ""]
    return "\n".join([*lines, *_memory(config, shape, lengths, processes)])


def _as_sft(config: FinetuneConfig) -> FinetuneConfig:
    return config.model_copy(update={"adapter": None})


def _table(columns: dict[str, Sequence[int]]) -> list[str]:
    marks = {0: "least", 50: "median", 100: "most"}
    head = "".join(f"{marks.get(mark, f'{mark}%'):>9}" for mark in _MARKS)
    return [
        f"{'tokens':10}{head}{'sum':>13}",
        *(
            f"{name:10}{''.join(f'{int(np.percentile(values, mark)):9,}' for mark in _MARKS)}{sum(values):13,}"
            for name, values in columns.items()
        ),
    ]


def _histogram(values: Sequence[int]) -> list[str]:
    """Of examples by tokens."""
    least = min(values)
    width = ceil((max(values) - least + 1) / _BINS)
    counts = Counter((value - least) // width for value in values)
    widest = max(counts.values())
    return [
        f"{least + place * width:7,} to {least + (place + 1) * width - 1:7,} {counts[place]:7,} "
        f"{'#' * round(_WIDTH * counts[place] / widest)}"
        for place in range(max(counts) + 1)
    ]


def _steps(config: FinetuneConfig, examples: int | None, processes: int, passes: int) -> str:
    batch = f"{config.batch} to a step ({processes} x {config.device_batch} x {passes} passes)"
    if config.max_steps is not None:
        return f"Steps: {config.max_steps:,}, {batch}."
    if examples is None:
        return f"Steps: {config.epochs:g} epochs, {batch}."
    what = "examples"
    report = config.work / "pairs" / config.name / "report.json"
    if config.stage == "dpo":
        what = "pairs" if report.exists() else "pairs at most (petool-train pairs tells)"
        examples = int(json.loads(report.read_text("utf-8"))["pairs"]) if report.exists() else examples
    return f"Steps: {ceil(ceil(examples / config.batch) * config.epochs):,} of {examples:,} {what}, {batch}."


def _memory(config: FinetuneConfig, shape: ModelShape, lengths: Lengths, processes: int) -> list[str]:
    parts = memory(config, shape, lengths, processes)
    return [
        "Memory of one process, estimated for a batch of the longest:",
        *(f"  {name:32}{_size(size):>12}" for name, size in {**parts, "together": sum(parts.values())}.items()),
    ]


def _size(count: float) -> str:
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.2f} MiB"
