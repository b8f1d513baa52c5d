"""The model's choice and the preference ranker's, combined."""

import math
from collections.abc import Sequence

_SCALE = 0.1
"""Ranker scores that differ by this much weigh as much as probabilities that differ by a factor of e."""


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
