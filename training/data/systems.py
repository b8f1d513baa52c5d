"""Systems without a language model on the benchmark's instances, and an oracle.

Every system sees what it would see in service: documents, instruction, history. Candidates are ranked by the service's
own retrieval, functional fit and preference ranker, so these rows are what the service would do without a model.
The oracle knows what the documents mean (for our own catalogue the true attributes, for others what was understood of
them), which tools share the answer's functionality, and nothing of the user that the history does not show.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from app.domain import HistorySetting, Interaction, Json, Rating, Tool
from app.retrieval.functional_fit import functional_fit
from app.retrieval.preferences import PreferenceRanker, Profile, RankerWeights, ToolSignature, provider_key
from app.retrieval.query import Query, split_sentences
from app.retrieval.snapshot import CatalogueSnapshot, Retrieval
from training.common.embedding import Vectors, embed
from training.common.stages import NO_PROGRESS, Progress
from training.data.records import Instance
from training.data.truth import Truth
from training.petoolbench.stage_4_preferences import history_weights

WIDTH = 50
"""Tools that the service retrieves before it ranks (`retrieval_width`)."""
_Z = 1.96
"""Of a 95% confidence interval."""


@dataclass(frozen=True, eq=False)
class Scene:
    """An instance as a system without a model sees it."""

    instance: Instance
    found: Retrieval
    """The candidates, most relevant first."""

    @property
    def group(self) -> set[str]:
        return {self.instance.answer.tool_name, *self.instance.same_function}


Chooser = Callable[[Scene], str]


class Scenes:
    """Turns instances into scenes; holds what all of them share."""

    def __init__(
        self,
        tools: Mapping[str, Tool],
        documents: Mapping[str, NDArray[np.float32]],
        queries: Mapping[str, Vectors] | None = None,
    ) -> None:
        """`documents`: the tools' vectors. `queries`: those of instructions' sentences, as far as they are known."""
        names = sorted(tools)
        self._snapshot = CatalogueSnapshot.build(
            [tools[name] for name in names], np.stack([documents[name] for name in names]), 1
        )
        self._queries = dict(queries or {})
        self.signatures = {name: ToolSignature(name, tools[name].provider, documents[name]) for name in names}

    def of(self, instances: Sequence[Instance], progress: Progress = NO_PROGRESS) -> list[Scene]:
        """With the candidates that evaluation gives."""
        return self._scenes(instances, lambda instance: self._snapshot.only(instance.candidates), progress)

    def retrieved(self, instances: Sequence[Instance], progress: Progress = NO_PROGRESS) -> list[Scene]:
        """With the tools that the service would find in the whole catalogue; the right one may not be among them."""
        return self._scenes(instances, lambda _: self._snapshot, progress)

    def _scenes(
        self, instances: Sequence[Instance], where: Callable[[Instance], CatalogueSnapshot], progress: Progress
    ) -> list[Scene]:
        self._embed([instance.instruction for instance in instances], progress)
        progress.start("Retrieving", len(instances))
        scenes = []
        for instance in instances:
            snapshot = where(instance)
            scenes.append(Scene(instance, snapshot.search(self._query(instance), WIDTH)))
            progress.advance(1)
        return scenes

    def _query(self, instance: Instance) -> Query:
        text = instance.instruction
        return Query(text, split_sentences(text), self._queries[text], instance.asked_at)

    def _embed(self, instructions: Sequence[str], progress: Progress) -> None:
        new = [each for each in dict.fromkeys(instructions) if each not in self._queries]
        texts = [split_sentences(each) for each in new]
        progress.start("Embedding instructions", sum(map(len, texts)))
        vectors = embed([text for of_one in texts for text in of_one], progress.advance)
        ends = np.cumsum([0, *map(len, texts)])
        self._queries.update({each: vectors[ends[place] : ends[place + 1]] for place, each in enumerate(new)})


class Systems:
    """What chooses a candidate without a language model."""

    def __init__(self, scenes: Scenes, ranker: PreferenceRanker | None = None, train: Sequence[Instance] = ()) -> None:
        self._signatures = scenes.signatures
        self._ranker = ranker or PreferenceRanker()
        self._right_before = Counter(instance.answer.tool_name for instance in train)

    def retrieval(self, scene: Scene) -> str:
        return scene.found[0].tool.name

    def fit(self, scene: Scene) -> str:
        fit = functional_fit(scene.found)
        return scene.found[int(np.argmax(fit))].tool.name

    def retrieval_in_group(self, scene: Scene) -> str:
        """No history, but told which candidates can do the job."""
        return next(item.tool.name for item in scene.found if item.tool.name in scene.group)

    def similarity_in_group(self, scene: Scene) -> str:
        """Told which candidates can do the job: the one nearest to the mean of the history, whatever it says of it."""
        mean = np.mean(
            [self._signatures[item.tool_call.tool_name].attributes for item in scene.instance.history], axis=0
        )
        rated = zip(scene.found, scene.found.vectors @ mean, strict=True)
        return max((float(near), item.tool.name) for item, near in rated if item.tool.name in scene.group)[1]

    def popular_in_group(self, scene: Scene) -> str:
        """No history, but told which candidates can do the job, and how often each was right in training."""
        return max(sorted(scene.group), key=lambda name: self._right_before[name])

    def provider_in_group(self, scene: Scene) -> str:
        """Told which candidates can do the job: one whose provider the history shows, with the best ratings."""
        signs: Counter[str] = Counter()
        for item in scene.instance.history:
            provider = provider_key(self._signatures[item.tool_call.tool_name].provider)
            signs[provider] += -1 if item.rating is Rating.DISLIKED else 1
        in_group = [item.tool for item in scene.found if item.tool.name in scene.group]
        return max(in_group, key=lambda tool: signs[provider_key(tool.provider)]).name

    def ranker(self, scene: Scene) -> str:
        return self._ranked(scene, self.profile(scene.instance.setting, scene.instance.history))

    def blind(self, scene: Scene) -> str:
        """The ranker, for which every interaction is one with a preferred tool, whatever its rating or its age."""
        unrated = [replace(item, rating=None) for item in scene.instance.history]
        return self._ranked(scene, self.profile(HistorySetting.PREFERRED_ONLY, unrated))

    def profile(self, setting: HistorySetting, history: Sequence[Interaction]) -> Profile:
        return self._ranker.profile(setting, history, self._signatures)

    def _ranked(self, scene: Scene, profile: Profile) -> str:
        return self._ranker.rank(functional_fit(scene.found), scene.found.tools, scene.found.vectors, profile)[
            0
        ].tool.name


class Oracle:
    def __init__(self, meaning: Mapping[str, NDArray[np.float64]]) -> None:
        """`meaning` (d,) of each tool, L2-normalised."""
        self._meaning = meaning

    @classmethod
    def of_truth(cls, truth: Mapping[str, Truth]) -> "Oracle":
        keys = {
            key: place for place, key in enumerate(sorted({key for each in truth.values() for key in each.attributes}))
        }
        meaning = {}
        for name, each in truth.items():
            vector = np.zeros(len(keys))
            vector[[keys[key] for key in each.attributes]] = 1
            meaning[name] = vector / max(1e-9, float(np.linalg.norm(vector)))
        return cls(meaning)

    @classmethod
    def of_vectors(cls, vectors: Mapping[str, NDArray[np.float32]]) -> "Oracle":
        doubled = {name: vector.astype(np.float64) for name, vector in vectors.items()}
        return cls({name: vector / np.linalg.norm(vector) for name, vector in doubled.items()})

    def choose(self, scene: Scene) -> str:
        """Empty where two are equally near: that is no answer."""
        history = scene.instance.history
        weights = history_weights(scene.instance.setting, [item.rating is not Rating.DISLIKED for item in history])
        shown = np.stack([self._meaning[item.tool_call.tool_name] for item in history])
        near = {name: round(float(weights @ (shown @ self._meaning[name])), 9) for name in sorted(scene.group)}
        best = max(near.values())
        leading = [name for name, value in near.items() if value == best]
        return leading[0] if len(leading) == 1 else ""


def accuracy(chooser: Chooser, scenes: Iterable[Scene]) -> dict[str, Json]:
    """Tool accuracy by part and setting, percent, with the half width of its 95% interval (Wilson) and the count."""
    right: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for scene in scenes:
        hit = chooser(scene) == scene.instance.answer.tool_name
        for setting in (scene.instance.setting.value, "all"):
            right[scene.instance.part.value, setting].append(hit)
    result: dict[str, Json] = {}
    for (part, setting), hits in sorted(right.items()):
        result.setdefault(part, {})[setting] = interval(sum(hits), len(hits))
    return result


def interval(hits: int, count: int) -> dict[str, float]:
    share = hits / count
    width = _Z * sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2)) / (1 + _Z**2 / count)
    return {"accuracy": round(100 * share, 2), "plus_minus": round(100 * width, 2), "count": count}


def _chance(scenes: Sequence[Scene]) -> dict[str, Json]:
    """Of a draw among the tools that can do the job."""
    shares: dict[tuple[str, str], list[float]] = defaultdict(list)
    for scene in scenes:
        for setting in (scene.instance.setting.value, "all"):
            shares[scene.instance.part.value, setting].append(1 / len(scene.group))
    result: dict[str, Json] = {}
    for (part, setting), values in sorted(shares.items()):
        result.setdefault(part, {})[setting] = {
            "accuracy": round(100 * float(np.mean(values)), 2), "plus_minus": 0.0, "count": len(values)
        }  # fmt: skip
    return result


def systems_table(
    scenes: Sequence[Scene], shared: Scenes, oracle: Oracle, train: Sequence[Instance]
) -> dict[str, Json]:
    """Accuracy of every system, by its name in reports."""
    systems = Systems(shared, PreferenceRanker(RankerWeights()), train)
    choosers: dict[str, Chooser] = {
        "retrieval alone": systems.retrieval,
        "functional fit alone": systems.fit,
        "no history, job known": systems.retrieval_in_group,
        "right most often in train, job known": systems.popular_in_group,
        "provider in the history, job known": systems.provider_in_group,
        "plain similarity, job known": systems.similarity_in_group,
        "ranker, blind to ratings and time": systems.blind,
        "preference ranker": systems.ranker,
        "oracle": oracle.choose,
    }
    table = {name: accuracy(chooser, scenes) for name, chooser in choosers.items()}
    return {"chance, job known": _chance(scenes), **table}
