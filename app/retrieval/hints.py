"""What the ranker can tell a language model of the candidates and of the history, as numbers that a prompt can hold."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from app.domain import Candidate, Hints
from app.retrieval.preferences import Profile, Tally, Vector, provider_key

_FIT_STEP = 0.05
"""Of relevance, 0 to 1: so far behind the best is one digit less."""
_LAST = 9
_SAME_TOOL, _SAME_PROVIDER = 0.3, 0.15
"""Added to a cosine similarity, of which 0.06 is a clear difference (`RankerWeights.attribute_scale`)."""


def with_hints(candidates: Sequence[Candidate], attributes: Vector, profile: Profile) -> list[Candidate]:
    """The candidates in their order, each with `hints`. `attributes` (m, d): their attribute vectors."""
    best = max((candidate.relevance for candidate in candidates), default=0.0)
    liked = _ranks(_nearness(candidates, attributes, profile, profile.towards, liked=True), len(candidates))
    disliked = _ranks(_nearness(candidates, attributes, profile, profile.away, liked=False), len(candidates))
    return [
        replace(candidate, hints=Hints(max(0, _LAST - round((best - candidate.relevance) / _FIT_STEP)), near, far))
        for candidate, near, far in zip(candidates, liked, disliked, strict=True)
    ]


def interaction_relevance(attributes: Vector, profile: Profile) -> list[float]:
    """For each of the profile's interactions its nearness to the nearest candidate, -1 to 1 (`attributes` as above)."""
    if not profile.interactions:
        return []
    nearness: list[float] = (profile.attributes @ attributes.T).max(axis=1).tolist()
    return nearness


def _nearness(
    candidates: Sequence[Candidate], attributes: Vector, profile: Profile, direction: Vector | None, *, liked: bool
) -> Vector | None:
    """(m,): to what the user liked, or to what they disliked; None where the history has none of it."""
    if direction is None:
        return None
    nearness: Vector = attributes @ direction
    for index, candidate in enumerate(candidates):
        if _speaks(profile.by_tool.get(candidate.tool.name), liked):
            nearness[index] += _SAME_TOOL
        elif _speaks(profile.by_provider.get(provider_key(candidate.tool.provider)), liked):
            nearness[index] += _SAME_PROVIDER
    return nearness


def _speaks(tally: Tally | None, liked: bool) -> bool:
    return tally is not None and (tally.total > 0 if liked else tally.total < 0)


def _ranks(nearness: Vector | None, count: int) -> list[int]:
    """0 for the nearest. Equals share the better rank: nothing tells them apart."""
    if nearness is None:
        return [_LAST] * count
    rounded = np.round(nearness, 4)
    return [min(_LAST, int((rounded > own).sum())) for own in rounded]
