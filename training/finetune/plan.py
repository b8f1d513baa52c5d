"""Tells what a run would take without loading weights: parameters, tokens, steps."""

import json
from collections import Counter
from collections.abc import Sequence
from math import ceil

import numpy as np

from training.common.stages import Progress
from training.data.benchmark import open_benchmark
from training.finetune.config import FinetuneConfig
from training.finetune.models import count_parameters
from training.finetune.prompts import write_examples
from training.finetune.sources import find_sources

_BINS, _WIDTH = 12, 40
_PERCENTILES = (0, 50, 90, 99, 100)
"""Of the lengths."""


def make_plan(config: FinetuneConfig, processes: int, progress: Progress) -> str:
    """Return the plan as lines of text. Of the base only config.json and the tokenizer are needed.

    Prompts are written, and kept for the run; without the benchmark the plan has no tokens. Raises SetupError for a
    batch that does not divide, and for an example that does not fit.
    """
    passes = config.accumulation(processes)
    # The adapter that DPO starts from may not be trained yet.
    has_start = config.adapter is not None and config.adapter.exists()
    sources = find_sources(config if has_start else config.model_copy(update={"adapter": None}), weights=False)
    parameters = count_parameters(sources, config)
    lines = [
        f"{config.name}: {config.stage} of {config.base}",
        "",
        f"Parameters: {parameters.base:,} in the base; {parameters.trained:,} of the adapter are trained "
        f"({100 * parameters.trained / parameters.base:.2f}%).",
        f"Prompts: {sources.format.name}, at most {sources.budget:,} tokens.",
    ]
    examples: int | None = None
    if (config.benchmark / "dataset").exists():
        rows = write_examples(open_benchmark(config.benchmark), sources, config, progress).rows
        prompts, answers = ([len(each) for each in rows[name]] for name in ("prompt", "answer"))
        both = list(rows["length"])
        examples = len(rows) - config.evaluation.instances
        lines += [f"Examples: {examples:,} to train on, {config.evaluation.instances:,} held out.", ""]
        lines += [*_table({"prompt": prompts, "answer": answers, "together": both}), "", *_histogram(both)]
    else:
        lines += [f"No benchmark at {config.benchmark}: the number of examples and their tokens are unknown."]
    return "\n".join([*lines, "", _steps(config, examples, processes, passes)])


def _table(columns: dict[str, Sequence[int]]) -> list[str]:
    names = {0: "least", 50: "median", 100: "most"}
    head = "".join(f"{names.get(each, f'{each}%'):>9}" for each in _PERCENTILES)
    lines = [f"{'tokens':10}{head}{'sum':>13}"]
    for name, values in columns.items():
        percentiles = "".join(f"{int(each):9,}" for each in np.percentile(values, _PERCENTILES))
        lines.append(f"{name:10}{percentiles}{sum(values):13,}")
    return lines


def _histogram(values: Sequence[int]) -> list[str]:
    """Lines with the number of examples in each range of tokens."""
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
