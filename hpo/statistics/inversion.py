"""The interval that belongs to the sign-flip test: every shift that the test does not reject.

For a shift delta below the mean, a pattern that flips the pairs of a set S is as extreme as the data just when the mean of
d over S, or over the pairs outside S, is at most delta. Every nonempty set counts once for each of the two, so that

    p(delta) = 2 (1 + number of nonempty S whose mean is at most delta) / 2**n,

and likewise above the mean. The shifts with p > alpha are therefore a closed interval whose ends are order statistics of
the 2**n - 1 subset means, number floor(alpha 2**(n-1)) from below and from above, whatever ties there are.

References:
    Hartigan, Using subsample values as typical values, JASA 64 (1969). Maritz, Distribution-Free Statistical Methods
    (1981), section 2.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hpo.statistics.arrays import Floats, canonical_interval, check_alpha, exponent, finite, one_dimensional
from hpo.statistics.interval import Interval
from hpo.statistics.signflip import ENUMERATION_MAX_N, RESAMPLES, resampled_patterns, scaled_tolerance

_TABLE_MAX_CELLS = 4_000_000


def sign_flip_interval(differences: ArrayLike, *, alpha: float = 0.05) -> Interval | None:
    """Return the closed interval of all delta with sign_flip_p(differences - delta) > alpha.

    >>> sign_flip_interval([1, 2, 3, 4, 5])
    Interval(low=None, high=None)
    >>> sign_flip_interval([1, 2, 3, 4, 5, 6])
    Interval(low=1.0, high=6.0)

    Args:
        differences: shape (n,). To n = 20 the subset means are enumerated. Above, integers get the same from the joint
            distribution of size and sum of a subset, by convolution; floats (and integers too large for a table of 4
            million cells) get the exact inversion of the resampled test, with the same seeded patterns as
            `sign_flip_p`. In every case 0 lies inside just when that p exceeds alpha, float ties included.
        alpha: two-sided level.

    Returns:
        None for n = 1; both ends are None (unbounded) where n < 1 + log2(1 / alpha).

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; alpha outside (0, 1).
    """
    check_alpha(alpha)
    array = one_dimensional(differences, "differences")
    values = finite(array, "differences")
    if array.dtype.kind in "iu" and len(values) > ENUMERATION_MAX_N:
        found = integer_interval(array.tolist(), alpha)
        if found is not None:
            return found
    return float_interval(values, np.abs(values), alpha)


def float_interval(differences: Floats, magnitude: Floats, alpha: float) -> Interval | None:
    """Enumerate, or resample above n = 20; `magnitude` holds the sizes of the numbers whose rounding the sums carry.

    Two sums that differ by t tie where the subset that tells them apart has a sum within t / 2 of 0; it then has mean 0.
    """
    n = len(differences)
    if n == 1:
        return None
    half_tolerance = scaled_tolerance(magnitude, exponent(differences)) / 2
    if n <= ENUMERATION_MAX_N:
        return canonical_interval(differences, lambda values: _enumerated(values, half_tolerance, alpha))
    return canonical_interval(differences, lambda values: _resampled(values, half_tolerance, alpha))


def integer_interval(differences: Sequence[int], alpha: float) -> Interval | None:
    """Count the subsets of each size and sum; None where their table would be too large.

    The counts are kept as shares of 2**n, which are exact to n = 52; beyond, their relative error stays below n ulp.
    """
    n, smallest = len(differences), min(differences)
    divisor = math.gcd(*(value - smallest for value in differences)) or 1
    steps = sorted((value - smallest) // divisor for value in differences)
    total = sum(steps)
    if (n + 1) * (total + 1) > _TABLE_MAX_CELLS:
        return None
    shares = np.zeros((n + 1, total + 1))
    shares[0, 0] = 1.0
    for step in steps:
        shares[1:, step:] += shares[:-1, : total + 1 - step]
        shares *= 0.5
    sizes, sums = np.nonzero(shares[1:])
    sizes += 1
    weights = shares[sizes, sums]
    means = (sums * float(divisor) + sizes * float(smallest)) / sizes
    order = np.argsort(means, kind="stable")
    means, weights = means[order], weights[order]
    return Interval(_reached(means, weights, n, alpha), _reached(means[::-1], weights[::-1], n, alpha))


def _reached(means: Floats, weights: Floats, n: int, alpha: float) -> float | None:
    """Return the first mean at which p exceeds alpha; None where it does so before any."""
    identity = math.ldexp(1.0, -n)
    if 2 * identity > alpha:
        return None
    inside = 2 * (identity + np.cumsum(weights)) > alpha
    return float(means[np.argmax(inside)])


def _enumerated(values: Floats, half_tolerance: float, alpha: float) -> Interval:
    rank = math.floor(math.ldexp(alpha, len(values) - 1))
    if rank == 0:
        return Interval(None, None)
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in values:
        sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    return _ends(_means(sums[1:], sizes[1:], half_tolerance), rank, values)


def _resampled(values: Floats, half_tolerance: float, alpha: float) -> Interval:
    """Invert the test that draws its patterns: each pattern is as extreme as the data from one shift on, on either side."""
    n = len(values)
    total = float(values.sum())
    rank = math.floor(alpha * (RESAMPLES + 1))
    if rank == 0:
        return Interval(None, None)
    lows, highs = [], []
    for patterns in resampled_patterns(n):
        sums, sizes = patterns @ values, patterns.sum(axis=1)
        trivial = (sizes == 0) | (sizes == n)
        inside = _means(sums, np.where(trivial, 1, sizes), half_tolerance)
        outside = _means(total - sums, np.where(trivial, 1, n - sizes), half_tolerance)
        lows.append(np.where(trivial, -np.inf, np.minimum(inside, outside)))
        highs.append(np.where(trivial, np.inf, np.maximum(inside, outside)))
    low = _ends(np.concatenate(lows), rank, values).low
    high = _ends(np.concatenate(highs), rank, values).high
    return Interval(low, high)


def _means(sums: Floats, sizes: Floats, half_tolerance: float) -> Floats:
    return np.where(np.abs(sums) <= half_tolerance, 0.0, sums) / sizes


def _ends(means: Floats, rank: int, values: Floats) -> Interval:
    """Return the order statistics of this rank from below and from above; None where no float says them.

    A mean lies among the values that it is of; rounding may put it an ulp beyond.
    """
    below, above = (float(np.partition(side, rank - 1)[rank - 1]) for side in (means, -means))
    low, high = (min(max(end, float(values.min())), float(values.max())) for end in (below, -above))
    return Interval(low if math.isfinite(below) else None, high if math.isfinite(above) else None)
