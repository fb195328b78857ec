"""How often exact tests reject although nothing differs, and whether an interval holds the truth."""

import math

import numpy as np

from hpo.calibrate.simulations.rows import ALPHA
from hpo.statistics.interval import Interval


def sign_flip_size(n: int) -> float:
    """Return how often the exact sign-flip test of n pairs without ties rejects: the multiple of 2 / 2**n below alpha."""
    return math.floor(math.ldexp(ALPHA, n - 1)) / math.ldexp(1.0, n - 1)


def signed_rank_size(n: int) -> float:
    """Return how often the exact signed-rank test of n pairs without ties rejects."""
    patterns = np.ones(1)
    for rank in range(1, n + 1):
        patterns = np.convolve(patterns, [1.0] + [0.0] * (rank - 1) + [1.0])
    levels = 2 * np.cumsum(patterns) / 2**n
    return max((float(level) for level in levels if level <= ALPHA), default=0.0)


def holds(interval: Interval | None, truth: float) -> bool:
    """Return whether the interval holds the truth; one that is not given does not."""
    return interval is not None and truth in interval
