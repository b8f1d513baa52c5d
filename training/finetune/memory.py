"""How much memory training takes, by part: an estimate from the model's sizes, for layers like Llama's."""

from dataclasses import dataclass

from training.finetune.config import FinetuneConfig
from training.finetune.models import uses_cpu
from training.finetune.shape import ModelShape

_FLOAT, _HALF = 4, 2
_NF4 = (4 + 0.127) / 8
"""Bytes a parameter, with the constants that are quantized too (QLoRA, section 3)."""
_ADAMW = 2 * _FLOAT


@dataclass(frozen=True)
class Lengths:
    """Tokens of the longest example, and of the longest answer."""

    example: int
    answer: int


def memory(config: FinetuneConfig, shape: ModelShape, lengths: Lengths, processes: int) -> dict[str, float]:
    """Bytes of each process by part, in the order in which they are told."""
    width = _HALF if config.dtype == "bfloat16" else _FLOAT
    rest = shape.total - (shape.quantizable if config.quantization == "nf4" else 0)
    weights = rest * width + (shape.total - rest) * _NF4
    shards = processes if config.fsdp else 1
    rows = config.device_batch * (2 if config.stage == "dpo" else 1)
    tokens = rows * lengths.example
    # Activations are saved as the products take them.
    saved = _HALF if config.autocast or config.dtype == "bfloat16" else _FLOAT
    layer = tokens * _layer_bytes(config, shape, saved)
    parts = {
        "base, frozen": weights / shards,
        "LoRA": shape.trainable * _FLOAT / shards,
        "LoRA's gradients": shape.trainable * _FLOAT / shards,
        "AdamW's moments": shape.trainable * _ADAMW / shards,
    }
    if config.stage == "dpo":
        parts["LoRA of the reference"] = shape.trainable * _FLOAT / shards
    if config.fsdp:
        parts["a layer's weights, gathered"] = weights / shape.layers
    if config.gradient_checkpointing:
        parts["activations between layers"] = tokens * shape.hidden * width * shape.layers
        parts["activations of one layer"] = layer
    else:
        parts["activations of all layers"] = layer * shape.layers
    parts["logits of the answers"] = rows * lengths.answer * shape.vocabulary * (width + 2 * _FLOAT)
    return parts


def _layer_bytes(config: FinetuneConfig, shape: ModelShape, saved: int) -> float:
    """A token, in one layer: what the backward pass needs of the forward. Frozen weights need no inputs kept."""
    attention = saved * (2 * shape.queries + 2 * shape.keys)
    feed_forward = saved * 3 * shape.inner
    norms = 2 * _FLOAT * shape.hidden
    if config.lora.dropout > 0 and config.stage == "sft":
        # Each module's own input, and the mask: as wide as the input on a CPU, a byte on a GPU.
        lora = shape.adapted * (saved + (saved if uses_cpu(config) else 1))
    else:
        # Modules share theirs: of attention, of the feed-forward part, of its last product.
        lora = saved * (2 * shape.hidden + shape.inner)
    return attention + feed_forward + norms + lora
