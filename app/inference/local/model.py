"""A causal language model loaded once, and its forward pass over packed pieces."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from app.errors import SetupError
from app.inference.local import attention
from app.inference.local.attention import Segment
from app.model_files.loading import LOADING_ERRORS, quiet

_PROBE_TOKENS = 24
_TOLERANCE = {torch.float32: 1e-3}
_LOW_PRECISION_TOLERANCE = 0.06
"""Of the largest logit: how far two ways to compute the same may differ."""


@dataclass(frozen=True)
class Piece:
    """The next tokens of one sequence."""

    cache: torch.Tensor
    """The sequence's own, from `CausalModel.new_cache`."""
    start: int
    """Tokens in the cache before these."""
    tokens: Sequence[int]
    wanted: Sequence[int]
    """Indexes into `tokens` whose logits, which predict the token after, are wanted."""


class CausalModel:
    """`name` is the directory's, `context` the longest sequence in tokens, `eos` the tokens that end an answer.

    Raises SetupError, with what to do, if it cannot be loaded. Not safe for use by two threads at once.
    """

    def __init__(self, path: Path | str, *, device: str | None = None, dtype: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = _dtype(self.device, dtype)
        self.name = Path(path).name
        with quiet():
            self.tokenizer, self.module = _loaded(path, self.device, self.dtype)
        config = self.module.config.get_text_config()
        self.vocabulary = int(config.vocab_size)
        self.context = int(getattr(config, "max_position_embeddings", 0) or self.tokenizer.model_max_length)
        self.eos = _eos(self.module, self.tokenizer)
        self._shape = (
            int(config.num_hidden_layers),
            2,
            int(getattr(config, "num_key_value_heads", None) or config.num_attention_heads),
            int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads),
        )
        if len(self.tokenizer) > self.vocabulary:
            raise SetupError(
                f"{path}: the tokenizer has {len(self.tokenizer)} tokens, the model only {self.vocabulary}; "
                "they do not belong together"
            )
        attention.register()
        self._check_packing(path)

    def new_cache(self, capacity: int) -> torch.Tensor:
        """Room for the keys and values of one sequence of so many tokens."""
        layers, pair, heads, size = self._shape
        return torch.empty(layers, pair, heads, capacity, size, dtype=self.dtype, device=self.device)

    @torch.inference_mode()
    def forward(self, pieces: Sequence[Piece]) -> torch.Tensor:
        """Logits (all wanted, vocabulary) in float32, in the order of pieces; fills the pieces' caches."""
        tokens = [token for piece in pieces for token in piece.tokens]
        positions = [at for piece in pieces for at in range(piece.start, piece.start + len(piece.tokens))]
        wanted, offset = [], 0
        for piece in pieces:
            wanted += [offset + index for index in piece.wanted]
            offset += len(piece.tokens)
        output = self.module(
            input_ids=torch.tensor([tokens], device=self.device),
            position_ids=torch.tensor([positions], device=self.device),
            logits_to_keep=torch.tensor(wanted, dtype=torch.long, device=self.device),
            use_cache=False,
            segments=[Segment(piece.cache, piece.start, len(piece.tokens)) for piece in pieces],
        )
        logits: torch.Tensor = output.logits[0]
        return logits.float()

    def text(self, tokens: Sequence[int]) -> str:
        """What the tokens say, special ones left out; bytes that are no UTF-8 as U+FFFD."""
        return str(self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _check_packing(self, path: Path | str) -> None:
        """Whether packed passes compute what the model's own do; leaves the model set to packed passes.

        Architectures differ in what their attention needs; this finds the ones that need more than ours gives.
        """
        count = min(_PROBE_TOKENS, self.context)
        tokens = [(7 * index + 1) % self.vocabulary for index in range(count)]
        try:
            with torch.inference_mode():
                expected = self.module(input_ids=torch.tensor([tokens], device=self.device), use_cache=False).logits[0]
            self.module.set_attn_implementation(attention.NAME)
            one, two = self.new_cache(count), self.new_cache(count)
            half = count // 2
            first = self.forward([Piece(one, 0, tokens[:half], [half - 1]), Piece(two, 0, tokens, [count - 1])])
            second = self.forward([Piece(one, half, tokens[half:], [0, count - half - 1])])
        except LOADING_ERRORS as error:
            raise SetupError(f"{path}: the local engine cannot run this architecture ({_short(error)})") from error
        found = torch.cat([first, second])
        difference = (found - expected[[half - 1, count - 1, half, count - 1]].float()).abs().max().item()
        allowed = _TOLERANCE.get(self.dtype, _LOW_PRECISION_TOLERANCE) * expected.abs().max().item()
        if not difference <= allowed:  # also where one is not a number
            raise SetupError(
                f"{path}: computed in pieces the model gives other results than in one (a difference of {difference:g} "
                f"of {allowed:g} allowed): its weights are broken, or the local engine cannot run this architecture"
            )


def _loaded(path: Path | str, device: torch.device, dtype: torch.dtype) -> tuple[PreTrainedTokenizerFast, Any]:
    local = Path(path).is_dir()
    if not local and not _hub_name(path):
        raise SetupError(f"{path}: no such directory; the local engine needs one with config.json, weights as "
                         "safetensors and a tokenizer")  # fmt: skip
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=local, trust_remote_code=False)
        found: Any = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=local,
            attn_implementation="sdpa",
            output_loading_info=True,
            device_map={"": device} if device.type != "cpu" else None,
        )
    except LOADING_ERRORS as error:
        raise SetupError(
            f"{path} is not a model that can be loaded ({_short(error)}); it has to be a directory with config.json, "
            "whole weights as safetensors and tokenizer.json"
        ) from error
    module, report = found
    if report["missing_keys"] or report["mismatched_keys"]:
        lacking = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
        raise SetupError(f"{path}: the weights lack {len(lacking)} of the model's tensors, such as {lacking[0]}")
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise SetupError(f"{path}: its tokenizer has no tokenizer.json, which the schema's enforcement needs")
    return tokenizer, module.eval().requires_grad_(False)


def _hub_name(path: Path | str) -> bool:
    """Whether it may be one of a model hub's `owner/model`, rather than a path."""
    return isinstance(path, str) and re.fullmatch(r"\w[\w.-]*/[\w.-]+", path, re.ASCII) is not None


def _dtype(device: torch.device, wanted: str | None) -> torch.dtype:
    """By default bfloat16 only where the hardware multiplies it: elsewhere on a CPU it is slower than float32."""
    if wanted is not None:
        dtype = getattr(torch, wanted, None)
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise SetupError(f"{wanted} is no type of numbers for a model; bfloat16, float16 and float32 are")
        return dtype
    if device.type != "cpu" or torch.cpu.get_capabilities().get("amx_bf16"):
        return torch.bfloat16
    return torch.float32


def _eos(module: Any, tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    for ids in (module.generation_config and module.generation_config.eos_token_id, module.config.eos_token_id):
        if ids is not None:
            return frozenset([ids] if isinstance(ids, int) else ids)
    return frozenset() if tokenizer.eos_token_id is None else frozenset([tokenizer.eos_token_id])


def _short(error: BaseException) -> str:
    """The first line, within reason: the libraries' messages run to pages."""
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:300]
