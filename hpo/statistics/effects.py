"""Effect sizes other than the mean difference, and the benefit of pairing."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, canonical, exponent, paired, unscale_or_none
from hpo.statistics.ties import scale_of, settled, settled_sizes, tied


def hedges_g_z(d_z: float | None, n: int) -> float | None:
    """Return d_z * (1 - 3 / (4 (n - 1) - 1)): the effect size with most of its small-sample bias removed.

    Returns:
        None if d_z is None, or n < 3: with one degree of freedom d_z has no mean to correct.

    References:
        Hedges, Distribution theory for Glass's estimator of effect size, Journal of Educational Statistics 6 (1981);
        for paired differences: Lakens, Calculating and reporting effect sizes, Frontiers in Psychology 4 (2013).
    """
    if d_z is None or n < 3:
        return None
    return d_z * (1 - 3 / (4 * (n - 1) - 1))


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """Return P(B > A) - P(B < A) over all n * n pairs of a value of `a` with a value of `b`.

    It ignores the pairing: it measures how far apart the two distributions are, not how often an arm wins with one seed.

    Args:
        a: the baseline's values, shape (n,). Floats tie as in `hpo.statistics.ties`, integers if they are equal.
        b: the arm's values, shape (n,).

    Raises:
        ValueError: lengths differ, or values are missing or not finite.

    References:
        Cliff, Dominance statistics, Psychological Bulletin 114 (1993).
    """
    x, y = paired(a, b)
    apart = ~tied(y[:, None], x[None, :], scale_of(x, y))
    above, below = (int(np.count_nonzero(apart & side(y[:, None], x[None, :]))) for side in (np.greater, np.less))
    return (above - below) / len(x) ** 2


def a12(a: ArrayLike, b: ArrayLike) -> float:
    """Return P(B > A) + P(B = A) / 2 over all n * n pairs: `cliffs_delta` scaled to [0, 1], and unpaired as well.

    Raises:
        ValueError: lengths differ, or values are missing or not finite.

    References:
        Vargha and Delaney, A critique and improvement of the CL common language effect size statistics of McGraw and
        Wong, Journal of Educational and Behavioral Statistics 25 (2000).
    """
    return (1 + cliffs_delta(a, b)) / 2


def correlation_of_pairs(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return Pearson's correlation of the pairs; None for n = 1 or if an arm does not vary.

    Raises:
        ValueError: lengths differ, or values are missing or not finite.
    """
    arms = paired(a, b)
    x, y = (_varying(values, scale_of(*arms)) for values in arms)
    if x is None or y is None:
        return None
    product = math.fsum(x * y) / math.sqrt(math.fsum(x * x) * math.fsum(y * y))
    return max(-1.0, min(1.0, product))


def unpaired_factor(a: ArrayLike, b: ArrayLike) -> float | None:
    """Return how many times as many seeds an unpaired design needs for the same standard error of the difference.

    This is (var a + var b) / var(b - a): 1 if the pairs are uncorrelated, below 1 if pairing does harm.

    Returns:
        None for n = 1, if the differences do not vary, or if the factor is too large for a float.

    Raises:
        ValueError: lengths differ, or values are missing or not finite.
    """
    arms = paired(a, b)
    scale = scale_of(*arms)
    power = exponent(np.concatenate([values.astype(np.float64) for values in arms]))
    x, y = (np.ldexp(values.astype(np.float64), -power) for values in arms)
    # Canonical order and sign, so that swapping the arms changes no digit.
    apart = np.where(tied(*arms, scale), 0.0, y - x)
    difference, _ = canonical(settled_sizes(apart, math.ldexp(scale, -power)))
    if difference.max() == difference.min():
        return None
    # The squares of differences that are tiny beside the values would underflow: they get a scale of their own.
    smaller = exponent(difference)
    sums = [math.fsum(centred * centred) for centred in map(_centred, (x, y, np.ldexp(difference, -smaller)))]
    return unscale_or_none((sums[0] + sums[1]) / sums[2], -2 * smaller)


def _varying(values: NDArray[np.generic], scale: float) -> Floats | None:
    """Return the values minus their mean, scaled to at most about 1 in size; None if all tie."""
    kept = settled(values, scale).astype(np.float64)
    if kept.max() == kept.min():
        return None
    centred = _centred(np.ldexp(kept, -exponent(kept)))
    return np.ldexp(centred, -exponent(centred))


def _centred(values: Floats) -> Floats:
    """Return the values minus their mean. The smallest is subtracted first, so that adding a constant to all changes nothing."""
    anchored = values - values.min()
    centred: Floats = anchored - math.fsum(anchored) / len(anchored)
    return centred
