"""Two arms, paired by replicate: all statistics of one comparison. The sign-flip p decides; the others are shown alongside."""

import math
from dataclasses import dataclass

import numpy as np
import scipy  # whose modules are imported at their first use, which a search does not need
from numpy.typing import ArrayLike

from hpo.statistics.arrays import check_alpha, exponent, unscale_or_none
from hpo.statistics.bootstrap import MANY_PAIRS, bca_interval, bootstrap_t_interval
from hpo.statistics.departures import Departure, departures
from hpo.statistics.differences import Pairs
from hpo.statistics.effects import cliffs_delta, correlation_of_pairs, hedges_g_z, unpaired_factor
from hpo.statistics.equivalence import Equivalence, equivalence_within
from hpo.statistics.interval import Interval
from hpo.statistics.inversion import inverted
from hpo.statistics.signed_ranks import hodges_lehmann, interval_of, signed_ranks


@dataclass(frozen=True)
class PairedComparison:
    """The statistics of one arm against the baseline; differences are arm minus baseline.

    For n = 1 there are estimates but no intervals, and the only p is that of the sign-flip test, which is 1. If all differences
    tie, the variance is 0, and there is nothing that divides by it: no t-test, no bootstrap, no equivalence. Numbers too large
    for a float are None.

    Attributes:
        n: number of pairs.
        differences: the n differences, in the order of the input; exactly 0 for ties.
        mean: their mean, in the unit of the metric; exactly 0 if the means of the arms tie.
        variance: their sample variance (divisor n - 1); None for n = 1.
        p_sign_flip: two-sided sign-flip p on the mean difference, not adjusted for several arms.
        exact: whether `p_sign_flip` counts all sign patterns; otherwise it is estimated from 100,000 random ones.
        ci_low: lower end of the t interval; None for n = 1 or variance 0.
        ci_high: upper end, likewise.
        p_t: two-sided paired t-test p, shown next to `p_sign_flip` but never deciding; None for n = 1 or variance 0.
        d_z: mean / standard deviation of the differences; None for n = 1 or variance 0.
        confidence: level of the intervals, 1 - alpha.
        sign_flip_interval: the shifts of the mean that the sign-flip test does not reject. It excludes 0 exactly if
            p_sign_flip <= alpha, and is unbounded if there are too few pairs for any p to reach alpha.
        bootstrap_t: studentised bootstrap interval of the mean; None for n < 4, variance 0, or too few usable resamples.
        bca: bias-corrected and accelerated bootstrap interval; None below 30 pairs, because it covers too little.
        wilcoxon_w: the smaller of the two sums of signed ranks, differences of 0 dropped.
        wilcoxon_p: two-sided p of the signed ranks, exact at any n, ties included.
        sign_test_p: two-sided p of the number above, among the pairs that are not tied.
        above: number of pairs in which the arm's value is larger, whether or not that is better.
        below: number of pairs in which it is smaller.
        ties: number of pairs whose values tie.
        tied_sizes: number of other pairs whose difference has the same size as another one.
        win_share: (above + ties / 2) / n.
        hodges_lehmann: median of the Walsh averages of the differences.
        hodges_lehmann_interval: interval of the signed-rank test; it excludes 0 exactly if wilcoxon_p <= alpha.
        g_z: d_z with most of its small-sample bias removed (Hedges); also None for n < 3.
        a12: unpaired: P(B > A) + P(B = A) / 2 over all n * n pairs of values.
        cliffs_delta: unpaired: P(B > A) - P(B < A) over all n * n pairs of values.
        correlation: Pearson's correlation of the pairs; None for n = 1 or if an arm does not vary.
        unpaired_factor: how many times as many seeds an unpaired design needs for the same standard error; None for n = 1 or
            variance 0, or if it is too large for a float.
        equivalence: the two one-sided tests against the `rope`; None without one, for n = 1 and for variance 0.
        departures: evidence in the differences against the assumptions of the sign-flip test.
    """

    n: int
    differences: tuple[float, ...]
    mean: float
    variance: float | None
    p_sign_flip: float
    exact: bool
    ci_low: float | None
    ci_high: float | None
    p_t: float | None
    d_z: float | None
    confidence: float
    sign_flip_interval: Interval | None
    bootstrap_t: Interval | None
    bca: Interval | None
    wilcoxon_w: float | None
    wilcoxon_p: float | None
    sign_test_p: float | None
    above: int
    below: int
    ties: int
    tied_sizes: int
    win_share: float
    hodges_lehmann: float
    hodges_lehmann_interval: Interval | None
    g_z: float | None
    a12: float
    cliffs_delta: float
    correlation: float | None
    unpaired_factor: float | None
    equivalence: Equivalence | None
    departures: tuple[Departure, ...]


def compare_paired(
    a: ArrayLike,
    b: ArrayLike,
    *,
    alpha: float = 0.05,
    counts: tuple[ArrayLike, ArrayLike] | None = None,
    rope: float | None = None,
) -> PairedComparison:
    """Compare an arm `b` with the baseline `a`, pair by pair.

    >>> compare_paired([0.31, 0.30, 0.33], [0.30, 0.28, 0.30]).p_sign_flip
    0.25

    Args:
        a: the baseline's values, shape (n,); a[i] and b[i] come from the same replicate.
        b: the arm's values, shape (n,).
        alpha: the intervals have level 1 - alpha; the two one-sided tests have level alpha each.
        counts: integer arrays (a_counts, b_counts), each of shape (n,), of which `a` and `b` are linear functions (for example
            the error counts behind error rates or accuracies). The sign-flip p is then computed from them, and ties are exact.
            Without `counts`, integer `a` and `b` are used instead, and floats tie as in `hpo.statistics.ties`.
            tested.
        rope: half-width of the region of practical equivalence, in the unit of the metric; None: equivalence is not
            tested.

    Raises:
        ValueError: lengths differ, there are no pairs, values are not finite, alpha is outside (0, 1), rope is not a positive
            number, counts are not integers, or count differences are not proportional to the differences of the values.
    """
    check_alpha(alpha)
    if rope is not None and not 0 < rope < math.inf:
        raise ValueError(f"rope must be a positive number in the unit of the metric, got {rope!r}")
    pairs = Pairs.of(a, b, counts)
    n, tied = len(pairs.tied), pairs.tied
    flips, normal = pairs.sign_flip, _normal(pairs, alpha)
    ranks = signed_ranks(pairs.signed_sizes)
    delta = cliffs_delta(*pairs.sides)
    return PairedComparison(
        n=n,
        differences=tuple(float(value) for value in pairs.differences),
        mean=normal.mean,
        variance=normal.variance,
        p_sign_flip=flips.p,
        exact=flips.exact,
        ci_low=normal.ci_low,
        ci_high=normal.ci_high,
        p_t=normal.p_t,
        d_z=normal.d_z,
        confidence=1 - alpha,
        sign_flip_interval=inverted(tied, pairs.scale, alpha, p=flips.p, integers=pairs.integers, unit=pairs.unit),
        bootstrap_t=bootstrap_t_interval(tied, alpha=alpha),
        bca=bca_interval(tied, alpha=alpha) if n >= MANY_PAIRS else None,
        wilcoxon_w=ranks.w if n > 1 else None,
        wilcoxon_p=ranks.wilcoxon_p if n > 1 else None,
        sign_test_p=ranks.sign_test_p if n > 1 else None,
        above=ranks.above,
        below=ranks.below,
        ties=ranks.ties,
        tied_sizes=ranks.tied_sizes,
        win_share=(ranks.above + ranks.ties / 2) / n,
        hodges_lehmann=hodges_lehmann(tied),
        hodges_lehmann_interval=interval_of(ranks, tied, alpha),
        g_z=hedges_g_z(normal.d_z, n),
        a12=(1 + delta) / 2,
        cliffs_delta=delta,
        correlation=correlation_of_pairs(*pairs.sides),
        unpaired_factor=unpaired_factor(*pairs.sides),
        equivalence=None if rope is None else equivalence_within(tied, rope, alpha=alpha),
        departures=departures(tied),
    )


@dataclass(frozen=True)
class _Normal:
    """The numbers of normal theory."""

    mean: float
    variance: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_t: float | None = None
    d_z: float | None = None


def _normal(pairs: Pairs, alpha: float) -> _Normal:
    """Return mean, variance and the t numbers, which need a variance above 0."""
    differences, mean = pairs.tied, pairs.mean
    n = len(differences)
    if n == 1:
        return _Normal(mean)
    if differences.max() == differences.min():
        return _Normal(mean, variance=0.0)
    power = exponent(differences)
    scaled, scaled_mean = np.ldexp(differences, -power), math.ldexp(mean, -power)
    squares = math.fsum((float(value) - scaled_mean) ** 2 for value in scaled) / (n - 1)
    d_z = scaled_mean / math.sqrt(squares)
    half_width = float(scipy.special.stdtrit(n - 1, 1 - alpha / 2)) * math.sqrt(squares / n)
    return _Normal(
        mean,
        variance=unscale_or_none(squares, 2 * power),
        ci_low=unscale_or_none(scaled_mean - half_width, power),
        ci_high=unscale_or_none(scaled_mean + half_width, power),
        p_t=min(1.0, 2 * float(scipy.special.stdtr(n - 1, -abs(d_z) * math.sqrt(n)))),
        d_z=d_z,
    )
