"""What tools do and what they are like, as learned from a benchmark: the hints that our own model reads.

Linear maps of the embedder's vectors, so that a tool that is in the index needs nothing else: one for instructions and
one for documents, near where a tool does what is asked; one for documents, near where tools have the same
non-functional attributes (paper, section 3.2.1). With them go the retriever's relevance, and how well the instruction
fills a tool's parameters. `petool-train matcher fit` makes the weights (docs/ranking.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from app.domain import Candidate, Hints, HistorySetting, Interaction, Rating
from app.errors import SetupError
from app.retrieval.preferences import Profile, Tally, provider_key

Array = NDArray[np.float32]
SHIPPED = Path(__file__).parents[2] / "models" / "matcher"
WEIGHTS = "matcher.safetensors"
_NAMES = ("queries", "functions", "attributes", "centre", "inputs_1", "inputs_1_bias", "inputs_2", "scales", "history")
_LAST = 9
_NO_SIGN = 0.5
"""`rating_integrated`: what use without a rating counts, against the 1 of a liking (the benchmark rates all)."""
_SAME_TOOL, _SAME_PROVIDER = 6.0, 2.0
"""Nats for having used the very tool, or another of its provider, to good end; less for a bad one. By judgement: the
benchmark's histories never show either."""


@dataclass(frozen=True)
class MatcherWeights:
    """d: of the embedder's vectors; k: of the mapped ones; f: numbers of `app.extraction.input_features`."""

    queries: Array
    """(k, d)"""
    functions: Array
    """(k, d)"""
    attributes: Array
    """(k, d)"""
    centre: Array
    """(d,): taken from a document before its attributes are looked at."""
    inputs_1: Array
    """(h, 3 f)"""
    inputs_1_bias: Array
    """(h,)"""
    inputs_2: Array
    """(h,)"""
    scales: Array
    """(4,): nats of relevance, functional fit, function, attributes."""
    history: Array
    """(3,): what a liking and a dislike count, and by how many nats the oldest counts less (`chronological`)."""


@dataclass(frozen=True)
class Match:
    """Of each of m candidates, in nats."""

    fit: Array
    """(m,): that it does what the instruction asks."""
    taste: Array
    """(m,): that the user wants its kind; 0 without history."""
    aversion: Array
    """(m,): its nearness to what was disliked, or left behind; 0 where there is none of it."""

    @property
    def total(self) -> Array:
        return self.fit + self.taste


class Matcher:
    def __init__(self, weights: MatcherWeights) -> None:
        self._weights = weights

    @classmethod
    def load(cls, directory: Path = SHIPPED) -> "Matcher":
        """Raises SetupError where the weights are not there, or do not fit together."""
        path = directory / WEIGHTS
        try:
            with safe_open(path, framework="np") as file:
                found = {name: file.get_tensor(name).astype(np.float32) for name in _NAMES}
        except (OSError, SafetensorError) as error:
            raise SetupError(
                f"The matcher's weights {path} cannot be read ({error}): fit it again (petool-train matcher fit)."
            ) from error
        return cls(MatcherWeights(**found))

    @property
    def dimension(self) -> int:
        """d"""
        return int(self._weights.centre.shape[0])

    def match(
        self,
        queries: Array,
        documents: Array,
        relevance: Sequence[float],
        functional: Sequence[float],
        inputs: Sequence[Sequence[float]],
        profile: Profile,
    ) -> Match:
        """`queries` (i, d): the embedded intents; `documents` (m, d), `relevance`, `functional` (their
        `functional_fit`) and `inputs` (m, f) of the candidates. All vectors are L2-normalised."""
        weights = self._weights
        function = self._functions(queries, documents)
        fit = (
            weights.scales[0] * np.asarray(relevance, np.float32)
            + weights.scales[1] * np.asarray(functional, np.float32)
            + weights.scales[2] * function
            + self._of_inputs(np.asarray(inputs, np.float32))
        )
        none = np.zeros(len(documents), np.float32)
        if not profile.interactions:
            return Match(fit, none, none)
        near = self._attributes(documents) @ self._attributes(profile.attributes).T
        share, left = self._shares(profile.setting, profile.interactions)
        taste = weights.scales[3] * (near @ share)
        return Match(fit, taste, weights.scales[3] * (near @ left) if left.any() else none)

    def _functions(self, queries: Array, documents: Array) -> Array:
        """(m,): cosine of the intent, or of all of them together, that is nearest."""
        asked = _normalised(with_mean(queries) @ self._weights.queries.T)
        nearest: Array = (_normalised(documents @ self._weights.functions.T) @ asked.T).max(1)
        return nearest

    def _attributes(self, documents: Array) -> Array:
        centred: Array = (documents - self._weights.centre).astype(np.float32)
        return _normalised(centred @ self._weights.attributes.T)

    def _of_inputs(self, inputs: Array) -> Array:
        hidden = relative_inputs(inputs) @ self._weights.inputs_1.T + self._weights.inputs_1_bias
        found: Array = _gelu(hidden) @ self._weights.inputs_2
        return found

    def _shares(self, setting: HistorySetting, interactions: Sequence[Interaction]) -> tuple[Array, Array]:
        """(n,) each: what an interaction counts for the taste, and for the aversion; sizes add up to 1, or to 0."""
        liked, disliked, forgetting = self._weights.history.tolist()
        count = len(interactions)
        taste, left = np.ones(count, np.float32), np.zeros(count, np.float32)
        if setting is HistorySetting.RATING_INTEGRATED:
            signs = {Rating.LIKED: liked, Rating.DISLIKED: disliked, None: _NO_SIGN * liked}
            taste = np.array([signs[each.rating] for each in interactions], np.float32)
            left = np.array([each.rating is Rating.DISLIKED for each in interactions], np.float32)
        elif setting is HistorySetting.CHRONOLOGICAL:
            age = np.arange(count - 1, -1, -1, dtype=np.float32) / count
            taste = np.exp(-forgetting * age)
            left = 1 - taste
        return taste / max(1e-6, float(np.abs(taste).sum())), left / max(1e-6, float(left.sum()))

    def with_hints(self, candidates: Sequence[Candidate], match: Match, profile: Profile) -> list[Candidate]:
        """The candidates, in the order of `match`, with hints: how far behind the best each is (`_bins`)."""
        direct = np.array([_direct(candidate, profile) for candidate in candidates], np.float32)
        fit, liked, overall = _bins(match.fit), _bins(match.taste + direct), _bins(match.total + direct)
        disliked = _bins(match.aversion)
        if not profile.interactions:
            liked = [_LAST] * len(candidates)
        if not match.aversion.any():
            disliked = [_LAST] * len(candidates)
        return [
            replace(candidate, hints=Hints(_LAST - behind, taste, aversion, whole))
            for candidate, behind, taste, aversion, whole in zip(candidates, fit, liked, disliked, overall, strict=True)
        ]


def with_mean(queries: Array) -> Array:
    """(i, d) -> (i + 1, d) where there are several: their mean's direction first."""
    if len(queries) == 1:
        return queries
    return np.concatenate([_normalised(queries.mean(0, keepdims=True)), queries])


def relative_inputs(inputs: Array) -> Array:
    """(m, f) -> (m, 3 f): as they are, and how far from the candidates' highest and lowest."""
    return np.concatenate([inputs, inputs - inputs.max(0), inputs - inputs.min(0)], 1)


def _bins(values: Array) -> list[int]:
    """0 for the highest, to 9: twice the root of the distance to it, so that small ones are told apart."""
    gaps = values.max(initial=-np.inf) - values
    return [min(_LAST, round(2 * float(gap) ** 0.5)) for gap in gaps]


def _direct(candidate: Candidate, profile: Profile) -> float:
    """What the history says of the very tool, or of its provider."""
    own: Tally | None = profile.by_tool.get(candidate.tool.name)
    if own is not None:
        return _SAME_TOOL * own.total / (own.size + 0.5)
    offered = profile.by_provider.get(provider_key(candidate.tool.provider)) if candidate.tool.provider else None
    return _SAME_PROVIDER * offered.total / (offered.size + 1.0) if offered is not None else 0.0


def _normalised(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    found: Array = vectors / np.maximum(lengths, 1e-9)
    return found


def _gelu(values: Array) -> Array:
    """By the hyperbolic tangent, as it was trained."""
    found: Array = 0.5 * values * (1 + np.tanh(np.sqrt(2 / np.pi) * (values + 0.044715 * values**3)))
    return found
