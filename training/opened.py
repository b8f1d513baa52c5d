"""A finished benchmark, with what is needed to ask a model its instances."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.inference.manifests import TrainingData
from app.retrieval.intents import intents
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.ranker_weights import load_weights
from app.retrieval.texts import retrieval_text
from training.benchmark.dataset import Dataset, read_dataset, read_rows
from training.benchmark.systems import Scenes
from training.benchmark.understand import UNDERSTOOD
from training.benchmark.vectors import load_vectors, save_vectors
from training.embedding import embed
from training.questions import Questions
from training.stages import NO_PROGRESS, Progress, digest, read_manifest, told


@dataclass(frozen=True)
class OpenedBenchmark:
    directory: Path
    dataset: Dataset
    data: TrainingData

    def questions(self, progress: Progress = NO_PROGRESS) -> Questions:
        """With the service's shipped ranker weights, which the hints are made with."""
        return questions_of(self.scenes(progress))

    def scenes(self, progress: Progress = NO_PROGRESS) -> Scenes:
        """With the instructions' vectors, which are computed once and kept in the benchmark's folder."""
        return Scenes(self.dataset.tools, self._documents(progress), self._queries(progress))

    def _queries(self, progress: Progress) -> Mapping[str, NDArray[np.float32]]:
        instructions = list(dict.fromkeys(instance.instruction for instance in self.dataset.instances))
        texts = [intents(each) for each in instructions]
        ends = np.cumsum([0, *map(len, texts)])
        path = self.directory / f"queries-{digest([list(each) for each in texts])[:16]}.npy"
        if not path.exists():
            progress.start("Embedding instructions", int(ends[-1]))
            vectors = embed([text for of_one in texts for text in of_one], progress.advance)
            with told(path):
                # Two processes that do so at once write the same: whole, whoever is last.
                partial = self.directory / f".{os.getpid()}-{path.name}"
                save_vectors(partial, vectors)
                partial.replace(path)
        vectors = load_vectors(path)
        return {each: vectors[ends[place] : ends[place + 1]] for place, each in enumerate(instructions)}

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
