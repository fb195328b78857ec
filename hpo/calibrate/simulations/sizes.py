"""The sizes of exact tests, and whether an interval contains the truth."""

import math

import numpy as np

from hpo.calibrate.simulations.rows import ALPHA
from hpo.statistics.interval import Interval


def sign_flip_size(n: int) -> float:
    """Return the size of the exact sign-flip test of n pairs without ties: the largest multiple of 2 / 2**n up to alpha."""
    return math.floor(math.ldexp(ALPHA, n - 1)) / math.ldexp(1.0, n - 1)


def signed_rank_size(n: int) -> float:
    """Return the size of the exact signed-rank test of n pairs without ties."""
    patterns = np.ones(1)
    for rank in range(1, n + 1):
        patterns = np.convolve(patterns, [1.0] + [0.0] * (rank - 1) + [1.0])
    levels = 2 * np.cumsum(patterns) / 2**n
    return max((float(level) for level in levels if level <= ALPHA), default=0.0)


def holds(interval: Interval | None, truth: float) -> bool:
    """Return whether the interval contains the truth; a missing interval does not."""
    return interval is not None and truth in interval
