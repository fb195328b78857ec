"""Two arms, paired by replicate: the exact sign-flip test, which decides, and the t numbers shown beside it.

Equal numbers stay equal here. Integer error counts give a p value with no rounding at all; for float metrics, sums that
differ by no more than the rounding of their inputs count as tied, which can only make a p value larger.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Floats = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)
_ENUMERATION_MAX_N = 20
_TIE_ULPS = 4
_RESAMPLES = 100_000
_RESAMPLING_SEED = 20_240_229
_CHUNK_CELLS = 4_000_000
_CONVOLUTION_MAX_BITS = 2**29
_COUNTS_AGREE = 1e-6


@dataclass(frozen=True)
class PairedComparison:
    """What the pairs of one arm against the baseline say; differences are arm minus baseline.

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
        confidence: level of the t interval, 1 - alpha.
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


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p that a sign-flip test of n pairs can reach: min(1, 2 / 2**n).

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more pairs, got {n}")
    return min(1.0, math.ldexp(2.0, -n))


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the two-sided sign-flip p of the mean difference.

    Under the null hypothesis each difference is symmetric about 0, so all 2**n patterns of signs are equally likely; p
    is the share of them whose |sum| is at least the observed one.

    Args:
        differences: shape (n,). With an integer dtype, p is exact at any n (convolution of counts). With a float dtype
            it is exact by enumeration to n = 20; above, it is (hits + 1) / (resamples + 1) from 100,000 patterns drawn
            with a fixed seed, the same for every order of the pairs. Float sums count as tied when they differ by at
            most 4 n ulp(1) sum|d|: more than rounding the inputs and adding them can do.

    Raises:
        ValueError: not one-dimensional, empty, not real numbers, not finite, or integers so large that the exact
            distribution would need more than 64 MiB (only above n = 20).

    References:
        Fisher, The Design of Experiments (1935), section 21. The convolution: Pagano and Tritchler, On obtaining
        permutation distributions in polynomial time, JASA 78 (1983). The +1: Phipson and Smyth, Permutation p-values
        should never be zero (2010).
    """
    array = _one_dimensional(differences, "differences")
    if array.dtype.kind in "iu":
        return _integer_sign_flip_p(array.tolist())
    values = _finite(array, "differences")
    return _float_sign_flip_p(values, np.abs(values))


def compare_paired(
    a: ArrayLike, b: ArrayLike, *, alpha: float = 0.05, counts: tuple[ArrayLike, ArrayLike] | None = None
) -> PairedComparison:
    """Compare an arm `b` with the baseline `a`, pair by pair.

    >>> compare_paired([0.31, 0.30, 0.33], [0.30, 0.28, 0.30]).p_sign_flip
    0.25

    Args:
        a: the baseline's values, shape (n,); a[i] and b[i] come from the same replicate.
        b: the arm's values, shape (n,).
        alpha: the t interval has level 1 - alpha.
        counts: integer arrays (a_counts, b_counts), each of shape (n,), of which `a` and `b` are linear functions
            (error counts behind error rates or accuracies); the sign-flip p is then computed from them, and ties are
            exact. Without `counts`, integer `a` and `b` serve as their own, and float ones are compared as in
            `sign_flip_p`, with max(|a|, |b|) in the place of |d|: .972 - .971 is off by an ulp of 1, not of .001.

    Raises:
        ValueError: lengths differ, no pairs, values not finite, alpha outside (0, 1), counts not integers, or count
            differences that are not proportional to the differences of the values.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha!r}")
    raw_a, raw_b = _one_dimensional(a, "a"), _one_dimensional(b, "b")
    if len(raw_a) != len(raw_b):
        raise ValueError(f"a has {len(raw_a)} values and b has {len(raw_b)}; pairs need equal lengths")
    x, y = _finite(raw_a, "a"), _finite(raw_b, "b")
    with np.errstate(over="ignore"):
        differences = _finite(y - x, "b - a")
    magnitude = np.maximum(np.abs(x), np.abs(y))
    if counts is not None:
        p = _integer_sign_flip_p(_count_differences(counts, differences, magnitude))
    elif raw_a.dtype.kind in "iu" and raw_b.dtype.kind in "iu":
        p = _integer_sign_flip_p(_subtract(raw_a, raw_b))
    else:
        p = _float_sign_flip_p(differences, magnitude)
    return _describe(differences, p, rounding=_TIE_ULPS * _EPS * float(magnitude.max()), alpha=alpha)


def _describe(differences: Floats, p_sign_flip: float, *, rounding: float, alpha: float) -> PairedComparison:
    """Fill in the t numbers; differences that agree to within `rounding` are taken as one number, of variance 0."""
    n = len(differences)
    exponent = _exponent(differences)
    scaled = np.ldexp(differences, -exponent)
    mean = math.fsum(scaled) / n
    original_mean = _unscale(mean, exponent)
    variance: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_t: float | None = None
    d_z: float | None = None
    if n > 1 and float(differences.max()) - float(differences.min()) <= rounding:
        variance = 0.0
        ci_low = ci_high = original_mean
        p_t = 1.0 if p_sign_flip == 1.0 else 0.0
    elif n > 1:
        squares = math.fsum((float(value) - mean) ** 2 for value in scaled) / (n - 1)
        variance = _unscale(squares, 2 * exponent)
        d_z = mean / math.sqrt(squares)
        half_width = float(special.stdtrit(n - 1, 1 - alpha / 2)) * math.sqrt(squares / n)
        ci_low, ci_high = _unscale(mean - half_width, exponent), _unscale(mean + half_width, exponent)
        p_t = min(1.0, 2 * float(special.stdtr(n - 1, -abs(d_z) * math.sqrt(n))))
    return PairedComparison(
        n=n,
        differences=tuple(float(value) for value in differences),
        mean=original_mean,
        variance=variance,
        p_sign_flip=p_sign_flip,
        ci_low=ci_low,
        ci_high=ci_high,
        p_t=p_t,
        d_z=d_z,
        confidence=1 - alpha,
    )


def _integer_sign_flip_p(differences: Iterable[int]) -> float:
    """Exact p by convolution: the coefficient of x**k in prod(1 + x**|d|) counts the patterns whose positive part is k.

    The polynomial is held in one Python integer, n + 1 bits per coefficient, so that multiplying by (1 + x**|d|) is a
    shift and an addition; no coefficient exceeds 2**n, so none ever carries into the next.
    """
    signed = list(differences)
    n = len(signed)
    observed = abs(sum(signed))
    if observed == 0:
        return 1.0
    divisor = math.gcd(*signed)
    sizes = sorted(abs(value) // divisor for value in signed)
    observed, total, width = observed // divisor, sum(sizes), n + 1
    if total * width > _CONVOLUTION_MAX_BITS:
        return _large_integer_sign_flip_p(sizes, observed)
    polynomial = 1
    for size in sizes:
        polynomial += polynomial << (size * width)
    # A pattern with positive part k has signed sum 2 k - total. Modulo 2**width - 1, a number is the sum of its digits.
    tail = polynomial >> ((total + observed) // 2 * width)
    hits = 2 * (tail % ((1 << width) - 1))
    return hits / (1 << n)


def _large_integer_sign_flip_p(sizes: list[int], observed: int) -> float:
    """Enumerate integers that are too far apart for the convolution, still in exact arithmetic."""
    if len(sizes) > _ENUMERATION_MAX_N:
        raise ValueError(
            f"differences: {len(sizes)} integers with sum of absolute values {sum(sizes)} (after division by their"
            " common divisor) are too large for the exact distribution; give them as floats to have them resampled"
        )
    sums = np.array([sizes[0]], dtype=object)
    for size in sizes[1:]:
        sums = np.concatenate([sums + size, sums - size])
    return int(np.count_nonzero(np.abs(sums) >= observed)) / len(sums)


def _float_sign_flip_p(differences: Floats, magnitude: Floats) -> float:
    """Enumerate, or resample above n = 20; `magnitude` holds the sizes of the numbers whose rounding the sums carry."""
    n = len(differences)
    exponent = _exponent(differences)
    sizes = np.sort(np.abs(np.ldexp(differences, -exponent)))
    observed = abs(math.fsum(np.ldexp(differences, -exponent)))
    with np.errstate(over="ignore"):
        threshold = observed - _TIE_ULPS * n * _EPS * float(np.sum(np.ldexp(magnitude, -exponent)))
    if threshold <= 0:
        return 1.0
    if n > _ENUMERATION_MAX_N:
        return _resampled_p(sizes, threshold)
    # The two signs of one difference mirror each other, so that one of them stands for both.
    sums = sizes[:1]
    for size in sizes[1:]:
        sums = np.concatenate([sums + size, sums - size])
    return int(np.count_nonzero(np.abs(sums) >= threshold)) / len(sums)


def _resampled_p(sizes: Floats, threshold: float) -> float:
    """Estimate p from `_RESAMPLES` seeded sign patterns; the observed one counts as one more."""
    generator = np.random.default_rng(_RESAMPLING_SEED)
    chunk = max(1, _CHUNK_CELLS // len(sizes))
    hits = 0
    for start in range(0, _RESAMPLES, chunk):
        rows = min(chunk, _RESAMPLES - start)
        signs = 2.0 * generator.integers(0, 2, size=(rows, len(sizes)), dtype=np.int8) - 1.0
        hits += int(np.count_nonzero(np.abs(signs @ sizes) >= threshold))
    return (hits + 1) / (_RESAMPLES + 1)


def _count_differences(counts: tuple[ArrayLike, ArrayLike], differences: Floats, magnitude: Floats) -> list[int]:
    """Return b_counts - a_counts, after checking that they tell the same story as the differences of the values."""
    a_counts, b_counts = _one_dimensional(counts[0], "counts of a"), _one_dimensional(counts[1], "counts of b")
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
    if float(np.abs(relative - slope * unit).max()) > _COUNTS_AGREE:
        raise ValueError(
            "counts: their differences are not proportional to those of the values, so a p from them would be about"
            " something else; check that both come from the same replicates in the same order"
        )
    return result


def _subtract(a_counts: NDArray[np.generic], b_counts: NDArray[np.generic]) -> list[int]:
    """Return b - a in Python integers: unsigned counts must not wrap around."""
    return [int(after) - int(before) for before, after in zip(a_counts.tolist(), b_counts.tolist(), strict=True)]


def _one_dimensional(values: ArrayLike, what: str) -> NDArray[np.generic]:
    array: NDArray[np.generic] = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{what}: must be one-dimensional, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what}: is empty; at least one pair is needed")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: must hold real numbers, got dtype {array.dtype}")
    return array


def _finite(array: NDArray[np.generic], what: str) -> Floats:
    values: Floats = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"{what}: entry {bad[0]} is {values[bad[0]]}; all {len(values)} must be finite")
    return values


def _exponent(values: Floats) -> int:
    """Return the power of two that brings the largest value near 1: scaling by it is exact and nothing overflows."""
    return math.frexp(float(np.abs(values).max()))[1]


def _unscale(value: float, exponent: int) -> float:
    """Return value * 2**exponent, inf where no float is that large."""
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)
