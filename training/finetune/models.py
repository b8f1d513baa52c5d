"""The base model and its LoRA adapter in memory, ready to be trained."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, PreTrainedTokenizerFast

from app.errors import SetupError
from app.model_files.loading import LOADING_ERRORS, quiet
from training.finetune.config import FinetuneConfig
from training.finetune.sources import Sources


def load_tokenizer(base: Path) -> PreTrainedTokenizerFast:
    """With a token for padding, which no loss and no attention ever looks at."""
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
    """The base, frozen, with a new adapter of the config's, or the one to start from. Seeded by the config.

    SetupError for what cannot be loaded here.
    """
    check_device(config)
    # LoRA's first matrices are random.
    torch.manual_seed(config.seed)
    base = _load_base(sources, config)
    try:
        with quiet():
            if sources.start is not None:
                return PeftModel.from_pretrained(base, sources.start, is_trainable=True)
            model = get_peft_model(base, lora_config(config))
    except LOADING_ERRORS as error:
        raise SetupError(
            f"peft cannot put the adapter into {sources.base_name} ({str(error)[:300]}): lora.target_modules has to "
            "name linear layers of the model."
        ) from error
    adapted = {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    if missing := set(config.lora.target_modules) - adapted:
        raise SetupError(f"{sources.base_name} has no layers named {', '.join(sorted(missing))}: lora.target_modules.")
    return model


def lora_config(config: FinetuneConfig) -> LoraConfig:
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
    """SetupError where the machine lacks what the config asks for."""
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
