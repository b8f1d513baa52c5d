"""The preference ranker: which of the tools that can do the job this user would want, and why.

score(tool) = relevance(instruction, tool) + weight * preference(user, tool)

The preference, -1 to 1, adds three kinds of evidence (docs/ranking.md): what became of this very tool, of its
provider's other tools, and how near its attributes are to those of the tools in the history. An interaction
counts positive or negative by its rating, and in `chronological` the more the later it is.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from app.domain import Candidate, Evidence, HistorySetting, Interaction, Rating, Tool

Vector = NDArray[np.float32]


@dataclass(frozen=True)
class RankerWeights:
    """Defaults by judgement, checked on the demo data (`make bench-personalization`); the service takes those that were
    fitted from them on PEToolBench (`app.retrieval.ranker_weights`)."""

    preference: float = 0.2
    """Of a whole preference point against the relevance, whose range is 0 to 1."""
    same_tool: float = 1.0
    same_tool_disliked: float = 2.0
    """Being told not to use a tool outweighs a taste that speaks for it."""
    same_provider: float = 0.4
    attributes: float = 1.0
    attribute_scale: float = 0.06
    """Difference of mean cosine similarity that counts as a clear one (tanh 1)."""
    half_life: float = 0.25
    """`chronological`: an interaction this share of the history older than another counts half as much."""
    unrated: float = 0.5
    """`rating_integrated`: use without a word is a weaker sign than a liking."""


@dataclass(frozen=True)
class ToolSignature:
    """What of a tool the preference looks at."""

    name: str
    provider: str
    attributes: Vector
    """(d,), L2-normalised."""


@dataclass(frozen=True)
class Profile:
    """A user's history, condensed once for all the calls until it changes."""

    setting: HistorySetting
    """The one applied, never `auto`."""
    interactions: tuple[Interaction, ...] = ()
    weights: Vector = field(default_factory=lambda: np.zeros(0, np.float32))
    """(n,): the sign and strength of each interaction."""
    attributes: Vector = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    """(n, d)."""
    direction: Vector | None = None
    """(d,): the weighted mean of `attributes`; None without history."""
    confidence: float = 0.0
    by_tool: Mapping[str, "Tally"] = field(default_factory=dict)
    by_provider: Mapping[str, "Tally"] = field(default_factory=dict)

    @cached_property
    def towards(self) -> Vector | None:
        """(d,): mean attributes of what was liked, in `chronological` of what was lately used; None without any."""
        return _mean(np.clip(self.weights, 0, None), self.attributes)

    @cached_property
    def away(self) -> Vector | None:
        """(d,): mean attributes of what was disliked, in `chronological` of what was left behind."""
        if self.setting is HistorySetting.CHRONOLOGICAL:
            return _mean(np.clip(1 - self.weights, 0, None), self.attributes)
        return _mean(np.clip(-self.weights, 0, None), self.attributes)


@dataclass
class Tally:
    """The interactions with one tool, or with one provider's tools."""

    total: float = 0.0
    """Sum of their weights."""
    size: float = 0.0
    """Sum of the sizes of their weights."""
    positions: list[int] = field(default_factory=list)
    """Which of the profile's interactions they are."""


_NO_TALLY = Tally()


def applied_setting(asked: HistorySetting, interactions: Sequence[Interaction]) -> HistorySetting:
    """`auto` is decided by what the history holds; an empty history is `none`."""
    if not interactions or asked is HistorySetting.NONE:
        return HistorySetting.NONE
    if asked is not HistorySetting.AUTO:
        return asked
    ratings = {interaction.rating for interaction in interactions}
    if Rating.DISLIKED in ratings:
        return HistorySetting.RATING_INTEGRATED
    # Without a dislike the order of time is what can tell a change of mind.
    return HistorySetting.PREFERRED_ONLY if ratings == {Rating.LIKED} else HistorySetting.CHRONOLOGICAL


class PreferenceRanker:
    def __init__(self, weights: RankerWeights | None = None) -> None:
        self._weights = weights or RankerWeights()

    def profile(
        self, setting: HistorySetting, interactions: Sequence[Interaction], signatures: Mapping[str, ToolSignature]
    ) -> Profile:
        """`interactions` oldest first; those whose tool has no signature do not count. `setting` may be `auto`."""
        setting = applied_setting(setting, interactions)
        if setting is HistorySetting.NONE:
            return Profile(setting)
        counted = [item for item in interactions if item.tool_call.tool_name in signatures]
        if setting is HistorySetting.PREFERRED_ONLY:
            counted = [item for item in counted if item.rating is not Rating.DISLIKED]
        if not counted:
            return Profile(HistorySetting.NONE)
        weights = self._interaction_weights(setting, counted)
        of = [signatures[item.tool_call.tool_name] for item in counted]
        attributes = np.stack([signature.attributes for signature in of])
        total = float(np.abs(weights).sum())
        return Profile(
            setting,
            tuple(counted),
            weights,
            attributes,
            direction=(weights @ attributes / total).astype(np.float32),
            # A first interaction moves the choice less than a habit does.
            confidence=total / (total + 1.0),
            by_tool=_tallies([signature.name for signature in of], weights),
            by_provider=_tallies([provider_key(signature.provider) for signature in of], weights),
        )

    def rank(
        self, relevances: Sequence[float], tools: Sequence[Tool], attributes: Vector, profile: Profile
    ) -> list[Candidate]:
        """Best first. `attributes` (m, d): the tools' attribute vectors; `relevances` 0 to 1."""
        if profile.direction is None:
            preferences = np.zeros(len(tools), np.float32)
        else:
            preferences = self._preferences(relevances, tools, attributes, profile)
        candidates = [
            Candidate(tool, relevance + self._weights.preference * float(preference), relevance, float(preference))
            for tool, relevance, preference in zip(tools, relevances, preferences, strict=True)
        ]
        return sorted(candidates, key=lambda candidate: (-candidate.score, candidate.tool.name))

    def evidence(
        self, chosen: int, relevances: Sequence[float], tools: Sequence[Tool], attributes: Vector, profile: Profile,
        limit: int = 5,
    ) -> list[Evidence]:  # fmt: skip
        """The interactions that moved the choice of `tools[chosen]` most, strongest first."""
        if profile.direction is None or not tools:
            return []
        tool, weights = tools[chosen], profile.weights
        contrast = attributes[chosen] - _centre(relevances, attributes)
        nearness = float(contrast @ profile.direction) / self._weights.attribute_scale
        # Parts of what is squashed, squashed alike: they add up to what the ranking counted.
        squashed = np.tanh(nearness) / nearness if abs(nearness) > 1e-6 else 1.0
        share = self._weights.attributes * profile.confidence * squashed / self._weights.attribute_scale
        effects = share * weights * (profile.attributes @ contrast) / float(np.abs(weights).sum())
        reasons = self._add_direct(effects, tool, profile)
        strongest = np.argsort(-np.abs(effects), kind="stable")[:limit].tolist()
        return [
            Evidence(profile.interactions[at], float(effects[at]), reasons.get(at, "similar_attributes"))
            for at in strongest
            if abs(effects[at]) >= 0.005
        ]

    def _add_direct(self, effects: Vector, tool: Tool, profile: Profile) -> dict[int, str]:
        """Add what interactions count because they are with this tool or its provider; which did, and why."""
        own, provider = self._tallies_of(tool, profile)
        reasons = {}
        for at in own.positions:
            effects[at] += self._of_same_tool(float(profile.weights[at])) / (own.size + 0.5)
            reasons[at] = "same_tool"
        for at in provider.positions:
            if at not in reasons:
                effects[at] += self._weights.same_provider * profile.weights[at] / (provider.size - own.size + 1.0)
                reasons[at] = "same_provider"
        return reasons

    def _of_same_tool(self, weight: float) -> float:
        return weight * (self._weights.same_tool if weight > 0 else self._weights.same_tool_disliked)

    @staticmethod
    def _tallies_of(tool: Tool, profile: Profile) -> tuple[Tally, Tally]:
        """Of the tool itself, and of its provider (the tool included)."""
        own = profile.by_tool.get(tool.name, _NO_TALLY)
        return own, profile.by_provider.get(provider_key(tool.provider), _NO_TALLY) if tool.provider else _NO_TALLY

    def _interaction_weights(self, setting: HistorySetting, interactions: Sequence[Interaction]) -> Vector:
        count = len(interactions)
        weights = np.ones(count, np.float32)
        if setting is HistorySetting.PREFERRED_ONLY:
            return weights
        unrated = self._weights.unrated if setting is HistorySetting.RATING_INTEGRATED else 1.0
        signs = {Rating.LIKED: 1.0, Rating.DISLIKED: -1.0, None: unrated}
        weights *= np.array([signs[interaction.rating] for interaction in interactions], np.float32)
        if setting is HistorySetting.CHRONOLOGICAL:
            age = np.arange(count - 1, -1, -1) / max(count * self._weights.half_life, 1.0)
            weights *= np.exp2(-age).astype(np.float32)
        return weights

    def _preferences(
        self, relevances: Sequence[float], tools: Sequence[Tool], attributes: Vector, profile: Profile
    ) -> Vector:
        assert profile.direction is not None
        contrast = (attributes - _centre(relevances, attributes)) @ profile.direction
        preferences: Vector = (
            self._weights.attributes * profile.confidence * np.tanh(contrast / self._weights.attribute_scale)
        ).astype(np.float32)
        for index, tool in enumerate(tools):
            own, provider = self._tallies_of(tool, profile)
            preferences[index] += self._of_same_tool(own.total) / (own.size + 0.5)
            if provider.size > own.size:
                rest_total, rest_size = provider.total - own.total, provider.size - own.size
                preferences[index] += self._weights.same_provider * rest_total / (rest_size + 1.0)
        self._keep_siblings_in_order(preferences, relevances, tools, profile)
        return np.clip(preferences, -1.0, 1.0)

    @staticmethod
    def _keep_siblings_in_order(
        preferences: Vector, relevances: Sequence[float], tools: Sequence[Tool], profile: Profile
    ) -> None:
        """Of one provider's tools the more relevant is preferred no less, unless it was disliked itself.

        They do different jobs: having liked the 7-day forecast speaks for its provider, not against the provider's
        3-day forecast when that is what the instruction asks for.
        """
        highest: dict[str, float] = {}
        for index in sorted(range(len(tools)), key=lambda index: relevances[index]):
            provider = provider_key(tools[index].provider)
            if provider and profile.by_tool.get(tools[index].name, _NO_TALLY).total >= 0:
                preferences[index] = highest[provider] = max(highest.get(provider, -np.inf), preferences[index])


def _centre(relevances: Sequence[float], attributes: Vector) -> Vector:
    """(d,): the mean attributes of the tools that can do the job: what they share cannot tell them apart."""
    weights = np.exp(8.0 * (np.asarray(relevances, np.float32) - max(relevances)))
    centre: Vector = (weights @ attributes / weights.sum()).astype(np.float32)
    return centre


def _mean(weights: Vector, attributes: Vector) -> Vector | None:
    total = float(weights.sum())
    return (weights @ attributes / total).astype(np.float32) if total > 0 else None


def _tallies(keys: Sequence[str], weights: Vector) -> dict[str, Tally]:
    tallies: dict[str, Tally] = defaultdict(Tally)
    for position, (key, weight) in enumerate(zip(keys, weights.tolist(), strict=True)):
        tally = tallies[key]
        tally.total += weight
        tally.size += abs(weight)
        tally.positions.append(position)
    return dict(tallies)


@lru_cache(maxsize=100_000)
def provider_key(provider: str) -> str:
    return " ".join(provider.casefold().split())
