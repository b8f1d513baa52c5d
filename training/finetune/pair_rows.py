"""DPO's pairs on disk: sampled for a config, and read as the rows that DPO trains on."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
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
from training.examples import Examples, Question
from training.finetune.adapter import ADAPTER_FILES
from training.finetune.config import FinetuneConfig
from training.finetune.models import load_tokenizer
from training.finetune.pairs import Pair, choose_pair, count_pairs, judge_text
from training.finetune.prompts import TrainingSet, WrittenExamples, training_instances, write_examples
from training.finetune.sampling import Sampler, read_samples, sample_all
from training.finetune.sources import Sources, check_base, find_sources

_PAIRS, _REPORT, _ADAPTER = "pairs.jsonl", "report.json", "sft"
_TOKENS = ListOf(Value("int32"))
_FEATURES = Features({"prompt_ids": _TOKENS, "chosen_ids": _TOKENS, "rejected_ids": _TOKENS, "length": Value("int32")})


@dataclass(frozen=True)
class MadePairs:
    """Where the pairs of a config lie, and what was counted of them."""

    directory: Path
    report: Mapping[str, Json]


def make_pairs(config: FinetuneConfig, progress: Progress) -> MadePairs:
    """Sample what is not sampled yet, and choose the pairs. Raises SetupError for what is missing or does not fit."""
    directory = _directory(config)
    with only_here(directory):
        sources = find_sources(config)
        check_base(sources)
        benchmark = open_benchmark(config.benchmark)
        chosen = _select_instances(benchmark, config)
        questions = benchmark.questions(progress, format=sources.format).of(chosen, progress)
        examples = Examples(sources.tokenizer, sources.format, sources.budget)
        settings = _sampling_settings(config, sources, benchmark)
        samples = directory / f"samples-{digest(settings)[:12]}.jsonl"
        asyncio.run(_sample(config, sources, examples, questions, samples, progress))
        pairs, kinds = _choose_pairs(config, questions, examples, samples, progress)
        report = {**settings, **count_pairs(pairs, len(questions), kinds)}
        with told(directory):
            write_rows(directory / f".{_PAIRS}", (each.to_json() for each in pairs))
            (directory / f".{_PAIRS}").replace(directory / _PAIRS)
            report["digest"] = file_hash(directory / _PAIRS)
            write_json(directory / f".{_REPORT}", report)
            (directory / f".{_REPORT}").replace(directory / _REPORT)
    return MadePairs(directory, report)


def _choose_pairs(
    config: FinetuneConfig, questions: Sequence[Question], examples: Examples, samples: Path, progress: Progress
) -> tuple[list[Pair], list[Mapping[str, int]]]:
    """Return the pairs, and of each question how many sampled calls were of each kind.

    Raises SetupError where there is no pair at all.
    """
    by_id = {each.id: each for each in read_samples(samples)}
    progress.start("Choosing pairs", len(questions))
    pairs: list[Pair] = []
    kinds: list[Mapping[str, int]] = []
    for question in questions:
        sampled, prompt = by_id[question.instance.id], examples.prompt(question)
        kinds.append(Counter(judge_text(text, question, prompt, examples).kind for text in sampled.texts))
        if (pair := choose_pair(question, sampled, examples, config.pairs)) is not None:
            pairs.append(pair)
        progress.advance(1)
    if not pairs:
        raise SetupError(
            f"No pair came out of {len(questions)} questions: the SFT model is right every time, or writes no "
            "calls. Raise pairs.temperature or pairs.samples, or set pairs.fallback: true."
        )
    return pairs, kinds


def gather_dpo(
    benchmark: OpenedBenchmark, sources: Sources, config: FinetuneConfig, progress: Progress, *, main: bool
) -> TrainingSet:
    """Return rows of the pairs that `make_pairs` made; `main` is whether this process is the main one.

    Raises SetupError where it was not run with this config, or the adapter has changed since.
    """
    report = _read_report(config)
    if report["adapter"] != _adapter_digest(sources):
        raise SetupError(
            f"The pairs in {_directory(config)} were sampled from another model than {sources.start or sources.base}: "
            "run petool-train pairs again."
        )
    written = write_examples(benchmark, sources, config, progress, lock=main)
    pairs = list(read_rows(_directory(config) / _PAIRS))
    held_out = set(written.held_out_ids(config.evaluation.instances, config.seed))
    train = [each for each in pairs if each["id"] not in held_out]
    if not train:
        raise SetupError("All pairs are of held-out instances: lower evaluation.instances.")
    pad = load_tokenizer(sources.base).pad_token_id
    return TrainingSet(
        _rows(train, written, sources),
        _rows([each for each in pairs if each["id"] in held_out], written, sources),
        DataCollatorForPreference(pad_token_id=pad, max_length=None),
        digest({"prompts": written.digest, "pairs": report["digest"]}),
        report,
    )


def _rows(pairs: list[dict[str, Json]], written: WrittenExamples, sources: Sources) -> Rows:
    """Raises SetupError that names a pair that is longer than the model takes."""
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
    # Built by columns, so that there are columns even where there is no row.
    return Rows.from_dict({name: [row[name] for row in rows] for name in _FEATURES}, features=_FEATURES)


def _select_instances(benchmark: OpenedBenchmark, config: FinetuneConfig) -> list[Instance]:
    by_id = {each.id: each for each in training_instances(benchmark, config)}
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


def _sampling_settings(config: FinetuneConfig, sources: Sources, benchmark: OpenedBenchmark) -> dict[str, Json]:
    """Everything that decides the samples."""
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
    return digest([file_hash(sources.start / name) for name in ADAPTER_FILES])


def _directory(config: FinetuneConfig) -> Path:
    return config.work / "pairs" / config.name


def _read_report(config: FinetuneConfig) -> dict[str, Json]:
    path = _directory(config) / _REPORT
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise SetupError(f"{path} cannot be read: run petool-train pairs with this config first.") from error
