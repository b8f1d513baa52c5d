"""One YAML file = one reproducible run of fine-tuning. Shipped ones lie in `training/configs/finetune`."""

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
    """Of SFT only: DPO compares log-probabilities, and trains without."""
    target_modules: tuple[str, ...] = Field(default=_TARGETS, min_length=1)
    """Names of linear layers, none of them the head: engines do not serve that."""

    @model_validator(mode="after")
    def _served(self) -> Self:
        if "lm_head" in self.target_modules:
            raise ValueError("target_modules must not name lm_head: neither the trainers nor engines take it")
        return self


class EvaluationSettings(_Section):
    instances: int = Field(default=200, ge=0)
    """Held out of the training part, whose test parts are not looked at; 0 for no evaluation in training."""
    every: int = Field(default=100, ge=1)
    """Steps."""


class PairSettings(_Section):
    """How DPO's pairs come about (docs/training.md)."""

    samples: int = Field(default=8, ge=1)
    """Calls that the SFT model writes for each instruction."""
    temperature: float = Field(default=1.0, gt=0)
    instances: int | None = Field(default=None, ge=1)
    """At most so many of the training part; None for all."""
    constrained: bool = True
    """Under the answer's JSON Schema, as in service."""
    max_tokens: int = Field(default=256, ge=1)
    """As the service's; the instruction's are added."""
    kinds: tuple[Literal["preference", "functionality", "parameters"], ...] = ("preference", "functionality")
    """What a rejected call that the model wrote may have wrong, the best first: a tool that does the job but is not
    preferred, one that does something else, the right tool's parameters."""
    fallback: bool = True
    """Where no such call was sampled: the right call's parameters with the likeliest tool that is not preferred."""
    batch: int = Field(default=8, ge=1)
    """Calls that are decoded at once."""


class FinetuneConfig(_Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    stage: Literal["sft", "dpo"]
    base: str
    """A model directory in Hugging Face's layout, or a name on the model hub."""
    adapter: Path | None = None
    """DPO: the SFT adapter to start from, which is the reference too; None for the paper's ablation without SFT, from a
    new adapter, with the base as the reference."""
    benchmark: Path = Path("benchmarks/paper-scale")
    out: Path
    """Where the adapter goes."""
    work: Path = Path(".petool/finetune")
    """Where prompts, pairs, checkpoints and logs are kept."""
    prompt_format: str | None = None
    """A name in `app.prompting.formats`; None for the start adapter's, or the base's, as its petool.json says."""
    prompt_tokens: int | None = Field(default=None, ge=1)
    """The prompt's budget; None as above."""
    settings: tuple[HistorySetting, ...] = Field(
        default=(HistorySetting.PREFERRED_ONLY, HistorySetting.RATING_INTEGRATED, HistorySetting.CHRONOLOGICAL),
        min_length=1,
    )
    instances: int | None = Field(default=None, ge=1)
    """At most so many of the training part; None for all."""
    lora: LoraSettings = LoraSettings()
    """SFT's; DPO trains the adapter it starts from, if there is one."""
    lr: float = Field(gt=0)
    schedule: Literal["cosine", "linear", "constant_with_warmup"] = "cosine"
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps."""
    weight_decay: float = Field(default=0.0, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)
    batch: int = Field(ge=1)
    """Examples, or pairs, to a step, over all processes."""
    device_batch: int = Field(ge=1)
    """Of them so many at once in a process."""
    epochs: float = Field(default=1.0, gt=0)
    max_steps: int | None = Field(default=None, ge=1)
    """Instead of epochs."""
    beta: float = Field(default=0.1, gt=0)
    """DPO's."""
    label_weight: float = Field(default=1.0, gt=0)
    """SFT: the loss of the label's token, which is the choice, times this."""
    seed: int = Field(default=1, ge=0)
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Of the frozen weights; LoRA's are float32."""
    autocast: bool = True
    """Matrices are multiplied in bfloat16."""
    quantization: Literal["none", "nf4"] = "none"
    gradient_checkpointing: bool = True
    fsdp: bool = False
    """Shards the model over the processes that accelerate or torchrun started."""
    device: Literal["auto", "cpu"] = "auto"
    evaluation: EvaluationSettings = EvaluationSettings()
    checkpoint_every: int = Field(default=100, ge=1)
    log_every: int = Field(default=10, ge=1)
    """Steps."""
    pairs: PairSettings = PairSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch % self.device_batch:
            raise ValueError(f"batch ({self.batch}) must be a multiple of device_batch ({self.device_batch})")
        if self.stage == "sft" and self.adapter is not None:
            raise ValueError("sft trains a new adapter of the base: leave adapter out")
        if HistorySetting.AUTO in self.settings or HistorySetting.NONE in self.settings:
            raise ValueError("settings are those that instances have: preferred_only, rating_integrated, chronological")
        return self

    def accumulation(self, processes: int) -> int:
        """Passes of each process to a step. SetupError where the batch does not divide."""
        at_once = self.device_batch * processes
        if self.batch % at_once:
            raise SetupError(
                f"batch ({self.batch}) must be a multiple of device_batch ({self.device_batch}) times the "
                f"{processes} processes."
            )
        return self.batch // at_once


def load_config(name: str, changes: Sequence[str] = ()) -> FinetuneConfig:
    """The config of a file, or of a shipped one by its name. `changes`: `field=value` or `section.field=value`, as
    YAML. Raises SetupError that says which field is wrong."""
    path = named_file(name, CONFIGS)
    values = read_mapping(path, CONFIGS)
    for change in changes:
        _change(values, change)
    try:
        return FinetuneConfig.model_validate(values)
    except ValidationError as error:
        raise SetupError(f"The config {path} is not valid: {faults(error)}.") from error


def _change(values: dict[str, Any], change: str) -> None:
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
