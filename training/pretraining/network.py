"""A Llama that trains fast on a CPU; its weights are those of transformers' `LlamaForCausalLM`, name by name.

Compared with that class: matrices are multiplied in bfloat16, of the upper half of the scores only what is not masked
is computed, and the head sees only the positions that are asked for.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.pretraining.config import Architecture

_EPS = 1e-5
_THETA = 10_000.0
_MASKED = -30_000.0


class SmallLlama(nn.Module):
    def __init__(self, shape: Architecture, vocabulary: int) -> None:
        super().__init__()
        self.shape, self.vocabulary = shape, vocabulary
        self.size = shape.width // shape.heads
        width, inner = shape.width, shape.inner
        self.weights = nn.ParameterDict()
        # Of the size of what the layers add: at the usual 0.02 their outputs drown it.
        self._add("model.embed_tokens", torch.randn(vocabulary, width))
        for layer in range(shape.layers):
            at = f"model.layers.{layer}"
            for name in ("q_proj", "k_proj", "v_proj"):
                self._add(f"{at}.self_attn.{name}", torch.randn(width, width) / width**0.5)
            # Each layer adds nothing at first.
            self._add(f"{at}.self_attn.o_proj", torch.zeros(width, width))
            for name in ("gate_proj", "up_proj"):
                self._add(f"{at}.mlp.{name}", torch.randn(inner, width) / width**0.5)
            self._add(f"{at}.mlp.down_proj", torch.zeros(width, inner))
            for name in ("input_layernorm", "post_attention_layernorm"):
                self._add(f"{at}.{name}", torch.ones(width))
        self._add("model.norm", torch.ones(width))
        self._add("lm_head", 0.02 * torch.randn(vocabulary, width))
        angles = torch.arange(shape.context)[:, None] / _THETA ** (torch.arange(0, self.size, 2) / self.size)
        angles = torch.cat([angles, angles], -1)
        self.register_buffer("cosines", angles.cos().bfloat16(), persistent=False)
        self.register_buffer("sines", angles.sin().bfloat16(), persistent=False)

    def _add(self, name: str, value: Tensor) -> None:
        # A ParameterDict's keys are attributes: no dots.
        self.weights[f"{name}.weight".replace(".", "|")] = nn.Parameter(value)

    def _of(self, name: str) -> Tensor:
        weight: Tensor = self.weights[f"{name}.weight".replace(".", "|")]
        return weight.bfloat16()

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, length) -> (batch, length, width), bfloat16: what the head reads. Padding stands at the right."""
        hidden = functional.embedding(tokens, self.weights["model|embed_tokens|weight"]).bfloat16()
        for layer in range(self.shape.layers):
            at = f"model.layers.{layer}"
            hidden = hidden + self._attention(self._norm(hidden, f"{at}.input_layernorm"), f"{at}.self_attn")
            hidden = hidden + self._feed_forward(self._norm(hidden, f"{at}.post_attention_layernorm"), f"{at}.mlp")
        return self._norm(hidden, "model.norm")

    def logits(self, hidden: Tensor) -> Tensor:
        """(n, width) -> (n, vocabulary), float32."""
        return functional.linear(hidden, self._of("lm_head")).float()

    def _norm(self, hidden: Tensor, name: str) -> Tensor:
        return functional.rms_norm(hidden, (self.shape.width,), self._of(name), _EPS)

    def _feed_forward(self, hidden: Tensor, at: str) -> Tensor:
        both = functional.linear(hidden, torch.cat([self._of(f"{at}.gate_proj"), self._of(f"{at}.up_proj")]))
        gate, up = both.chunk(2, -1)
        return functional.linear(functional.silu(gate) * up, self._of(f"{at}.down_proj"))

    def _attention(self, hidden: Tensor, at: str) -> Tensor:
        batch, length, width = hidden.shape
        matrix = torch.cat([self._of(f"{at}.{name}_proj") for name in "qkv"])
        parts = functional.linear(hidden, matrix).view(batch, length, 3, self.shape.heads, self.size)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        queries, keys = self._rotated(queries), self._rotated(keys)
        half = length // 2
        early = self._attend(queries[:, :, :half], keys[:, :, :half], values[:, :, :half])
        late = self._attend(queries[:, :, half:], keys, values)
        output = torch.cat([early, late], 2).transpose(1, 2).reshape(batch, length, width)
        return functional.linear(output, self._of(f"{at}.o_proj"))

    def _attend(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The queries are those of the keys' last positions."""
        asked, known = queries.shape[2], keys.shape[2]
        mask = torch.full((asked, known), _MASKED, dtype=queries.dtype).triu(1 + known - asked)
        scores = torch.matmul(queries, keys.transpose(-1, -2)) * self.size**-0.5 + mask
        return torch.matmul(functional.softmax(scores, -1), values)

    def _rotated(self, each: Tensor) -> Tensor:
        length, half = each.shape[2], self.size // 2
        cosines: Any = self.cosines
        sines: Any = self.sines
        turned: Tensor = torch.cat([-each[..., half:], each[..., :half]], -1) * sines[:length]
        found: Tensor = each * cosines[:length] + turned
        return found

    def matrices(self) -> list[nn.Parameter]:
        """Muon's share: all matrices but embeddings and head."""
        outer = ("model|embed_tokens|weight", "lm_head|weight")
        return [each for name, each in self.weights.items() if each.ndim == 2 and name not in outer]

    def others(self) -> list[nn.Parameter]:
        chosen = {id(each) for each in self.matrices()}
        return [each for each in self.parameters() if id(each) not in chosen]

    def save(self, directory: Path, special: dict[str, int]) -> None:
        """As a directory that transformers and vLLM load, in bfloat16.

        `special`: the ids of bos_token, eos_token and pad_token.
        """
        # Takes seconds.
        from transformers import LlamaConfig, LlamaForCausalLM

        shape = self.shape
        settings = LlamaConfig(
            vocab_size=self.vocabulary,
            hidden_size=shape.width,
            intermediate_size=shape.inner,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            num_key_value_heads=shape.heads,
            max_position_embeddings=shape.context,
            rms_norm_eps=_EPS,
            tie_word_embeddings=False,
            bos_token_id=special["bos_token"],
            eos_token_id=special["eos_token"],
            pad_token_id=special["pad_token"],
        )
        model: Any = LlamaForCausalLM(settings).to(torch.bfloat16)  # type: ignore[arg-type]
        model.load_state_dict({name.replace("|", "."): value.bfloat16() for name, value in self.weights.items()})
        model.save_pretrained(directory)
