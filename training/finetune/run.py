"""A run from its config to its adapter: begun, gone on with after a stop, or found finished."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset as Rows
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback
from transformers.integrations.integration_utils import TensorBoardCallback

from app.domain import Json
from app.errors import SetupError
from app.model_files.manifest import Manifest, read_manifest, verify_files
from training.common.revision import revision
from training.common.stages import Progress, digest, file_hash, only_here, told, write_json
from training.data.benchmark import OpenedBenchmark, open_benchmark
from training.finetune.adapter import KEPT, Outcome, publish
from training.finetune.callbacks import Reporting, WholeCheckpoints, newest_checkpoint
from training.finetune.config import FinetuneConfig
from training.finetune.models import check_device, load_model, load_tokenizer, uses_cpu
from training.finetune.sources import Sources, check_base, find_sources
from training.finetune.trainers import AnswerTrainer, PairTrainer, training_arguments

_RUN = "run.json"
_ELSEWHERE = frozenset({
    *("name", "base", "adapter", "benchmark", "out", "work", "prompt_format", "prompt_tokens", "instances", "pairs"),
    *("device_batch", "checkpoint_every", "log_every", "gradient_checkpointing"),
})  # fmt: skip
"""Settings whose effect the digests tell, or that change nothing that is learned."""


@dataclass(frozen=True)
class Material:
    """What a stage trains on."""

    train: Rows
    held_out: Rows
    collator: Any
    digest: str
    """Of what decides the rows."""
    pairs: Mapping[str, Json] | None = None

    @property
    def counts(self) -> dict[str, int]:
        return {"examples": len(self.train), "held_out": len(self.held_out), "tokens": sum(self.train["length"])}


Gather = Callable[[OpenedBenchmark, Sources, FinetuneConfig, Progress, bool], Material]
"""The last argument: whether this process is the main one, which writes."""


@dataclass(frozen=True)
class Finished:
    directory: Path
    manifest: Manifest
    kept: bool
    """It stood there already."""


def finetune(
    config: FinetuneConfig, gather: Gather, progress: Progress, tell: Callable[[str], None], *, restart: bool = False
) -> Finished:
    """Trains, or goes on from the last whole checkpoint; the same config gives the same adapter either way.

    For every process that accelerate or torchrun started. `restart` forgets what an earlier run left.
    SetupError for what does not fit, and where another run's checkpoints stand in the way.
    """
    _check_machine(config)
    state = PartialState(cpu=uses_cpu(config))
    directory = config.work / "runs" / config.name
    with only_here(directory) if state.is_main_process else nullcontext():
        sources = find_sources(config)
        check_base(sources)
        benchmark = open_benchmark(config.benchmark)
        with state.main_process_first():
            material = gather(benchmark, sources, config, progress, state.is_main_process)
        fingerprint = _fingerprint(config, sources, material)
        finished = _finished(config.out, fingerprint)
        if finished is not None and not restart:
            return Finished(config.out, finished, kept=True)
        if state.is_main_process:
            _begin(directory, fingerprint, config, restart=restart)
        state.wait_for_everyone()
        tell(
            f"{len(material.train):,} examples, {config.batch} to a step ({state.num_processes} processes x "
            f"{config.device_batch} x {config.accumulation(state.num_processes)} passes)."
        )
        trainer = _trainer(config, sources, material, directory, progress, tell)
        _train(trainer, material, directory)
        if state.is_main_process:
            outcome = Outcome(
                config, sources, benchmark.data, fingerprint, material.counts, material.pairs,
                trainer.state.log_history, revision(),
            )  # fmt: skip
            publish(outcome, directory / "trained", config.out)
        state.wait_for_everyone()
    manifest = read_manifest(config.out)
    assert manifest is not None
    return Finished(config.out, manifest, kept=False)


def _check_machine(config: FinetuneConfig) -> None:
    """SetupError where the run cannot be one of these processes."""
    check_device(config)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if config.fsdp and processes < 2:
        raise SetupError(
            "fsdp: true shards over processes: start it by accelerate launch or torchrun (docs/training.md)."
        )
    config.accumulation(processes)


def _fingerprint(config: FinetuneConfig, sources: Sources, material: Material) -> str:
    start = sources.start
    return digest(
        {
            "config": config.model_dump(mode="json", exclude=set(_ELSEWHERE)),
            "base": sources.base_weights.digest,
            "start": [file_hash(start / name) for name in KEPT] if start is not None else None,
            "rows": material.digest,
        }
    )


def _finished(out: Path, fingerprint: str) -> Manifest | None:
    manifest = read_manifest(out)
    if manifest is None or manifest.config.get("fingerprint") != fingerprint:
        return None
    verify_files(out, manifest)
    return manifest


def _begin(directory: Path, fingerprint: str, config: FinetuneConfig, *, restart: bool) -> None:
    """SetupError where the folder holds checkpoints of other settings."""
    note = directory / _RUN
    with told(directory):
        if restart:
            for left in directory.glob("checkpoint-*"):
                shutil.rmtree(left)
            shutil.rmtree(directory / "tensorboard", ignore_errors=True)
            note.unlink(missing_ok=True)
        if note.exists() and newest_checkpoint(directory) is not None:
            before = json.loads(note.read_text("utf-8"))
            if before["fingerprint"] != fingerprint:
                now = config.model_dump(mode="json")
                changed = [name for name, value in now.items() if before["config"].get(name) != value]
                raise SetupError(
                    f"{directory} holds checkpoints of a run with other settings or data (changed: "
                    f"{', '.join(changed) or 'data, base or code of the prompt'}). Give --restart to forget them, or "
                    "another name."
                )
        write_json(note, {"fingerprint": fingerprint, "config": config.model_dump(mode="json")})


def _trainer(
    config: FinetuneConfig,
    sources: Sources,
    material: Material,
    directory: Path,
    progress: Progress,
    tell: Callable[[str], None],
) -> AnswerTrainer | PairTrainer:
    processes = PartialState().num_processes
    callbacks: list[Any] = [WholeCheckpoints()]
    if PartialState().is_main_process:
        writer = SummaryWriter(directory / "tensorboard")
        callbacks += [Reporting(progress, tell), TensorBoardCallback(writer)]  # type: ignore[no-untyped-call]
    kind = AnswerTrainer if config.stage == "sft" else PairTrainer
    trainer = kind(
        model=load_model(sources, config),
        args=training_arguments(config, directory, processes, evaluates=len(material.held_out) > 0),
        train_dataset=material.train,
        eval_dataset=material.held_out if len(material.held_out) else None,
        data_collator=material.collator,
        processing_class=load_tokenizer(sources.base),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _train(trainer: AnswerTrainer | PairTrainer, material: Material, directory: Path) -> None:
    """To the end, an evaluation behind the last step, and the adapter in `trained`."""
    state = PartialState()
    if state.is_main_process:
        # Removes what was cut short, before the others look.
        newest_checkpoint(directory)
    state.wait_for_everyone()
    checkpoint = newest_checkpoint(directory)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    last = max((row["step"] for row in trainer.state.log_history if "eval_loss" in row), default=-1)
    if len(material.held_out) and last != trainer.state.global_step:
        trainer.evaluate()
    trainer.save_model(str(directory / "trained"))
    state.wait_for_everyone()
