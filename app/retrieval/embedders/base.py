"""Texts to vectors."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

_LONGEST_TEXT = 20_000
"""Characters read of a text. Models read a few hundred tokens; tokenizing a megabyte for them is wasted time."""


class Embedder(Protocol):
    """Turns texts into L2-normalised vectors. Calls come from one thread at a time."""

    name: str
    """Identity of the model: vectors stored under another name are not comparable and have to be computed again."""
    dimension: int

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(len(texts), dimension), each row of length 1; rows in the order of the texts. Any text is accepted."""
        ...


class SentenceTransformerEmbedder:
    """Any sentence-transformers model, by path or hub name.

    Raises OSError or ValueError (of the library) if the model cannot be loaded.
    """

    def __init__(self, path_or_name: str, *, device: str = "cpu") -> None:
        # Imported here: it takes seconds, which a process with the packaged model should not spend.
        from sentence_transformers import SentenceTransformer

        local = Path(path_or_name).is_dir()
        with _no_progress_bar():
            self._model = SentenceTransformer(path_or_name, device=device, local_files_only=local)
        self._model.eval()
        label = Path(path_or_name).name if local else path_or_name
        self.name = f"{label}@{_fingerprint(self._model)}"
        self.dimension: int = self.encode(["probe"]).shape[1]

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        vectors = self._model.encode(
            [readable(text) for text in texts], normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


def readable(text: str) -> str:
    """The text cut to what is worth tokenizing, in valid Unicode, which is all that tokenizers take."""
    return text[:_LONGEST_TEXT].encode("utf-8", "replace").decode("utf-8")


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


def _fingerprint(model: Any) -> str:
    """Eight hex digits of the weights' names, shapes and first values: another training has another name."""
    digest = hashlib.sha256()
    for name, weight in model.state_dict().items():
        head = weight.flatten()[:256].float().cpu().numpy()
        digest.update(f"{name}{tuple(weight.shape)}".encode() + head.tobytes())
    return digest.hexdigest()[:8]
