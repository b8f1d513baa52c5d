"""TRL's trainers on rows that are token ids already, with the head on the answers only."""

from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import DistributedType
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.utils.data import Sampler
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from training.finetune.batches import LengthGrouped
from training.finetune.config import FinetuneConfig
from training.finetune.head import add_answer_head
from training.finetune.models import uses_cpu


class _Habits:
    """What both have in common."""

    _columns: tuple[str, ...]
    _signature_columns: Any
    args: Any
    train_dataset: Any

    def _set_signature_columns_if_needed(self) -> None:
        self._signature_columns = list(self._columns)

    def _get_train_sampler(self, _: Any = None) -> Sampler[int]:
        # The passes of a step, over all processes, have like lengths.
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        # What comes as an argument has lost its other columns.
        return LengthGrouped(self.train_dataset["length"], batch, self.args.seed)

    def _build_accelerator_args(self, **given: Any) -> dict[str, Any]:
        if self.args.fsdp and self.args.use_cpu:
            # accelerate shards over GPUs only, and would quietly train a copy in each process. The kind of the
            # processes is all that it looks at; what it then does goes by the device, which stays the CPU.
            PartialState().distributed_type = DistributedType.MULTI_GPU
        plugin = given.get("fsdp_plugin")
        if plugin is not None and self.args.bf16:
            # By itself accelerate sums gradients, and returns log-probabilities, in bfloat16.
            plugin.mixed_precision_policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        built: dict[str, Any] = super()._build_accelerator_args(**given)  # type: ignore[misc]
        return built

    def _send_telemetry(self) -> None:
        """TRL would report to its makers."""

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Ours is written at the end."""


class AnswerTrainer(_Habits, SFTTrainer):
    """Rows of `training.finetune.prompts`, and `AnswerCollator`."""

    _columns = ("prompt", "answer", "label")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _with_head(self.model)


class PairTrainer(_Habits, DPOTrainer):
    """Rows of `training.finetune.pair_rows`. The reference is a copy of the adapter as it is at the start."""

    _columns = ("prompt_ids", "chosen_ids", "rejected_ids")

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        _with_head(self.model)

    def _prepare_dataset(self, dataset: Any, *_: Any, **__: Any) -> Any:
        return dataset


def _with_head(model: Any) -> None:
    add_answer_head(model.get_base_model())


_ALWAYS: dict[str, Any] = {
    # None: nothing is truncated.
    "max_length": None,
    "optim": "adamw_torch",
    "save_strategy": "steps",
    "save_total_limit": 2,
    "logging_first_step": True,
    "report_to": "none",
    "disable_tqdm": True,
    "prediction_loss_only": True,
}
_FSDP: dict[str, Any] = {
    "fsdp": True,
    "fsdp_config": {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "state_dict_type": "FULL_STATE_DICT"},
}
"""Layer by layer. FSDP's own checkpointing of activations, which transformers advises, renames the layers: peft then
finds no adapter to save."""


def training_arguments(
    config: FinetuneConfig, directory: Path, processes: int, *, evaluates: bool
) -> SFTConfig | DPOConfig:
    """Checkpoints, with optimiser and random states, go into the directory."""
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
        **_ALWAYS,
        **of_stage,
        **(_FSDP if config.fsdp else {}),
    )
