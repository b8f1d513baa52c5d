"""Dense and lexical evidence for an instruction's sentences -> one relevance a tool.

Of a tool's relevance, in shares that add up to one:
own         the tool itself: its best sentence, and the instruction as a whole;
served      its provider: whether that provider's tools, taken together, answer the sentences. What an
            instruction asks for in several sentences often comes from one provider;
leading     how near the tool comes to the best tool of a sentence, so that a request put in words that
            match poorly keeps its tools among those of a request put in words that match well.

All of it is a function of the evidence alone: tools with the same evidence get the same relevance, however
many there are. The constants are round numbers, chosen on a third of the queries of `performance.retrieval`;
half or twice any of the shares moves the mean NDCG@5 by half a point at most.
"""

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]

OWN_SHARE = 0.5
SERVED_SHARE = 0.33
LEADING_SHARE = 0.17


class Providers:
    """Which rows have the same provider, laid out so that the best of each provider is one pass."""

    def __init__(self, ids: NDArray[np.int64]) -> None:
        _, self._group = np.unique(ids, return_inverse=True)
        self._order = np.argsort(self._group, kind="stable")
        self._starts = np.flatnonzero(np.diff(self._group[self._order], prepend=-1))

    def best(self, values: Scores) -> Scores:
        """Best value of each provider: (..., n) -> (..., providers)."""
        best: Scores = np.maximum.reduceat(values[..., self._order], self._starts, axis=-1)
        return best

    def spread(self, values: Scores) -> Scores:
        """Values by provider back to rows: (providers,) -> (n,)."""
        return values[self._group]


def relevance(dense: Scores, lexical: Scores, providers: Providers) -> Scores:
    """Relevance of n tools, in [0, 1] and comparable within one request: (n,).

    `dense` (cosines) and `lexical` (BM25F, unbounded) are (m + 1, n): a row for each of m >= 1 sentences, the last
    for the whole instruction.
    """
    if dense.shape[1] == 0:
        return np.zeros(0, np.float32)
    strongest = max(float(lexical.max()), 1e-6)
    # The best lexical match of the request counts as much as a cosine of 1.
    evidence: Scores = ((dense + lexical / np.float32(strongest)) / 2).clip(0, 1).astype(np.float32, copy=False)
    sentences, whole = evidence[:-1], evidence[-1]
    own = (sentences.max(0) + whole) / 2
    by_provider = providers.best(evidence)
    served = (_power_mean(by_provider[:-1]) + by_provider[-1]) / 2
    leading = (sentences / np.maximum(sentences.max(1, keepdims=True), 1e-6)).max(0)
    total: Scores = OWN_SHARE * own + SERVED_SHARE * providers.spread(served) + LEADING_SHARE * leading
    return total


def _power_mean(values: Scores) -> Scores:
    """Fourth-power mean over sentences, (m, p) -> (p,): near the best, but serving all is more than serving one.

    Sentences that ask for nothing ("I'm planning a party.") so do little harm.
    """
    squared = values * values
    mean: Scores = np.sqrt(np.sqrt((squared * squared).mean(0)))
    return mean
