"""The base model with its LoRA adapter: ready to be trained, or only counted."""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerFast

from app.errors import SetupError
from app.model_files.loading import LOADING_ERRORS, quiet
from training.finetune.config import FinetuneConfig
from training.finetune.sources import Sources


def load_tokenizer(base: Path) -> PreTrainedTokenizerFast:
    """Load the base's tokenizer, with a token for padding, which no loss and no attention ever looks at."""
    try:
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(base, local_files_only=True)
    except LOADING_ERRORS as error:
        raise SetupError(f"{base} has no tokenizer that transformers can load ({str(error)[:300]}).") from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    assert isinstance(tokenizer, PreTrainedTokenizerFast)
    return tokenizer


def load_model(sources: Sources, config: FinetuneConfig) -> PeftModel:
    """Load the base, frozen, with a new adapter of the config's, or the one to start from.

    Raises SetupError for what cannot be loaded here.
    """
    check_device(config)
    # The first matrices of a new adapter are random.
    torch.manual_seed(config.seed)
    base = _load_base(sources, config)
    try:
        with quiet():
            if sources.start is not None:
                return PeftModel.from_pretrained(base, sources.start, is_trainable=True)
            model = get_peft_model(base, _lora_config(config))
    except LOADING_ERRORS as error:
        raise SetupError(
            f"peft cannot put the adapter into {sources.base_name} ({str(error)[:300]}): lora.target_modules has to "
            "name linear layers of the model."
        ) from error
    adapted = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    if missing := set(config.lora.target_modules) - adapted:
        raise SetupError(f"{sources.base_name} has no layers named {', '.join(sorted(missing))}: lora.target_modules.")
    return model


def _lora_config(config: FinetuneConfig) -> LoraConfig:
    lora = config.lora
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout if config.stage == "sft" else 0.0,
        target_modules=sorted(lora.target_modules),
        task_type="CAUSAL_LM",
    )


def uses_cpu(config: FinetuneConfig) -> bool:
    return config.device == "cpu" or not torch.cuda.is_available()


def check_device(config: FinetuneConfig) -> None:
    """Raises SetupError where the machine lacks what the config asks for."""
    if config.quantization == "none":
        return
    if uses_cpu(config):
        raise SetupError("quantization: nf4 needs a CUDA GPU; train with quantization: none here.")
    if find_spec("bitsandbytes") is None:
        raise SetupError("quantization: nf4 needs the package bitsandbytes: pip install bitsandbytes.")


def _load_base(sources: Sources, config: FinetuneConfig) -> Any:
    given: dict[str, Any] = {}
    dtype = getattr(torch, config.dtype)
    if config.quantization == "nf4":
        given["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_compute_dtype=torch.bfloat16,
            bnb_4bit_use_double_quant=True,
            # So that FSDP can shard them with the others.
            bnb_4bit_quant_storage=dtype,
        )
        given["device_map"] = {"": torch.cuda.current_device()}
    try:
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                sources.base,
                dtype=dtype,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                attn_implementation="sdpa",
                **given,
            )
    except LOADING_ERRORS as error:
        raise SetupError(
            f"{sources.base} is not a model that can be loaded ({str(error).strip().splitlines()[0][:300]}): it has "
            "to be a directory with config.json, whole weights as safetensors and tokenizer.json."
        ) from error
    return model.requires_grad_(False)


@dataclass(frozen=True)
class ParameterCounts:
    base: int
    """Tied ones count once."""
    trained: int
    """The adapter's."""


def count_parameters(sources: Sources, config: FinetuneConfig) -> ParameterCounts:
    """Count from config.json alone, by building the model without memory for its weights.

    Raises SetupError for a config.json that is no causal language model's, or that has no layers to be adapted.
    """
    lora = _lora_config(config) if sources.start is None else _saved_lora_config(sources.start)
    try:
        with quiet(), torch.device("meta"):
            settings: Any = AutoConfig.from_pretrained(sources.base, local_files_only=True)
            model: Any = AutoModelForCausalLM.from_config(settings)  # type: ignore[no-untyped-call]
            base = sum(parameter.numel() for parameter in model.parameters())
            adapted = get_peft_model(model, lora, low_cpu_mem_usage=True)
    except LOADING_ERRORS as error:
        raise SetupError(
            f"{sources.base} cannot be built with this adapter ({str(error)[:300]}): it has to be a causal language "
            "model with the linear layers that lora.target_modules names."
        ) from error
    return ParameterCounts(base, sum(each.numel() for name, each in adapted.named_parameters() if "lora_" in name))


def _saved_lora_config(adapter: Path) -> LoraConfig:
    values = json.loads((adapter / "adapter_config.json").read_text("utf-8"))
    return LoraConfig(r=values["r"], lora_alpha=values["lora_alpha"], target_modules=values["target_modules"])
