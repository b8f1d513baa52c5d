"""A run from its config to its adapter: started, resumed after an interruption, or found finished."""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import PartialState
from torch.utils.tensorboard import SummaryWriter
from transformers import PrinterCallback
from transformers.integrations.integration_utils import TensorBoardCallback

from app.errors import SetupError
from app.model_files.manifest import Manifest, read_manifest, verify_files
from training.common.revision import revision
from training.common.stages import Progress, digest, file_hash, only_here, told, write_json
from training.data.benchmark import open_benchmark
from training.finetune.adapter import ADAPTER_FILES, FinishedTraining, publish_adapter
from training.finetune.config import FinetuneConfig
from training.finetune.models import check_device, load_model, load_tokenizer, uses_cpu
from training.finetune.pair_rows import gather_dpo
from training.finetune.prompts import TrainingSet, gather_sft
from training.finetune.sources import Sources, check_base, find_sources
from training.finetune.trainers import (
    AnswerTrainer,
    CheckpointMarker,
    PairTrainer,
    ProgressCallback,
    newest_checkpoint,
    training_arguments,
)

_RUN = "run.json"
_NOT_IN_FINGERPRINT = frozenset({
    *("name", "base", "adapter", "benchmark", "out", "work", "prompt_format", "prompt_tokens", "instances", "pairs"),
    *("device_batch", "checkpoint_every", "log_every", "gradient_checkpointing"),
})  # fmt: skip
"""Fields whose effect is in the digests, or that change nothing that is learned."""


@dataclass(frozen=True)
class Finished:
    directory: Path
    manifest: Manifest
    kept: bool
    """Whether an earlier run had made it."""


def finetune(
    config: FinetuneConfig, progress: Progress, tell: Callable[[str], None], *, restart: bool = False
) -> Finished:
    """Train, or resume from the last whole checkpoint; the same config gives the same adapter either way.

    Every process that accelerate or torchrun started has to call it. `restart` deletes what an earlier run left. Raises
    SetupError for what does not fit, and where checkpoints of another run are in the folder.
    """
    _check_machine(config)
    state = PartialState(cpu=uses_cpu(config))
    directory = config.work / "runs" / config.name
    with only_here(directory) if state.is_main_process else nullcontext():
        sources = find_sources(config)
        check_base(sources)
        benchmark = open_benchmark(config.benchmark)
        with state.main_process_first():
            gather = gather_sft if config.stage == "sft" else gather_dpo
            rows = gather(benchmark, sources, config, progress, main=state.is_main_process)
        fingerprint = _fingerprint(config, sources, rows)
        earlier = _finished_adapter(config.out, fingerprint)
        if earlier is not None and not restart:
            return Finished(config.out, earlier, kept=True)
        if state.is_main_process:
            _prepare_folder(directory, fingerprint, config, restart=restart)
        state.wait_for_everyone()
        tell(
            f"{len(rows.train):,} examples, {config.batch} to a step ({state.num_processes} processes x "
            f"{config.device_batch} x {config.accumulation(state.num_processes)} passes)."
        )
        trainer = _make_trainer(config, sources, rows, directory, progress, tell)
        _train(trainer, rows, directory)
        if state.is_main_process:
            finished = FinishedTraining(
                config, sources, benchmark.data, fingerprint, rows.counts, rows.pairs, trainer.state.log_history,
                revision(),
            )  # fmt: skip
            publish_adapter(finished, directory / "trained", config.out)
        state.wait_for_everyone()
    manifest = read_manifest(config.out)
    assert manifest is not None
    return Finished(config.out, manifest, kept=False)


def _check_machine(config: FinetuneConfig) -> None:
    """Raises SetupError where these processes cannot do the run."""
    check_device(config)
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if config.fsdp and processes < 2:
        raise SetupError(
            "fsdp: true shards over processes: start it by accelerate launch or torchrun (docs/training.md)."
        )
    config.accumulation(processes)


def _fingerprint(config: FinetuneConfig, sources: Sources, rows: TrainingSet) -> str:
    start = sources.start
    return digest(
        {
            "config": config.model_dump(mode="json", exclude=set(_NOT_IN_FINGERPRINT)),
            "base": sources.base_weights.digest,
            "start": [file_hash(start / name) for name in ADAPTER_FILES] if start is not None else None,
            "rows": rows.digest,
        }
    )


def _finished_adapter(out: Path, fingerprint: str) -> Manifest | None:
    manifest = read_manifest(out)
    if manifest is None or manifest.config.get("fingerprint") != fingerprint:
        return None
    verify_files(out, manifest)
    return manifest


def _prepare_folder(directory: Path, fingerprint: str, config: FinetuneConfig, *, restart: bool) -> None:
    """Note in the folder whose checkpoints it holds. Raises SetupError where they are of other settings."""
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
                    f"{', '.join(changed) or 'data, base or code of the prompt'}). Give --restart to delete them, or "
                    "another name."
                )
        write_json(note, {"fingerprint": fingerprint, "config": config.model_dump(mode="json")})


def _make_trainer(
    config: FinetuneConfig,
    sources: Sources,
    rows: TrainingSet,
    directory: Path,
    progress: Progress,
    tell: Callable[[str], None],
) -> AnswerTrainer | PairTrainer:
    processes = PartialState().num_processes
    callbacks: list[Any] = [CheckpointMarker()]
    if PartialState().is_main_process:
        writer = SummaryWriter(directory / "tensorboard")
        callbacks += [ProgressCallback(progress, tell), TensorBoardCallback(writer)]  # type: ignore[no-untyped-call]
    kind = AnswerTrainer if config.stage == "sft" else PairTrainer
    trainer = kind(
        model=load_model(sources, config),
        args=training_arguments(config, directory, processes, evaluates=len(rows.held_out) > 0),
        train_dataset=rows.train,
        eval_dataset=rows.held_out if len(rows.held_out) else None,
        data_collator=rows.collator,
        processing_class=load_tokenizer(sources.base),
        callbacks=callbacks,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _train(trainer: AnswerTrainer | PairTrainer, rows: TrainingSet, directory: Path) -> None:
    """Train to the end, evaluate after the last step, and save the adapter in the folder `trained`."""
    state = PartialState()
    if state.is_main_process:
        # Deletes broken checkpoints before the other processes look for one.
        newest_checkpoint(directory)
    state.wait_for_everyone()
    checkpoint = newest_checkpoint(directory)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
    last = max((row["step"] for row in trainer.state.log_history if "eval_loss" in row), default=-1)
    if len(rows.held_out) and last != trainer.state.global_step:
        trainer.evaluate()
    trainer.save_model(str(directory / "trained"))
    state.wait_for_everyone()
