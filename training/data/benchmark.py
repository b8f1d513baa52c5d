"""A finished benchmark, with what is needed to ask a model its instances."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.model_files.manifest import TrainingData
from app.prompting.formats import PromptFormat
from app.retrieval.matcher import Matcher
from app.retrieval.preferences import PreferenceRanker
from app.retrieval.query import split_sentences
from app.retrieval.ranker_weights import SHIPPED as RANKER
from app.retrieval.ranker_weights import load_weights
from app.retrieval.texts import retrieval_text
from training.common.embedding import embed
from training.common.stages import NO_PROGRESS, Progress, digest, file_hash, read_manifest, told
from training.data.dataset import Dataset, read_dataset, read_rows
from training.data.matchers import Matchers, matcher_files
from training.data.records import Instance
from training.data.systems import Scenes
from training.examples import Questions
from training.petoolbench.stage_2_understand import UNDERSTOOD
from training.petoolbench.vectors import load_vectors, save_vectors


@dataclass(frozen=True)
class OpenedBenchmark:
    directory: Path
    dataset: Dataset
    data: TrainingData

    def questions(self, progress: Progress = NO_PROGRESS, *, format: PromptFormat | None = None) -> Questions:  # noqa: A002
        """With the service's shipped ranker weights, and with the hints of the format (None: the ranker's)."""
        return questions_of(self.scenes(progress), self.matcher_of(format))

    def matcher_of(self, format: PromptFormat | None) -> Callable[[Instance], Matcher] | None:  # noqa: A002
        """Whose hints an instance gets; None in formats whose hints are the ranker's, or that have none."""
        if format is None or not format.matched:
            return None
        return Matchers.load(self.directory).of

    def scenes(self, progress: Progress = NO_PROGRESS) -> Scenes:
        """With the instructions' vectors, which are computed once and kept in the benchmark's folder."""
        return Scenes(self.dataset.tools, self._documents(progress), self._queries(progress))

    def hints_digest(self, format: PromptFormat) -> str:  # noqa: A002
        """Of the weights that the hints of the training part come from."""
        files = matcher_files(self.directory) if format.matched else [RANKER]
        return digest([file_hash(file) for file in files])

    def _queries(self, progress: Progress) -> Mapping[str, NDArray[np.float32]]:
        return self.intents_of([instance.instruction for instance in self.dataset.instances], progress)

    def intents_of(
        self, instructions: Iterable[str], progress: Progress = NO_PROGRESS
    ) -> Mapping[str, NDArray[np.float32]]:
        """(i, d) of each instruction's intents, computed once and kept in the benchmark's folder."""
        distinct = list(dict.fromkeys(instructions))
        texts = [split_sentences(each) for each in distinct]
        ends = np.cumsum([0, *map(len, texts)])
        path = self.directory / f"queries-{digest([list(each) for each in texts])[:16]}.npy"
        if not path.exists():
            progress.start("Embedding instructions", int(ends[-1]))
            vectors = embed([text for of_one in texts for text in of_one], progress.advance)
            if not self.directory.is_dir():
                return {each: vectors[ends[place] : ends[place + 1]] for place, each in enumerate(distinct)}
            with told(path):
                # Two processes that do so at once write the same: whole, whoever is last.
                partial = self.directory / f".{os.getpid()}-{path.name}"
                save_vectors(partial, vectors)
                partial.replace(path)
        vectors = load_vectors(path)
        return {each: vectors[ends[place] : ends[place + 1]] for place, each in enumerate(distinct)}

    def _documents(self, progress: Progress) -> Mapping[str, NDArray[np.float32]]:
        """The documents' vectors, by tool; computed where the benchmark was imported, not built."""
        file = self.directory / "vectors" / "document.npy"
        if file.exists():
            names = [row["tool_name"] for row in read_rows(self.directory / "understand" / UNDERSTOOD)]
            return dict(zip(names, load_vectors(file), strict=True))
        tools = self.dataset.tools
        progress.start("Embedding tools", len(tools))
        return dict(zip(tools, embed([retrieval_text(each) for each in tools.values()], progress.advance), strict=True))


def questions_of(scenes: Scenes, matcher_of: Callable[[Instance], Matcher] | None = None) -> Questions:
    return Questions(scenes, PreferenceRanker(load_weights()), matcher_of)


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
