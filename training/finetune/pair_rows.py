"""Pairs on disk: sampled for a config, and as the rows that DPO trains on."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import Dataset as Rows
from datasets import Features, Value
from datasets import List as ListOf
from trl.trainer.dpo_trainer import DataCollatorForPreference

from app.decision.model import Model
from app.domain import Json
from app.errors import SetupError
from app.inference.local import LocalEngine
from training.common.seeding import shuffled_by_hash
from training.common.stages import Progress, digest, file_hash, only_here, told, write_json, write_rows
from training.data.benchmark import OpenedBenchmark, open_benchmark
from training.data.dataset import read_rows
from training.data.records import Instance
from training.examples import Examples
from training.finetune.adapter import KEPT
from training.finetune.config import FinetuneConfig
from training.finetune.models import load_tokenizer
from training.finetune.pairs import judge, pair_of, report_of
from training.finetune.prompts import Written, instances_of, write_examples
from training.finetune.run import Material
from training.finetune.sampling import Sampler, read_samples, sample_all
from training.finetune.sources import Sources, check_base, find_sources

_PAIRS, _REPORT, _ADAPTER = "pairs.jsonl", "report.json", "sft"
_TOKENS = ListOf(Value("int32"))
_FEATURES = Features({"prompt_ids": _TOKENS, "chosen_ids": _TOKENS, "rejected_ids": _TOKENS, "length": Value("int32")})


@dataclass(frozen=True)
class Paired:
    directory: Path
    report: Mapping[str, Json]


def make_pairs(config: FinetuneConfig, progress: Progress) -> Paired:
    """Samples what is not sampled yet, and chooses the pairs. SetupError for what is missing or does not fit."""
    directory = _directory(config)
    with only_here(directory):
        sources = find_sources(config)
        check_base(sources)
        benchmark = open_benchmark(config.benchmark)
        chosen = _chosen(benchmark, config)
        questions = benchmark.questions(progress, format=sources.format).of(chosen, progress)
        examples = Examples(sources.tokenizer, sources.format, sources.budget)
        about = _about(config, sources, benchmark)
        samples = directory / f"samples-{digest(about)[:12]}.jsonl"
        asyncio.run(_sample(config, sources, examples, questions, samples, progress))
        by_id = {each.id: each for each in read_samples(samples)}
        progress.start("Choosing pairs", len(questions))
        pairs, seen = [], []
        for question in questions:
            sampled = by_id[question.instance.id]
            prompt = examples.prompt(question)
            seen.append(Counter(judge(text, question, prompt, examples).kind for text in sampled.texts))
            if (pair := pair_of(question, sampled, examples, config.pairs)) is not None:
                pairs.append(pair)
            progress.advance(1)
        if not pairs:
            raise SetupError(
                f"No pair came out of {len(questions)} questions: the SFT model is right every time, or writes no "
                "calls. Raise pairs.temperature or pairs.samples, or set pairs.fallback: true."
            )
        report = {**about, **report_of(pairs, len(questions), seen)}
        with told(directory):
            write_rows(directory / f".{_PAIRS}", (each.to_json() for each in pairs))
            (directory / f".{_PAIRS}").replace(directory / _PAIRS)
            report["digest"] = file_hash(directory / _PAIRS)
            write_json(directory / f".{_REPORT}", report)
            (directory / f".{_REPORT}").replace(directory / _REPORT)
    return Paired(directory, report)


def gather_dpo(
    benchmark: OpenedBenchmark, sources: Sources, config: FinetuneConfig, progress: Progress, main: bool
) -> Material:
    """SetupError where `make_pairs` was not run with this config, or the adapter is another one since."""
    report = _read_report(config)
    if report["adapter"] != _adapter_digest(sources):
        raise SetupError(
            f"The pairs in {_directory(config)} were sampled from another model than {sources.start or sources.base}: "
            "run petool-train pairs again."
        )
    written = write_examples(benchmark, sources, config, progress, alone=main)
    pairs = list(read_rows(_directory(config) / _PAIRS))
    held_out = set(written.held_out_ids(config.evaluation.instances, config.seed))
    train = [each for each in pairs if each["id"] not in held_out]
    if not train:
        raise SetupError("All pairs are of held-out instances: lower evaluation.instances.")
    pad = load_tokenizer(sources.base).pad_token_id
    return Material(
        _rows(train, written, sources),
        _rows([each for each in pairs if each["id"] in held_out], written, sources),
        DataCollatorForPreference(pad_token_id=pad, max_length=None),
        digest({"prompts": written.digest, "pairs": report["digest"]}),
        report,
    )


def _rows(pairs: list[dict[str, Json]], written: Written, sources: Sources) -> Rows:
    """SetupError names a pair that is longer than the model takes."""
    prompts = dict(zip(written.rows["id"], written.rows["prompt"], strict=True))
    tokenizer, end = sources.tokenizer, sources.tokenizer.end
    rows: list[dict[str, Any]] = []
    for pair in pairs:
        prompt = prompts[pair["id"]]
        chosen, rejected = ([*tokenizer.encode(pair[name]), end] for name in ("chosen_text", "rejected_text"))
        length = len(prompt) + max(len(chosen), len(rejected))
        if length > sources.context:
            raise SetupError(f"The pair of {pair['id']} has {length} tokens, and the model takes {sources.context}.")
        rows.append({"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected, "length": length})
    # By columns, of which there are as many where there is no row.
    return Rows.from_dict({name: [row[name] for row in rows] for name in _FEATURES}, features=_FEATURES)


def _chosen(benchmark: OpenedBenchmark, config: FinetuneConfig) -> list[Instance]:
    by_id = {each.id: each for each in instances_of(benchmark, config)}
    order = shuffled_by_hash(by_id, config.seed, "pairs")
    return [by_id[name] for name in order[: config.pairs.instances]]


async def _sample(
    config: FinetuneConfig, sources: Sources, examples: Examples, questions: Any, path: Path, progress: Progress
) -> None:
    settings = config.pairs
    # Without SFT the base is what samples.
    adapters = {_ADAPTER: sources.start} if sources.start is not None else {}
    engine = await asyncio.to_thread(
        LocalEngine,
        sources.base,
        adapters=adapters,
        max_batch=settings.batch,
        max_waiting=1024,
        device="cpu" if config.device == "cpu" else None,
        seed=config.seed,
    )
    try:
        sampler = Sampler(Model(engine, examples.builder, _ADAPTER if adapters else None), settings)
        await sample_all(sampler, questions, path, progress)
    finally:
        await engine.close()


def _about(config: FinetuneConfig, sources: Sources, benchmark: OpenedBenchmark) -> dict[str, Json]:
    """What decides the samples."""
    pairs = config.pairs
    return {
        "adapter": _adapter_digest(sources),
        "data": benchmark.data.digest,
        "format": sources.format.name,
        "budget": sources.budget,
        **{name: getattr(pairs, name) for name in ("samples", "temperature", "constrained", "max_tokens")},
        "seed": config.seed,
    }


def _adapter_digest(sources: Sources) -> str:
    if sources.start is None:
        return sources.base_weights.digest
    return digest([file_hash(sources.start / name) for name in KEPT])


def _directory(config: FinetuneConfig) -> Path:
    return config.work / "pairs" / config.name


def _read_report(config: FinetuneConfig) -> dict[str, Json]:
    path = _directory(config) / _REPORT
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read: run petool-train pairs with this config first.") from error
