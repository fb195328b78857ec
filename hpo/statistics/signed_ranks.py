"""Wilcoxon's signed-rank test, the sign test, and the estimate that belongs to signed ranks: exact at any n, ties included."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, check_alpha, exponent, finite_floats, unscale, unscale_or_none
from hpo.statistics.interval import Interval


@dataclass(frozen=True)
class SignedRanks:
    """What the signs and the ranks of the differences say; differences of 0 have neither.

    Attributes:
        above: number of differences above 0.
        below: number below 0.
        ties: number of differences equal to 0.
        w: Wilcoxon's W, the smaller of the two rank sums.
        wilcoxon_p: exact two-sided p of W.
        sign_test_p: exact two-sided p of the number above, among those not tied.
    """

    above: int
    below: int
    ties: int
    w: float
    wilcoxon_p: float
    sign_test_p: float


def signed_ranks(differences: ArrayLike) -> SignedRanks:
    """Test the signs of the differences, and their signed ranks.

    Differences of 0 are dropped before ranking, as Wilcoxon did; equal sizes share their mean rank. The null distribution
    is that of the midranks themselves, so that ties cost no exactness.

    Args:
        differences: shape (n,). Only equal floats are ties: give integers, or values in which what rounding tells apart
            has been made equal, as `compare_paired` does.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers, or not finite.

    References:
        Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1 (1945). Conover, Practical
        Nonparametric Statistics (1999), sections 3.4 and 5.7.
    """
    from scipy import stats

    values = finite_floats(differences, "differences")
    kept = values[values != 0]
    positive = kept > 0
    above, below = int(positive.sum()), int((~positive).sum())
    doubled = (2 * stats.rankdata(np.abs(kept))).astype(np.int64)
    smaller = min(int(doubled[positive].sum()), int(doubled[~positive].sum()))
    tail = float(_rank_sum_shares(doubled)[: smaller + 1].sum())
    return SignedRanks(
        above=above,
        below=below,
        ties=len(values) - above - below,
        w=smaller / 2,
        wilcoxon_p=min(1.0, 2 * tail),
        sign_test_p=float(stats.binomtest(min(above, below), above + below).pvalue) if above + below else 1.0,
    )


def hodges_lehmann(differences: ArrayLike) -> float:
    """Return the median of the Walsh averages (d_i + d_j) / 2, i <= j: the shift that leaves the signed ranks balanced.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers, or not finite.

    References:
        Hodges and Lehmann, Estimates of location based on rank tests, Annals of Mathematical Statistics 34 (1963).
    """
    values = finite_floats(differences, "differences")
    power = exponent(values)
    return unscale(float(np.median(_walsh_averages(np.ldexp(values, -power)))), power)


def hodges_lehmann_interval(differences: ArrayLike, *, alpha: float = 0.05) -> Interval | None:
    """Return the interval of Tukey: the shifts that the exact signed-rank test does not reject, from the Walsh averages.

    Its level is exact for differences without ties, and at least 1 - alpha with them.

    Returns:
        None for n = 1; both ends are None (unbounded) where n < 1 + log2(1 / alpha).

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; alpha outside (0, 1).

    References:
        Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (2014), section 3.3.
    """
    check_alpha(alpha)
    values = finite_floats(differences, "differences")
    n = len(values)
    if n == 1:
        return None
    rejected = 2 * np.cumsum(_rank_sum_shares(np.arange(1, n + 1))) <= alpha
    rank = int(np.count_nonzero(rejected))
    if rank == 0:
        return Interval(None, None)
    power = exponent(values)
    averages = np.sort(_walsh_averages(np.ldexp(values, -power)))
    return Interval(unscale_or_none(float(averages[rank - 1]), power), unscale_or_none(float(averages[-rank]), power))


def _walsh_averages(values: Floats) -> Floats:
    rows, columns = np.triu_indices(len(values))
    return (values[rows] + values[columns]) / 2


def _rank_sum_shares(ranks: NDArray[np.int64]) -> Floats:
    """Return the share of the 2**n sign patterns for every sum of the ranks with sign +: exact to n = 52."""
    shares = np.zeros(int(ranks.sum()) + 1)
    shares[0] = 1.0
    reached = 0
    for rank in np.sort(ranks).tolist():
        shares[rank : reached + rank + 1] += shares[: reached + 1]
        reached += rank
        shares[: reached + 1] *= 0.5
    return shares
