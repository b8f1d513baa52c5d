"""One YAML file is one reproducible run of fine-tuning. The shipped ones lie in `training/configs/finetune`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.domain import HistorySetting
from app.errors import SetupError
from training.common.yaml_files import faults, named_file, read_mapping

CONFIGS = Path(__file__).parents[1] / "configs" / "finetune"
_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraSettings(_Section):
    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Used by SFT only: DPO compares log-probabilities, and trains without dropout."""
    target_modules: tuple[str, ...] = Field(default=_TARGETS, min_length=1)
    """Names of the linear layers that are adapted. The head must not be among them: engines do not serve that."""

    @model_validator(mode="after")
    def _check_targets(self) -> Self:
        if "lm_head" in self.target_modules:
            raise ValueError("target_modules must not name lm_head: neither the trainers nor engines take it")
        return self


class EvaluationSettings(_Section):
    instances: int = Field(default=200, ge=0)
    """Number of instances of the training part that are held out to be evaluated during training; 0 for none."""
    every: int = Field(default=100, ge=1)
    """Steps between two evaluations."""


class PairSettings(_Section):
    """How DPO's pairs are made (docs/training.md)."""

    samples: int = Field(default=8, ge=1)
    """Number of calls that the SFT model writes for each instruction."""
    temperature: float = Field(default=1.0, gt=0)
    instances: int | None = Field(default=None, ge=1)
    """Maximum number of instances of the training part that are sampled; None for all."""
    constrained: bool = True
    """True: calls are decoded under the answer's JSON Schema, as in service."""
    max_tokens: int = Field(default=256, ge=1)
    """Maximum tokens of a call, as in service. The instruction's length is added."""
    kinds: tuple[Literal["preference", "functionality", "parameters"], ...] = ("preference", "functionality")
    """What may be wrong with a rejected call that the model wrote, the best kind first: a tool that does the job but is
    not preferred, a tool that does something else, other parameters for the right tool."""
    fallback: bool = True
    """Where no such call was sampled, reject the right call's parameters with the likeliest tool that is not preferred.
    False: the instruction gives no pair."""
    batch: int = Field(default=8, ge=1)
    """Maximum number of calls that are decoded at the same time."""


class FinetuneConfig(_Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    stage: Literal["sft", "dpo"]
    base: str
    """A model directory in Hugging Face's layout, or a name on the model hub."""
    adapter: Path | None = None
    """DPO: the SFT adapter to start from, which is the reference too. None for the paper's ablation without SFT: a new
    adapter is trained, and the base is the reference."""
    benchmark: Path = Path("benchmarks/paper-scale")
    out: Path
    """Directory that the adapter is written to."""
    work: Path = Path(".petool/finetune")
    """Folder of prompts, pairs, checkpoints and logs."""
    prompt_format: str | None = None
    """A name in `app.prompting.formats`; None for what the petool.json of the start adapter, or of the base, says."""
    prompt_tokens: int | None = Field(default=None, ge=1)
    """Maximum tokens of a prompt; None for what petool.json says."""
    settings: tuple[HistorySetting, ...] = Field(
        default=(HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL),
        min_length=1,
    )
    instances: int | None = Field(default=None, ge=1)
    """Maximum number of instances of the training part, held-out ones included; None for all."""
    lora: LoraSettings = LoraSettings()
    """The new adapter's. DPO ignores it where it starts from an adapter."""
    lr: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    batch: int = Field(ge=1)
    """Examples, or pairs, in a step, over all processes."""
    device_batch: int = Field(ge=1)
    """Examples, or pairs, that a process computes at once."""
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """Steps of the run; if given, `epochs` is ignored."""
    beta: float = Field(default=0.1, gt=0)
    """DPO: how strongly the reference holds the model back."""
    label_weight: float = Field(default=1.0, gt=0)
    """SFT: factor on the loss of the label's token, which is the choice of the tool."""
    seed: int = Field(default=1, ge=0)
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Type of the frozen weights. LoRA's are float32."""
    autocast: bool = True
    """True: matrices are multiplied in bfloat16."""
    quantization: Literal["none", "nf4"] = "none"
    gradient_checkpointing: bool = True
    fsdp: bool = False
    """True: the model is sharded over the processes that accelerate or torchrun started."""
    device: Literal["auto", "cpu"] = "auto"
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint_every: int = Field(default=100, ge=1)
    """Steps between two checkpoints."""
    log_every: int = Field(default=10, ge=1)
    """Steps between two lines of the log."""
    pairs: PairSettings = PairSettings()

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        if self.batch % self.device_batch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of device_batch ({self.device_batch})")
        if self.stage == "sft" and self.adapter is not None:
            raise ValueError("sft trains a new adapter of the base: leave adapter out")
        if HistorySetting.AUTO in self.settings or HistorySetting.NONE in self.settings:
            raise ValueError("settings are those that instances have: preferred_only, rating_integrated, chronological")
        return self

    def accumulation(self, processes: int) -> int:
        """Return how many passes each process makes in a step. Raises SetupError where the batch does not divide."""
        at_once = self.device_batch * processes
        if self.batch % at_once:
            raise SetupError(
                f"batch ({self.batch}) must be a multiple of device_batch ({self.device_batch}) times the "
                f"{processes} processes."
            )
        return self.batch // at_once


def load_config(name: str, changes: Sequence[str] = ()) -> FinetuneConfig:
    """Read a YAML file, or a shipped one by its name. Raises SetupError that says which field is wrong.

    `changes` are `field=value` or `section.field=value`, with a value in YAML.
    """
    path = named_file(name, CONFIGS)
    values = read_mapping(path, CONFIGS)
    for change in changes:
        _apply_change(values, change)
    try:
        return FinetuneConfig.model_validate(values)
    except ValidationError as error:
        raise SetupError(f"The config {path} is not valid: {faults(error)}.") from error


def _apply_change(values: dict[str, Any], change: str) -> None:
    key, equals, text = change.partition("=")
    *sections, field = key.strip().split(".")
    if not equals or not field:
        raise SetupError(f"--set takes field=value or section.field=value, not {change!r}.")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SetupError(f"--set {change}: the value is not YAML.") from error
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise SetupError(f"--set {change}: {section} is no section of the config.")
    values[field] = value
