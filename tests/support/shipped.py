"""A folder of models as it ships (`app.composition.served_model.MODELS`), with random weights, made in seconds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from app.extraction.extract import FEATURES
from app.model_files.manifest import BaseWeights, Manifest, TrainingData, file_digests, weights_digest, write_manifest
from app.retrieval.matcher import WEIGHTS
from tests.support.tiny_model import tiny_adapter, tiny_model

_DATA = TrainingData("tiny", 1, "0" * 64)
BUDGET = 1_600


def shipped_models(directory: Path, **recommended: Any) -> Path:
    """`recommended`: what `served.json` says otherwise."""
    small = directory / "small"
    base = tiny_model(small / "base")
    manifest(base, "base")
    for seed, name in enumerate(("sft", "dpo")):
        manifest(tiny_adapter(base, small / name, seed), name, base)
    (small / "served.json").write_text(json.dumps({"adapter": "dpo", **recommended}))
    random_matcher(directory / "matcher")
    return directory


def manifest(directory: Path, stage: Any, base: Path | None = None, prompt_format: str = "terse-1") -> None:
    """`base`: the model that it is an adapter of."""
    write_manifest(
        directory,
        Manifest(
            "model" if base is None else "adapter",
            f"tiny-{stage}",
            stage,
            None if base is None else BaseWeights("tiny-base", weights_digest(base)),
            prompt_format,
            BUDGET,
            _DATA,
            files=file_digests(directory),
        ),
    )


def random_matcher(directory: Path, dimension: int = 384) -> Path:
    chance = np.random.default_rng(1)
    width, hidden = 64, 16

    def normal(*shape: int, scale: float = 1.0) -> Any:
        return (scale * chance.standard_normal(shape)).astype(np.float16)

    directory.mkdir(parents=True)
    tensors = {
        **{name: normal(width, dimension, scale=dimension**-0.5) for name in ("queries", "functions", "attributes")},
        "centre": normal(dimension, scale=0.02),
        "inputs_1": normal(hidden, 3 * FEATURES, scale=0.2),
        "inputs_1_bias": normal(hidden, scale=0.1),
        "inputs_2": normal(hidden),
        "scales": np.array([8, 8, 25, 25], np.float16),
        "history": np.array([1, -1, 3], np.float16),
    }
    save_file(tensors, directory / WEIGHTS)
    return directory
