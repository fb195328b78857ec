"""Two arms, paired by replicate: every number of one comparison. The sign-flip p decides; the others stand beside it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hpo.statistics.arrays import (
    Floats,
    check_alpha,
    exponent,
    finite,
    merged,
    one_dimensional,
    rounding,
    unscale,
    unscale_or_none,
)
from hpo.statistics.effects import cliffs_delta, correlation_of_pairs, hedges_g_z, unpaired_factor
from hpo.statistics.equivalence import Equivalence, equivalence_within
from hpo.statistics.interval import Interval
from hpo.statistics.intervals import MANY_PAIRS, bca_interval, bootstrap_t_interval
from hpo.statistics.inversion import float_interval, integer_interval
from hpo.statistics.signed_ranks import hodges_lehmann, hodges_lehmann_interval, signed_ranks
from hpo.statistics.signflip import (
    ENUMERATION_MAX_N,
    float_sign_flip_p,
    integer_sign_flip_p,
    sign_flip_p,
    smallest_p,
)

__all__ = ["PairedComparison", "compare_paired", "sign_flip_p", "smallest_p"]

_COUNTS_AGREE = 1e-6


@dataclass(frozen=True)
class PairedComparison:
    """What the pairs of one arm against the baseline say; differences are arm minus baseline.

    For n = 1 there are estimates and no intervals, and no p but that of the sign-flip test, which is 1. A number too
    large for a float is None.

    Attributes:
        n: number of pairs.
        differences: the n differences, in the order of the input.
        mean: their mean, in the unit of the metric.
        variance: their sample variance (divisor n - 1); None for n = 1.
        p_sign_flip: two-sided exact sign-flip p on the mean difference, not adjusted for several arms.
        ci_low: lower end of the t interval; None for n = 1; the mean itself when the variance is 0.
        ci_high: upper end, likewise.
        p_t: two-sided paired t-test p, shown beside `p_sign_flip` and never instead of it; None for n = 1, 1.0 when all
            differences are 0, 0.0 when they all are one other number.
        d_z: mean / standard deviation of the differences; None when undefined (n = 1, or variance 0).
        confidence: level of the intervals, 1 - alpha.
        sign_flip_interval: the shifts of the mean that the sign-flip test does not reject; 0 lies inside just when
            p_sign_flip > alpha. Unbounded for so few pairs that no p can reach alpha.
        bootstrap_t: studentised bootstrap interval of the mean; None for n < 4, variance 0, or too few usable resamples.
        bca: bias-corrected and accelerated bootstrap interval; None below 30 pairs, where it covers too little.
        wilcoxon_w: the smaller of the two sums of signed ranks, differences of 0 dropped.
        wilcoxon_p: two-sided p of the signed ranks, exact at any n, ties included.
        sign_test_p: two-sided p of the pairs above among those not tied.
        above: number of pairs in which the arm's value is the larger one, whichever side is better.
        below: number of pairs in which it is the smaller one.
        ties: number of pairs with equal values.
        win_share: (above + ties / 2) / n.
        hodges_lehmann: median of the Walsh averages of the differences.
        hodges_lehmann_interval: the shifts that the exact signed-rank test does not reject.
        g_z: d_z without most of its small-sample bias (Hedges); None for n < 3 too.
        a12: unpaired: P(B > A) + P(B = A) / 2 over all n * n pairs of values.
        cliffs_delta: unpaired: P(B > A) - P(B < A) over the same.
        correlation: Pearson's, of the pairs; None for n = 1 or where an arm does not vary.
        unpaired_factor: how many times as many seeds an unpaired design would need for the same standard error; None for
            n = 1 or variance 0.
        equivalence: the two one-sided tests against the `rope`; None without one, and for n = 1.
    """

    n: int
    differences: tuple[float, ...]
    mean: float
    variance: float | None
    p_sign_flip: float
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
    win_share: float
    hodges_lehmann: float
    hodges_lehmann_interval: Interval | None
    g_z: float | None
    a12: float
    cliffs_delta: float
    correlation: float | None
    unpaired_factor: float | None
    equivalence: Equivalence | None


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
        counts: integer arrays (a_counts, b_counts), each of shape (n,), of which `a` and `b` are linear functions
            (error counts behind error rates or accuracies); the sign-flip p is then computed from them, and ties are
            exact. Without `counts`, integer `a` and `b` serve as their own, and float ones are compared as in
            `sign_flip_p`, with max(|a|, |b|) in the place of |d|: .972 - .971 is off by an ulp of 1, not of .001.
        rope: half-width of the region of practical equivalence, in the unit of the metric; None: equivalence is not
            tested.

    Raises:
        ValueError: lengths differ, no pairs, values not finite, alpha outside (0, 1), rope not a positive number, counts
            not integers, or count differences that are not proportional to the differences of the values.
    """
    check_alpha(alpha)
    if rope is not None and not 0 < rope < math.inf:
        raise ValueError(f"rope must be a positive number in the unit of the metric, got {rope!r}")
    raw_a, raw_b = one_dimensional(a, "a"), one_dimensional(b, "b")
    if len(raw_a) != len(raw_b):
        raise ValueError(f"a has {len(raw_a)} values and b has {len(raw_b)}; pairs need equal lengths")
    x, y = finite(raw_a, "a"), finite(raw_b, "b")
    with np.errstate(over="ignore"):
        differences = finite(y - x, "b - a")
    magnitude = np.maximum(np.abs(x), np.abs(y))
    integers: list[int] | None = None
    if counts is not None:
        integers = _count_differences(counts, differences, magnitude)
    elif raw_a.dtype.kind in "iu" and raw_b.dtype.kind in "iu":
        integers = _subtract(raw_a, raw_b)
    n = len(differences)
    slack = float(rounding(magnitude).max())
    normal = _normal(differences, slack, alpha)
    unit = None if integers is None else _unit(differences, integers)
    tied = _with_ties(differences, magnitude, normal, integers, unit)
    ranks = signed_ranks(tied)
    delta = cliffs_delta(x, y)
    return PairedComparison(
        n=n,
        differences=tuple(float(value) for value in differences),
        mean=normal.mean,
        variance=normal.variance,
        p_sign_flip=float_sign_flip_p(differences, magnitude) if integers is None else integer_sign_flip_p(integers),
        ci_low=normal.ci_low,
        ci_high=normal.ci_high,
        p_t=normal.p_t,
        d_z=normal.d_z,
        confidence=1 - alpha,
        sign_flip_interval=_sign_flip_interval(tied, magnitude, alpha, integers, unit),
        bootstrap_t=bootstrap_t_interval(tied, alpha=alpha),
        bca=bca_interval(tied, alpha=alpha) if n >= MANY_PAIRS else None,
        wilcoxon_w=ranks.w if n > 1 else None,
        wilcoxon_p=ranks.wilcoxon_p if n > 1 else None,
        sign_test_p=ranks.sign_test_p if n > 1 else None,
        above=ranks.above,
        below=ranks.below,
        ties=ranks.ties,
        win_share=(ranks.above + ranks.ties / 2) / n,
        hodges_lehmann=hodges_lehmann(tied),
        hodges_lehmann_interval=hodges_lehmann_interval(tied, alpha=alpha),
        g_z=hedges_g_z(normal.d_z, n),
        a12=(1 + delta) / 2,
        cliffs_delta=delta,
        correlation=correlation_of_pairs(x, y),
        unpaired_factor=unpaired_factor(x, y),
        equivalence=None if rope is None else equivalence_within(tied, rope, alpha=alpha, tolerance=slack),
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


def _normal(differences: Floats, slack: float, alpha: float) -> _Normal:
    """Return mean, variance and the t numbers; differences that agree to within `slack` are one number, of variance 0."""
    n = len(differences)
    power = exponent(differences)
    scaled = np.ldexp(differences, -power)
    scaled_mean = math.fsum(scaled) / n
    mean = unscale(scaled_mean, power)
    if n == 1:
        return _Normal(mean)
    if float(differences.max()) - float(differences.min()) <= slack:
        return _Normal(mean, variance=0.0, ci_low=mean, ci_high=mean, p_t=1.0 if abs(mean) <= slack else 0.0)
    squares = math.fsum((float(value) - scaled_mean) ** 2 for value in scaled) / (n - 1)
    d_z = scaled_mean / math.sqrt(squares)
    half_width = float(special.stdtrit(n - 1, 1 - alpha / 2)) * math.sqrt(squares / n)
    return _Normal(
        mean,
        variance=unscale_or_none(squares, 2 * power),
        ci_low=unscale_or_none(scaled_mean - half_width, power),
        ci_high=unscale_or_none(scaled_mean + half_width, power),
        p_t=min(1.0, 2 * float(special.stdtr(n - 1, -abs(d_z) * math.sqrt(n)))),
        d_z=d_z,
    )


def _with_ties(
    differences: Floats, magnitude: Floats, normal: _Normal, integers: list[int] | None, unit: float | None
) -> Floats:
    """Return the differences with ties exact: their mean where they are one number, multiples of the unit, or merged."""
    if normal.variance == 0 and normal.d_z is None:
        return np.full(len(differences), normal.mean)
    if integers is None or unit is None:
        return merged(differences, rounding(magnitude))
    return np.array(integers, dtype=np.float64) * unit


def _unit(differences: Floats, integers: list[int]) -> float:
    """Return what one count is worth in the metric, negative where more of them make the metric smaller; 1 if unknown."""
    largest = max(integers, key=abs)
    if largest == 0:
        return 1.0
    power = exponent(differences)
    size = math.fsum(np.abs(np.ldexp(differences, -power))) / sum(map(abs, integers))
    same_sign = (differences[integers.index(largest)] > 0) == (largest > 0)
    return unscale(size if same_sign else -size, power)


def _sign_flip_interval(
    tied: Floats, magnitude: Floats, alpha: float, integers: list[int] | None, unit: float | None
) -> Interval | None:
    """Return the interval that inverts the very test that gave p: the exact one wherever p is exact."""
    found = None
    if integers is not None and len(tied) > ENUMERATION_MAX_N:
        found = integer_interval(integers, alpha)
    if found is None or unit is None:
        return float_interval(tied, magnitude, alpha)
    low, high = (None if end is None else end * unit + 0.0 for end in (found.low, found.high))
    return Interval(low, high) if unit > 0 else Interval(high, low)


def _count_differences(counts: tuple[ArrayLike, ArrayLike], differences: Floats, magnitude: Floats) -> list[int]:
    """Return b_counts - a_counts, after checking that they tell the same story as the differences of the values."""
    a_counts, b_counts = one_dimensional(counts[0], "counts of a"), one_dimensional(counts[1], "counts of b")
    for array, what in ((a_counts, "counts of a"), (b_counts, "counts of b")):
        if array.dtype.kind not in "iu":
            raise ValueError(f"{what}: must be integers, got dtype {array.dtype}")
        if len(array) != len(differences):
            raise ValueError(f"{what}: {len(array)} counts for {len(differences)} pairs")
    result = _subtract(a_counts, b_counts)
    unit = np.array(result, dtype=np.float64) / max(1, *(abs(value) for value in result))
    scale = float(magnitude.max()) or 1.0
    relative = differences / scale
    slope = float(unit @ relative) / (float(unit @ unit) or 1.0)
    if float(np.abs(relative - slope * unit).max()) > _COUNTS_AGREE or (any(result) and not slope):
        raise ValueError(
            "counts: their differences are not proportional to those of the values, so a p from them would be about"
            " something else; check that both come from the same replicates in the same order"
        )
    return result


def _subtract(a_counts: NDArray[np.generic], b_counts: NDArray[np.generic]) -> list[int]:
    """Return b - a in Python integers: unsigned counts must not wrap around."""
    return [int(after) - int(before) for before, after in zip(a_counts.tolist(), b_counts.tolist(), strict=True)]
