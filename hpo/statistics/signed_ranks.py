"""Wilcoxon's signed-rank test, the sign test and the Hodges-Lehmann estimate: exact at any n, with or without ties."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, check_alpha, exponent, unscale, unscale_or_none
from hpo.statistics.interval import Interval
from hpo.statistics.ties import scale_of, settled_differences, tied


@dataclass(frozen=True)
class SignedRanks:
    """The signs and signed ranks of the differences, without those that are 0.

    Attributes:
        above: number of differences above 0.
        below: number of differences below 0.
        ties: number of differences equal to 0.
        tied_sizes: number of other differences whose size equals another one's.
        w_above: sum of the ranks of the differences above 0.
        w_below: sum of the ranks of the differences below 0.
        wilcoxon_p: exact two-sided p of W.
        sign_test_p: exact two-sided p of the number above, among those that are not 0.
    """

    above: int
    below: int
    ties: int
    tied_sizes: int
    w_above: float
    w_below: float
    wilcoxon_p: float
    sign_test_p: float

    @property
    def w(self) -> float:
        """Wilcoxon's W, the smaller of the two rank sums."""
        return min(self.w_above, self.w_below)


def signed_ranks(differences: ArrayLike) -> SignedRanks:
    """Test the signs of the differences, and their signed ranks.

    Differences of 0 are dropped before ranking, as Wilcoxon did; equal sizes share their mean rank. The null distribution is that
    of the midranks themselves, so that the test stays exact with ties.

    Args:
        differences: shape (n,). Floats tie as in `hpo.statistics.ties`, integers if they are equal.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers, or not finite.

    References:
        Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1 (1945). Conover, Practical
        Nonparametric Statistics (1999), sections 3.4 and 5.7.
    """
    from scipy import stats

    values = settled_differences(differences)
    kept = values[values != 0]
    positive = kept > 0
    above, below = int(positive.sum()), int((~positive).sum())
    doubled = (2 * stats.rankdata(np.abs(kept))).astype(np.int64)
    _, counts = np.unique(np.abs(kept), return_counts=True)
    sums = int(doubled[positive].sum()), int(doubled[~positive].sum())
    tail = float(_rank_sum_shares(doubled)[: min(sums) + 1].sum())
    return SignedRanks(
        above=above,
        below=below,
        ties=len(values) - above - below,
        tied_sizes=int(counts[counts > 1].sum()),
        w_above=sums[0] / 2,
        w_below=sums[1] / 2,
        wilcoxon_p=min(1.0, 2 * tail),
        sign_test_p=float(stats.binomtest(min(above, below), above + below).pvalue) if above + below else 1.0,
    )


def signed_rank_p(differences: ArrayLike) -> float:
    """Return the two-sided p of `signed_ranks`: exact at any n, with or without ties, and with differences of 0 dropped.

    It decides for tables of one value per task, where the spread within a task is unknown.

    >>> signed_rank_p([2, 1, 3, 5, 4, 0, 6])
    0.03125
    """
    return signed_ranks(differences).wilcoxon_p


def hodges_lehmann(differences: ArrayLike) -> float:
    """Return the median of the Walsh averages (d_i + d_j) / 2, i <= j: the shift that balances the signed ranks.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers, or not finite.

    References:
        Hodges and Lehmann, Estimates of location based on rank tests, Annals of Mathematical Statistics 34 (1963).
    """
    values = settled_differences(differences)
    power = exponent(values)
    scaled = np.ldexp(values, -power)
    median = float(np.median(_walsh_averages(scaled)))
    return 0.0 if tied(median, 0.0, scale_of(scaled)) else unscale(median, power)


def hodges_lehmann_interval(differences: ArrayLike, *, alpha: float = 0.05) -> Interval | None:
    """Return the interval of the signed-rank test, which excludes 0 exactly if `signed_rank_p` <= alpha.

    Its ends are Walsh averages (d_i + d_j) / 2. Without ties and zeros it is Tukey's interval: the shifts that the exact test
    does not reject. With ties that interval still has at least its nominal coverage (Noether, 1967). But the test drops
    differences of 0 and shares ranks, so that at 0 its p may be on the other side of alpha, and the shifts that it does not
    reject need not form an interval. So Tukey's interval is corrected only at 0: it is extended to 0 if p > alpha, and begins
    at the first Walsh average beyond 0 if p <= alpha. In the latter case half of the averages can be 0, and then the estimate
    lies outside the interval. On tied data the corrected interval was also measured to have at least its nominal coverage
    (tests/statistics).

    Returns:
        None for n = 1; both ends are None (unbounded) if n < 1 + log2(1 / alpha).

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; alpha outside (0, 1).

    References:
        Hollander, Wolfe and Chicken, Nonparametric Statistical Methods (2014), section 3.3. Noether, Wilcoxon confidence
        intervals for location parameters in the discrete case, JASA 62 (1967).
    """
    return interval_of(signed_ranks(differences), settled_differences(differences), alpha)


def interval_of(found: SignedRanks, values: Floats, alpha: float) -> Interval | None:
    """Return the interval that agrees with a signed-rank test; see `hodges_lehmann_interval`.

    Args:
        found: the result of the test.
        values: the differences, shape (n,), with ties settled.
        alpha: two-sided level.
    """
    check_alpha(alpha)
    n = len(values)
    if n == 1:
        return None
    rank = int(np.count_nonzero(2 * np.cumsum(_rank_sum_shares(np.arange(1, n + 1))) <= alpha))
    if rank == 0:
        return Interval(None, None)
    power = exponent(values)
    averages = np.sort(_walsh_averages(np.ldexp(values, -power)))
    tukey = Interval(float(averages[rank - 1]), float(averages[-rank]))
    agreeing = tukey.agreeing_at_zero(
        averages, rejected=found.wilcoxon_p <= alpha, positive=found.w_above > found.w_below
    )
    return Interval(unscale_or_none(agreeing.low, power), unscale_or_none(agreeing.high, power))


def _walsh_averages(values: Floats) -> Floats:
    rows, columns = np.triu_indices(len(values))
    return (values[rows] + values[columns]) / 2


def _rank_sum_shares(ranks: NDArray[np.int64]) -> Floats:
    """Return, for every sum of the positive ranks, its share of the 2**n sign patterns; exact up to n = 52."""
    shares = np.zeros(int(ranks.sum()) + 1)
    shares[0] = 1.0
    reached = 0
    for rank in np.sort(ranks).tolist():
        shares[rank : reached + rank + 1] += shares[: reached + 1]
        reached += rank
        shares[: reached + 1] *= 0.5
    return shares
