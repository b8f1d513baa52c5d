"""A finished benchmark, with what is needed to ask a model its instances."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inference.manifests import TrainingData
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.ranker_weights import load_weights
from app.retrieval.texts import retrieval_text
from training.benchmark.dataset import Dataset, read_dataset, read_rows
from training.benchmark.systems import Scenes
from training.benchmark.understand import UNDERSTOOD
from training.benchmark.vectors import load_vectors
from training.embedding import embed
from training.questions import Questions
from training.stages import NO_PROGRESS, Progress, digest, read_manifest


@dataclass(frozen=True)
class OpenedBenchmark:
    directory: Path
    dataset: Dataset
    data: TrainingData

    def questions(self, progress: Progress = NO_PROGRESS) -> Questions:
        """With the service's shipped ranker weights, which the hints are made with."""
        return questions_of(self.scenes(progress))

    def scenes(self, progress: Progress = NO_PROGRESS) -> Scenes:
        return Scenes(self.dataset.tools, self._documents(progress))

    def _documents(self, progress: Progress) -> Mapping[str, NDArray[np.float32]]:
        """The documents' vectors, by tool; computed where the benchmark was imported, not built."""
        file = self.directory / "vectors" / "document.npy"
        if file.exists():
            names = [row["tool_name"] for row in read_rows(self.directory / "understand" / UNDERSTOOD)]
            return dict(zip(names, load_vectors(file), strict=True))
        tools = self.dataset.tools
        progress.start("Embedding tools", len(tools))
        return dict(zip(tools, embed([retrieval_text(each) for each in tools.values()], progress.advance), strict=True))


def questions_of(scenes: Scenes) -> Questions:
    return Questions(scenes, PreferenceRanker(load_weights()))


def open_benchmark(directory: Path) -> OpenedBenchmark:
    """Of a folder that `petool-train benchmark build` or `import` filled. SetupError where it is not whole."""
    manifest = read_manifest(directory / "dataset")
    settings = manifest["settings"]
    config, seed = "published", 0
    if "name" in settings:
        config, seed = settings["name"], settings["seed"]
    return OpenedBenchmark(
        directory, read_dataset(directory / "dataset"), TrainingData(config, seed, digest(manifest["outputs"]))
    )
