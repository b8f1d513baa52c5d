"""TRL's trainers on rows that are token ids already, with the head on the answers only; and what they do between steps:
progress, and marks on checkpoints that are whole."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.utils.data import Sampler
from transformers import TrainerCallback
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from training.common.stages import Progress
from training.finetune.batches import LengthGrouped
from training.finetune.config import FinetuneConfig
from training.finetune.head import add_answer_head
from training.finetune.models import uses_cpu

_WHOLE_MARK = "whole"
_CHECKPOINT = "checkpoint-"


class _PreparedRowsTrainer:
    """What both trainers change of TRL's, whose classes come behind this one among their bases."""

    _columns: tuple[str, ...]
    _signature_columns: Any
    args: Any
    train_dataset: Any

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(self._columns)

    def _get_train_sampler(self, _: Any = None) -> Sampler[int]:
        # All passes of a step, over all processes, get rows of similar lengths.
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        # The dataset that comes as an argument has lost the column `length`.
        return LengthGrouped(self.train_dataset["length"], batch, self.args.seed)

    def _build_accelerator_args(self, **given: Any) -> dict[str, Any]:
        if self.args.fsdp and self.args.use_cpu:
            # accelerate shards over GPUs only, and would silently train a copy in each process. It decides that by the
            # kind of the processes alone; what it then does goes by the device, which stays the CPU.
            PartialState().distributed_type = DistributedType.MULTI_GPU
        plugin = given.get("fsdp_plugin")
        if plugin is not None and self.args.bf16:
            # Otherwise accelerate would sum gradients, and return log-probabilities, in bfloat16.
            plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        built: dict[str, Any] = super()._build_accelerator_args(**given)  # type: ignore[misc]
        return built

    def _send_telemetry(self) -> None:
        """Send nothing: TRL would report to its makers."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the adapter's own card is written at the end."""


class AnswerTrainer(_PreparedRowsTrainer, SFTTrainer):
    """Trains SFT on rows of `training.finetune.prompts`, with `AnswerCollator`."""

    _columns = ("prompt", "answer", "label")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _replace_head(self.model)


class PairTrainer(_PreparedRowsTrainer, DPOTrainer):
    """Trains DPO on rows of `training.finetune.pair_rows`; the reference is a copy of the adapter as it starts."""

    _columns = ("prompt_ids", "chosen_ids", "rejected_ids")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _replace_head(self.model)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def _replace_head(model: Any) -> None:
    add_answer_head(model.get_base_model())


class ProgressCallback(TrainerCallback):
    """Moves the progress bar with each step, and tells the values of each evaluation."""

    def __init__(self, progress: Progress, tell: Callable[[str], None]) -> None:
        self._progress = progress
        self._tell = tell

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._progress.start("Training", state.max_steps)
        self._progress.advance(state.global_step)
        if state.global_step:
            self._tell(f"Resumes from the checkpoint at step {state.global_step:,} of {state.max_steps:,}.")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        self._progress.advance(1)

    def on_evaluate(self, args: Any, state: Any, control: Any, **given: Any) -> None:  # noqa: ARG002
        labels = {
            "eval_loss": "loss", "eval_mean_token_accuracy": "token accuracy", "eval_rewards/accuracies":
            "reward accuracy", "eval_rewards/margins": "reward margin",
        }  # fmt: skip
        metrics: dict[str, float] = given["metrics"]
        parts = [f"{label} {metrics[name]:.4g}" for name, label in labels.items() if name in metrics]
        self._tell(f"Step {state.global_step:,}: held-out {', '.join(parts)}")


class CheckpointMarker(TrainerCallback):
    """Marks a checkpoint as whole when all of it is on the disk: runs resume from no other."""

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
        if not state.is_world_process_zero:
            return
        directory = Path(args.output_dir) / f"{_CHECKPOINT}{state.global_step}"
        for path in [*directory.rglob("*"), directory]:
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        (directory / _WHOLE_MARK).touch()


def newest_checkpoint(directory: Path) -> Path | None:
    """Return the newest checkpoint that is whole, or None, and delete those newer than it."""
    found = sorted(directory.glob(f"{_CHECKPOINT}*"), key=lambda path: -int(path.name.removeprefix(_CHECKPOINT)))
    for path in found:
        if (path / _WHOLE_MARK).exists():
            return path
        shutil.rmtree(path)
    return None


_COMMON_ARGUMENTS: dict[str, Any] = {
    # None truncates nothing.
    "max_length": None,
    "optim": "adamw_torch",
    "save_strategy": "steps",
    "save_total_limit": 2,
    "logging_first_step": True,
    "report_to": "none",
    "disable_tqdm": True,
    "prediction_loss_only": True,
}
_FSDP_ARGUMENTS: dict[str, Any] = {
    "fsdp": True,
    "fsdp_config": {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "state_dict_type": "FULL_STATE_DICT"},
}
"""Shards layer by layer. FSDP's own checkpointing of activations, which transformers advises, renames the layers, and
peft then finds no adapter to save."""


def training_arguments(
    config: FinetuneConfig, directory: Path, processes: int, *, evaluates: bool
) -> SFTConfig | DPOConfig:
    """Return TRL's arguments; checkpoints, with optimiser and random states, go into the directory."""
    of_stage: dict[str, Any] = (
        {"dataset_kwargs": {"skip_prepare_dataset": True}} if config.stage == "sft" else {"beta": config.beta}
    )
    cpu = uses_cpu(config)
    kind = SFTConfig if config.stage == "sft" else DPOConfig
    return kind(
        output_dir=str(directory),
        learning_rate=config.lr,
        lr_scheduler_type=config.schedule,
        warmup_steps=config.warmup,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        per_device_train_batch_size=config.device_batch,
        per_device_eval_batch_size=config.device_batch,
        gradient_accumulation_steps=config.accumulation(processes),
        num_train_epochs=config.epochs,
        max_steps=config.max_steps or -1,
        seed=config.seed,
        bf16=config.autocast,
        use_cpu=cpu,
        # The name that TRL reads mirrors it.
        activation_checkpointing=config.gradient_checkpointing,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=config.evaluation.every if evaluates else None,
        save_steps=config.checkpoint_every,
        logging_steps=config.log_every,
        dataloader_pin_memory=not cpu,
        **_COMMON_ARGUMENTS,
        **of_stage,
        **(_FSDP_ARGUMENTS if config.fsdp else {}),
    )
