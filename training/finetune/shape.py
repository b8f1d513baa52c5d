"""A model's sizes from its config.json, by building it without memory for its weights."""

import json
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import AutoConfig, AutoModelForCausalLM

from app.errors import SetupError
from app.model_files.loading import LOADING_ERRORS, quiet
from training.finetune.config import FinetuneConfig
from training.finetune.models import lora_config
from training.finetune.sources import Sources


@dataclass(frozen=True)
class ModelShape:
    total: int
    """Parameters of the base; tied ones count once."""
    quantizable: int
    """Of them those of linear layers other than the head."""
    trainable: int
    """LoRA's."""
    layers: int
    hidden: int
    inner: int
    """Width of the feed-forward part."""
    queries: int
    keys: int
    """Widths of all heads' queries together, and of their keys."""
    vocabulary: int
    adapted: int
    """Widths of the inputs of a layer's adapted modules, added up."""


def shape_of(sources: Sources, config: FinetuneConfig) -> ModelShape:
    """SetupError for a config.json that is no causal language model's, or has no layers of the names to be adapted."""
    lora = _lora(sources, config)
    try:
        with quiet(), torch.device("meta"):
            settings: Any = AutoConfig.from_pretrained(sources.base, local_files_only=True)
            model: Any = AutoModelForCausalLM.from_config(settings)  # type: ignore[no-untyped-call]
            total = sum(parameter.numel() for parameter in model.parameters())
            head = model.get_output_embeddings()
            linear = [each for each in model.modules() if isinstance(each, torch.nn.Linear) and each is not head]
            quantizable = sum(each.weight.numel() for each in linear)
            adapted = get_peft_model(model, lora, low_cpu_mem_usage=True)
    except LOADING_ERRORS as error:
        raise SetupError(
            f"{sources.base} cannot be built with this adapter ({str(error)[:300]}): it has to be a causal language "
            "model with the linear layers that lora.target_modules names."
        ) from error
    text = settings.get_text_config()
    heads = int(text.num_attention_heads)
    size = int(getattr(text, "head_dim", None) or text.hidden_size // heads)
    layers = int(text.num_hidden_layers)
    modules: list[Any] = [each for each in adapted.modules() if isinstance(each, LoraLayer)]
    return ModelShape(
        total=total,
        quantizable=quantizable,
        trainable=sum(each.numel() for name, each in adapted.named_parameters() if "lora_" in name),
        layers=layers,
        hidden=int(text.hidden_size),
        inner=int(text.intermediate_size),
        queries=heads * size,
        keys=int(getattr(text, "num_key_value_heads", None) or heads) * size,
        vocabulary=int(text.vocab_size),
        adapted=sum(int(each.in_features) for each in modules) // layers,
    )


def _lora(sources: Sources, config: FinetuneConfig) -> LoraConfig:
    if sources.start is None:
        return lora_config(config)
    values = json.loads((sources.start / "adapter_config.json").read_text("utf-8"))
    return LoraConfig(r=values["r"], lora_alpha=values["lora_alpha"], target_modules=values["target_modules"])
