"""The model's choice and the preference ranker's, combined."""

import math
from collections.abc import Mapping, Sequence

_SCALE = 0.1
"""Ranker scores that differ by this much weigh as much as probabilities that differ by a factor of e."""
_NOISE = 0.05
"""Of log-probabilities that two passes of a model give: the likelier of two by less is not told apart."""


def choice_logprobs(
    told: Mapping[int, float] | None, labels: Sequence[int], chosen: int | None = None
) -> list[float] | None:
    """The log-probability of each label's token, in their order; None where not all are `told`, or there are no labels.

    `chosen`: which of them the answer names. Where that is not the likeliest, what was told is of another place in the
    answer that looks like a label, the choice itself having been written in other tokens: None too.
    """
    if not told or not labels or any(label not in told for label in labels):
        return None
    logprobs = [told[label] for label in labels]
    if chosen is not None and logprobs[chosen] < max(logprobs) - _NOISE:
        return None
    return logprobs


def probabilities(logprobs: Sequence[float]) -> list[float]:
    """Of log-probabilities over more than these alternatives, the probabilities among these."""
    highest = max(logprobs)
    weights = [math.exp(value - highest) for value in logprobs]
    total = sum(weights)
    return [weight / total for weight in weights]


def fused(logprobs: Sequence[float], scores: Sequence[float], weight: float) -> list[float]:
    """`(1 - weight) * log p(candidate) + weight * score(candidate) / 0.1`: the highest is the choice.

    `weight` 0 is the model alone, 1 the ranker alone. A product of experts: both are read as log-probabilities up to a
    constant, so that either can veto what it is sure of.
    """
    return [(1 - weight) * logprob + weight * score / _SCALE for logprob, score in zip(logprobs, scores, strict=True)]
