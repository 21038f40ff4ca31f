"""How far a share can be trusted: Wilson intervals, mean and spread over folds. Shares in percent."""

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev

Z95 = 1.959964  # two-sided 95 % of the normal distribution


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval, in percent, of a share (0 to 1) seen in n trials. `share * n` need not be whole."""
    assert n > 0, "a share of nothing"
    assert 0 <= share <= 1, f"{share} is no share"
    middle = (share + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 / (1 + Z95**2 / n) * sqrt(share * (1 - share) / n + Z95**2 / (4 * n * n))
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    return fmean(values), stdev(values) if len(values) > 1 else 0.0
