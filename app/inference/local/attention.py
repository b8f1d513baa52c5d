"""Attention for pieces of many sequences that are packed in one pass without padding.

The model sees one sequence: the pieces end to end. Everything but attention treats tokens alone, so only attention
has to know where a piece begins, and which keys and values are its own. transformers passes `segments`, an argument
of the model's forward, down to here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

NAME = "petool_packed"
_SHORT = 16
"""Tokens of a piece up to which it is cheaper to repeat its mask than to read the keys once for every head."""


@dataclass
class Segment:
    """Where one sequence's piece lies in the pass, and its cache."""

    cache: torch.Tensor
    """(layers, 2, key-value heads, capacity, head size); keys before values."""
    start: int
    """Tokens of the sequence that are in the cache already."""
    length: int
    """Tokens of the piece."""
    _masks: dict[tuple[int, int | None], torch.Tensor | None] = field(default_factory=dict)

    @property
    def end(self) -> int:
        return self.start + self.length

    def mask(self, repeats: int, window: int | None) -> torch.Tensor | None:
        """(repeats * length, end), added to the scores: 0 where a query sees a key, else minus infinity.

        None where each sees all. Made once for all layers.
        """
        if window is not None and self.end <= window:
            window = None
        if self.length == 1 and window is None:
            return None
        if (repeats, window) not in self._masks:
            mask = self.cache.new_zeros(self.length, self.end)
            # Only among the piece's own tokens does one come after another.
            mask[:, self.start :] = self.cache.new_full((self.length, self.length), -torch.inf).triu_(1)
            if window is not None:
                mask += torch.full_like(mask, -torch.inf).tril_(self.start - window)
            self._masks[repeats, window] = mask if repeats == 1 else mask.repeat(repeats, 1)
        return self._masks[repeats, window]


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001 (transformers gives it to every kind)
    *,
    segments: Sequence[Segment],
    scaling: float | None = None,
    sliding_window: int | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """query (1, heads, tokens, size), key and value (1, key-value heads, tokens, size) -> (1, tokens, heads, size).

    Writes the keys and values into the segments' caches. Raises RuntimeError for kinds of attention it does not know.
    """
    for unknown in ("softcap", "s_aux", "position_bias"):
        if options.get(unknown) is not None:
            raise RuntimeError(f"attention with {unknown} is not supported")
    layer = int(module.layer_idx)  # type: ignore[arg-type]  # every attention module of transformers has it
    output = query.new_empty(query.shape[2], query.shape[1], value.shape[3])
    at = 0
    for segment in segments:
        tokens = slice(at, at + segment.length)
        keys, values = segment.cache[layer, 0, :, : segment.end], segment.cache[layer, 1, :, : segment.end]
        keys[:, segment.start :] = key[0, :, tokens]
        values[:, segment.start :] = value[0, :, tokens]
        output[tokens] = _attend(query[0, :, tokens], keys, values, segment, scaling, sliding_window).transpose(0, 1)
        at += segment.length
    return output[None], None


def _attend(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    segment: Segment,
    scaling: float | None,
    window: int | None,
) -> torch.Tensor:
    """query (heads, length, size), keys and values (key-value heads, end, size) -> (heads, length, size).

    Keys and values are never repeated for the query heads that share them, which would copy them in every layer.
    """
    heads, length, size = query.shape
    groups = keys.shape[0]
    shared = heads // groups
    if length <= _SHORT:
        # Heads of a group as more queries: the keys are read once for all of them.
        mask = segment.mask(shared, window)
        output = functional.scaled_dot_product_attention(
            query.reshape(1, groups, shared * length, size), keys[None], values[None], attn_mask=mask, scale=scaling
        )
    else:
        # Heads of a group as heads that share their keys by a stride of 0.
        whole = segment.start == 0 and (window is None or segment.end <= window)
        output = functional.scaled_dot_product_attention(
            query.reshape(groups, shared, length, size),
            keys[:, None].expand(groups, shared, *keys.shape[1:]),
            values[:, None].expand(groups, shared, *values.shape[1:]),
            attn_mask=None if whole else segment.mask(1, window),
            is_causal=whole,
            scale=scaling,
        )
    return output.reshape(heads, length, values.shape[2])


def register() -> None:
    """Makes it known to transformers by NAME, which then builds no masks of its own. Again is harmless."""
    AttentionInterface.register(NAME, packed_attention)
