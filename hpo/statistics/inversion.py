"""The interval of the sign-flip test: all shifts that the test does not reject.

For a shift delta below the mean, flipping the pairs in a set S gives a pattern as extreme as the data exactly if the mean of d
over S, or over the pairs outside S, is at most delta. Every nonempty set counts once for each of the two, so that

    p(delta) = 2 (1 + number of nonempty S whose mean is at most delta) / 2**n,

and likewise above the mean. So the shifts with p > alpha form a closed interval. Its ends are order statistics of the 2**n - 1
subset means, number floor(alpha 2**(n-1)) from below and from above, with or without ties.

References:
    Hartigan, Using subsample values as typical values, JASA 64 (1969). Maritz, Distribution-Free Statistical Methods
    (1981), section 2.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from hpo.statistics.arrays import Floats, canonical_interval, check_alpha, exponent, one_dimensional, unscale
from hpo.statistics.interval import Interval
from hpo.statistics.signflip import ENUMERATION_MAX_N, RESAMPLES, resampled_patterns, sign_flip
from hpo.statistics.ties import scale_of, settled_differences, tolerance_of_sums

_TABLE_MAX_CELLS = 4_000_000


def sign_flip_interval(differences: ArrayLike, *, alpha: float = 0.05) -> Interval | None:
    """Return the closed interval of all delta with sign_flip_p(differences - delta) > alpha.

    >>> sign_flip_interval([1, 2, 3, 4, 5])
    Interval(low=None, high=None)
    >>> sign_flip_interval([1, 2, 3, 4, 5, 6])
    Interval(low=1.0, high=6.0)

    Args:
        differences: shape (n,). Up to n = 20 the subset means are enumerated. Above that, integers give the same result from the
            joint distribution of size and sum of a subset, by convolution. Floats (and integers too large for a table of 4
            million cells) invert the test with random patterns, the same patterns as those of `sign_flip`. In every case 0 lies
            outside exactly if the p of `sign_flip` is at most alpha.
        alpha: two-sided level.

    Returns:
        None for n = 1; both ends are None (unbounded) if n < 1 + log2(1 / alpha).

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; alpha outside (0, 1).
    """
    check_alpha(alpha)
    array = one_dimensional(differences, "differences")
    integers = array.tolist() if array.dtype.kind in "iu" else None
    return inverted(settled_differences(array), scale_of(array), alpha, p=sign_flip(array).p, integers=integers)


def inverted(
    differences: Floats,
    scale: float,
    alpha: float,
    *,
    p: float,
    integers: Sequence[int] | None = None,
    unit: float = 1.0,
) -> Interval | None:
    """Return the interval that agrees with a known p.

    Args:
        differences: shape (n,), with ties settled.
        scale: `ties.scale_of` the values that were subtracted; 0 if integers decide ties.
        alpha: two-sided level.
        p: the p of the test that the interval inverts.
        integers: the differences in multiples of the unit, if they are integers.
        unit: the value of one unit in the metric.
    """
    n = len(differences)
    if n == 1:
        return None
    if integers is not None and n > ENUMERATION_MAX_N:
        counted = integer_interval(integers, alpha, p=p)
        if counted is not None:
            low, high = (None if end is None else end * unit + 0.0 for end in (counted.low, counted.high))
            return Interval(low, high) if unit > 0 else Interval(high, low)
    invert = _enumerated if n <= ENUMERATION_MAX_N else _resampled

    def estimate(values: Floats) -> Interval:
        # Two sums that differ by t tie if the subset that distinguishes them has a sum within t / 2 of 0.
        tolerance = tolerance_of_sums(values, unscale(scale, -exponent(differences)))
        found, means = invert(values, tolerance / 2, alpha)
        return found.agreeing_at_zero(means, rejected=p <= alpha, positive=math.fsum(values) > 0)

    return canonical_interval(differences, estimate)


def integer_interval(differences: Sequence[int], alpha: float, *, p: float) -> Interval | None:
    """Return the interval from counting subsets by size and sum; None if their table would be too large.

    The counts are stored as shares of 2**n, which are exact up to n = 52; beyond that their relative error is below n ulp.
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
    found = Interval(_reached(means, weights, n, alpha), _reached(means[::-1], weights[::-1], n, alpha))
    return found.agreeing_at_zero(means, rejected=p <= alpha, positive=sum(differences) > 0)


def _reached(means: Floats, weights: Floats, n: int, alpha: float) -> float | None:
    """Return the first mean at which p exceeds alpha; None if p does so before the first."""
    identity = math.ldexp(1.0, -n)
    if 2 * identity > alpha:
        return None
    inside = 2 * (identity + np.cumsum(weights)) > alpha
    return float(means[np.argmax(inside)])


def _enumerated(values: Floats, half_tolerance: float, alpha: float) -> tuple[Interval, Floats]:
    """Return the interval and all subset means."""
    sums, sizes = np.zeros(1), np.zeros(1)
    for value in values:
        sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    means = _means(sums[1:], sizes[1:], half_tolerance)
    rank = math.floor(math.ldexp(alpha, len(values) - 1))
    return Interval(_end(means, rank, values), _end(-means, rank, -values, sign=-1)), means


def _resampled(values: Floats, half_tolerance: float, alpha: float) -> tuple[Interval, Floats]:
    """Invert the test with random patterns; return the interval and the means of the drawn subsets.

    Each pattern is as extreme as the data beyond one shift on either side.
    """
    n = len(values)
    total = float(values.sum())
    lows, highs = [], []
    for patterns in resampled_patterns(n):
        sums, sizes = patterns @ values, patterns.sum(axis=1)
        trivial = (sizes == 0) | (sizes == n)
        inside = _means(sums, np.where(trivial, 1, sizes), half_tolerance)
        outside = _means(total - sums, np.where(trivial, 1, n - sizes), half_tolerance)
        lows.append(np.where(trivial, -np.inf, np.minimum(inside, outside)))
        highs.append(np.where(trivial, np.inf, np.maximum(inside, outside)))
    low, high = np.concatenate(lows), np.concatenate(highs)
    # The observed pattern counts as one more, and lies below every shift.
    rank = math.floor(alpha * (RESAMPLES + 1))
    found = Interval(_end(low, rank, values), _end(-high, rank, -values, sign=-1))
    return found, np.concatenate([low, high])


def _means(sums: Floats, sizes: Floats, half_tolerance: float) -> Floats:
    return np.where(np.abs(sums) <= half_tolerance, 0.0, sums) / sizes


def _end(means: Floats, rank: int, values: Floats, *, sign: int = 1) -> float | None:
    """Return the order statistic of this rank from below, times the sign; None if it is not finite.

    Rounding may put a mean an ulp outside the range of its values.
    """
    if rank == 0:
        return None
    end = float(np.partition(means, rank - 1)[rank - 1])
    return sign * min(max(end, float(values.min())), float(values.max())) + 0.0 if math.isfinite(end) else None
