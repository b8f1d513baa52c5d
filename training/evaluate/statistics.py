"""Intervals of shares, and whether two systems differ on the same instances."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from scipy.stats import binomtest

_Z = 1.959963984540054
"""Standard errors on each side of a 95% interval."""
_RESAMPLES = 10_000


@dataclass(frozen=True)
class Share:
    """How many instances of how many, with Wilson's 95% interval."""

    hits: int
    count: int

    @property
    def percent(self) -> float:
        return 100 * self.hits / self.count if self.count else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper bound, percent."""
        if not self.count:
            return 0.0, 100.0
        share, z2 = self.hits / self.count, _Z**2
        middle = (share + z2 / (2 * self.count)) / (1 + z2 / self.count)
        half = _Z * sqrt(share * (1 - share) / self.count + z2 / (4 * self.count**2)) / (1 + z2 / self.count)
        # At the ends rounding may leave the share itself outside.
        return min(self.percent, max(0.0, 100 * (middle - half))), max(self.percent, min(100.0, 100 * (middle + half)))


@dataclass(frozen=True)
class PairedTest:
    """Two systems on the same instances."""

    count: int
    only_first: int
    """Instances that only the first has right."""
    only_second: int
    difference: float
    """First less second, percentage points."""
    interval: tuple[float, float]
    """Of the difference, 95%, by resampling the instances."""
    p: float
    """Of McNemar's exact test, two-sided: how likely a split of the discordant instances at least as uneven would be,
    were the systems equally good."""


def paired_test(first: Sequence[bool], second: Sequence[bool]) -> PairedTest:
    """Compare two systems by their hits, in the same order of instances. Raises ValueError where there are none."""
    pairs = list(zip(first, second, strict=True))
    if not pairs:
        raise ValueError("two systems are compared on the instances that both answered, and there are none")
    count = len(pairs)
    only_first, only_second = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    discordant = only_first + only_second
    p = float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    difference = 100 * (only_first - only_second) / count
    return PairedTest(
        count, only_first, only_second, difference, _resampled_interval(only_first, only_second, count), p
    )


def _resampled_interval(only_first: int, only_second: int, count: int) -> tuple[float, float]:
    """Percentiles of the difference over resamples of the instances, of which only the three kinds matter."""
    shares = [only_first / count, only_second / count, (count - only_first - only_second) / count]
    # The same draws every time: a report is the same for the same answers.
    drawn = np.random.default_rng(0).multinomial(count, shares, _RESAMPLES)
    low, high = np.percentile(100 * (drawn[:, 0] - drawn[:, 1]) / count, [2.5, 97.5])
    return float(low), float(high)
