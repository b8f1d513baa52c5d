"""The vectors that later stages compare: of functionality phrases, non-functional phrases and documents."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from app.domain import Json, Tool
from app.retrieval.texts import retrieval_text
from training.common.embedding import STEPS, Vectors, embed
from training.common.stages import Progress, Stage
from training.data.records import Understanding

KINDS = ("functionality", "non_functional", "document")


def write_vectors(
    tools: Sequence[Tool], understood: Mapping[str, Understanding], directory: Path, progress: Progress
) -> Mapping[str, Json]:
    """A file a kind, (n, d) in the order of the tools, which are those that were understood."""
    attributes = [understood[tool.name].attributes for tool in tools]
    texts = {
        "functionality": [each.functionality for each in attributes],
        "non_functional": [each.non_functional for each in attributes],
        "document": [retrieval_text(tool) for tool in tools],
    }
    progress.start("Embedding tools", sum(map(len, texts.values())))
    for kind, of_kind in texts.items():
        save_vectors(directory / f"{kind}.npy", embed(of_kind, progress.advance))
    return {"tools": len(tools), "distinct": {kind: len(set(of_kind)) for kind, of_kind in texts.items()}}


def save_vectors(path: Path, vectors: Vectors) -> None:
    """In whole steps: half the size, and no float to be written in another way."""
    np.save(path, np.round(vectors * STEPS).astype(np.int16), allow_pickle=False)


def load_vectors(path: Path) -> Vectors:
    steps = np.load(path, allow_pickle=False)
    vectors: Vectors = steps.astype(np.float32) / np.float32(STEPS)
    return vectors


def vectors_of(stage: Stage, kind: str) -> Vectors:
    return load_vectors(stage.path(f"{kind}.npy"))
