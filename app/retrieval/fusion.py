"""Dense and lexical evidence of an instruction's sentences -> one relevance a tool."""

import numpy as np
from numpy.typing import NDArray

LEXICAL_WEIGHT = 1.0
"""Weight of the best lexical match of a request, against a cosine of 1."""
PROVIDER_SHARE = 0.3
"""Share of the relevance that comes from how well the tool's provider serves the instruction as a whole."""
PROVIDER_POWER = 4.0
"""Exponent of the power mean over sentences: between the mean (1) and the best sentence (infinity)."""


class Providers:
    """Which rows have the same provider, laid out so that a maximum over each provider is one pass."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        _, self._group = np.unique(ids, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.flatnonzero(np.diff(self._group[self._order], prepend=-1))

    def best(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Best value of each row's provider: (..., n) -> (..., providers)."""
        best: NDArray[np.float32] = np.maximum.reduceat(values[..., self._order], self._starts, axis=-1)
        return best

    def spread(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values by provider back to rows: (providers,) -> (n,)."""
        return values[self._group]


def relevance(
    dense: NDArray[np.float32], lexical: NDArray[np.float32], providers: Providers
) -> NDArray[np.float32]:
    """Relevance of n tools, each in [0, 1] and comparable within this request: (n,).

    `dense` (cosines) and `lexical` (BM25F, unbounded) are (m, n): a row for each of `intents`, the last for the whole
    instruction. Half of the evidence is the tool's best sentence, half the whole instruction.
    """
    if dense.shape[1] == 0:
        return np.zeros(0, np.float32)
    strongest = max(float(lexical.max()), 1e-6)
    evidence = np.clip((dense + (LEXICAL_WEIGHT / strongest) * lexical) / (1 + LEXICAL_WEIGHT), 0, 1)
    by_provider = providers.best(evidence)
    own = (evidence[:-1].max(0) + evidence[-1]) / 2 if len(evidence) > 1 else evidence[0]
    sentences = by_provider[:-1] if len(evidence) > 1 else by_provider
    served = ((sentences**PROVIDER_POWER).mean(0) ** (1 / PROVIDER_POWER) + by_provider[-1]) / 2
    combined = (1 - PROVIDER_SHARE) * own + PROVIDER_SHARE * providers.spread(served)
    return combined.astype(np.float32)
