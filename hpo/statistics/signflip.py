"""The sign-flip test on the mean of paired differences: the test that decides.

Integers (error counts) give an exact p at any n. Float metrics give one up to n = 20; above that, p is estimated from random sign
patterns with a fixed seed, and `SignFlip.exact` is false. Tied sums of floats count as equal (see `ties`), which can only make p
larger.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, canonical, exponent, one_dimensional, unscale
from hpo.statistics.ties import scale_of, settled_differences, tolerance_of_sums

ENUMERATION_MAX_N = 20
RESAMPLES = 100_000
_RESAMPLING_SEED = 20_240_229
_CHUNK_CELLS = 4_000_000
_CACHED_CELLS = 500_000  # sums that stay in the processor's cache
_CONVOLUTION_MAX_BITS = 2**29


@dataclass(frozen=True)
class SignFlip:
    """A two-sided sign-flip p.

    Attributes:
        p: the share of sign patterns whose |sum| is at least the observed one.
        exact: whether all 2**n patterns were counted; otherwise p = (hits + 1) / (100,000 + 1) from random ones.
    """

    p: float
    exact: bool


def smallest_p(n: int) -> float:
    """Return the smallest two-sided p that a sign-flip test of n pairs can reach: min(1, 2 / 2**n).

    Raises:
        ValueError: n is negative.
    """
    if n < 0:
        raise ValueError(f"n must be 0 or more pairs, got {n}")
    return min(1.0, math.ldexp(2.0, -n))


def sign_flip(differences: ArrayLike) -> SignFlip:
    """Test the mean of paired differences against 0 by flipping their signs.

    Under the null hypothesis each difference is symmetric about 0, so that all 2**n sign patterns are equally likely, and p is
    the share of patterns whose |sum| is at least the observed one.

    >>> sign_flip([3, 1, 4, 1, 5, 9])
    SignFlip(p=0.03125, exact=True)

    Args:
        differences: shape (n,). For an integer dtype p is exact at any n (by convolution of counts), unless n > 20 and the
            integers are so large that their exact distribution needs more than 64 MiB. For a float dtype it is exact up to
            n = 20. Otherwise it is (hits + 1) / (resamples + 1) from 100,000 random patterns with a fixed seed, the same for
            every order of the pairs. Float sums tie if their means differ by at most 1e-9 times the larger of the median
            non-zero |d| and the mean |d|.

    Raises:
        ValueError: not one-dimensional, empty, not real numbers, or not finite.

    References:
        Fisher, The Design of Experiments (1935), section 21. The convolution: Pagano and Tritchler, On obtaining
        permutation distributions in polynomial time, JASA 78 (1983). The +1: Phipson and Smyth, Permutation p-values
        should never be zero (2010).
    """
    array = one_dimensional(differences, "differences")
    if array.dtype.kind in "iu":
        return integer_sign_flip(array.tolist())
    return float_sign_flips([settled_differences(array)], [scale_of(array)])[0]


def sign_flip_p(differences: ArrayLike) -> float:
    """Return the p of `sign_flip`."""
    return sign_flip(differences).p


def integer_sign_flip(differences: Sequence[int]) -> SignFlip:
    """Test integers, exactly if their distribution fits into memory.

    The coefficient of x**k in prod(1 + x**|d|) counts the patterns whose positive part is k. The polynomial is one Python
    integer with n + 1 bits per coefficient, so that multiplying by (1 + x**|d|) is a shift and an addition. No coefficient
    exceeds 2**n, so none carries into the next.
    """
    n, observed = len(differences), abs(sum(differences))
    if observed == 0:
        return SignFlip(1.0, exact=True)
    divisor = math.gcd(*differences)
    sizes = sorted(abs(value) // divisor for value in differences)
    observed, total, width = observed // divisor, sum(sizes), n + 1
    if total * width > _CONVOLUTION_MAX_BITS:
        if n <= ENUMERATION_MAX_N:
            return SignFlip(_enumerated_p(np.array(sizes, dtype=object), observed), exact=True)
        floats = np.array([value // divisor for value in differences], dtype=np.float64)
        return float_sign_flips([floats], [0.0])[0]
    polynomial = 1
    for size in sizes:
        polynomial += polynomial << (size * width)
    # A pattern with positive part k has the signed sum 2 k - total. Modulo 2**width - 1, a number equals the sum of its digits.
    tail = polynomial >> ((total + observed) // 2 * width)
    hits = 2 * (tail % ((1 << width) - 1))
    return SignFlip(hits / (1 << n), exact=True)


def float_sign_flips(several: Sequence[Floats], scales: Sequence[float]) -> list[SignFlip]:
    """Test several sets of n differences each, with the same random patterns.

    Args:
        several: each of shape (n,), with ties settled.
        scales: `ties.scale_of` the values behind each set of differences.
    """
    exact: list[float | None] = []
    thresholds: list[float] = []
    columns: list[Floats] = []
    for differences, scale in zip(several, scales, strict=True):
        power = exponent(differences)
        scaled = np.ldexp(differences, -power)
        observed = abs(math.fsum(scaled))
        threshold = observed - tolerance_of_sums(scaled, unscale(scale, -power))
        if threshold <= 0:
            exact.append(1.0)
        elif len(scaled) <= ENUMERATION_MAX_N:
            exact.append(_enumerated_p(np.sort(np.abs(scaled)), threshold))
        else:
            exact.append(None)
            thresholds.append(threshold)
            columns.append(canonical(scaled)[0])
    drawn = iter(_resampled_ps(np.column_stack(columns), np.array(thresholds)) if columns else ())
    return [SignFlip(next(drawn) if p is None else p, exact=p is not None) for p in exact]


def resampled_patterns(n: int) -> Iterator[Floats]:
    """Yield the `RESAMPLES` random patterns of 0 and 1 that replace all 2**n, in chunks of rows; always the same."""
    generator = np.random.default_rng(_RESAMPLING_SEED)
    chunk = max(1, _CHUNK_CELLS // n)
    for start in range(0, RESAMPLES, chunk):
        rows = min(chunk, RESAMPLES - start)
        yield generator.integers(0, 2, size=(rows, n), dtype=np.int8).astype(np.float64)


def _enumerated_p(sizes: NDArray[Any], threshold: float) -> float:
    """Return the share of sign patterns whose |sum| reaches the threshold, which is above 0.

    The sums over one half of the sizes are sorted. For each sum over the other half, a binary search counts those that together
    reach the threshold, in 2**(n / 2) steps instead of 2**n. The largest size keeps its sign, because a pattern and its mirror
    image have the same |sum|.
    """
    half = len(sizes) // 2
    left, right = np.zeros(1, dtype=sizes.dtype), sizes[-1:]
    for size in sizes[:half]:
        left = np.concatenate([left + size, left - size])
    for size in sizes[half:-1]:
        right = np.concatenate([right + size, right - size])
    left = np.sort(left)
    above = len(left) - np.searchsorted(left, threshold - right, side="left")
    below = np.searchsorted(left, -threshold - right, side="right")
    return int(above.sum() + below.sum()) / (len(left) * len(right))


def _resampled_ps(columns: Floats, thresholds: Floats) -> list[float]:
    """Estimate p of each column from the seeded sign patterns; the observed pattern counts as one more."""
    n, several = columns.shape
    totals = columns.sum(axis=0)
    rows = max(1, _CACHED_CELLS // several)
    hits = np.zeros(several, dtype=np.int64)
    for patterns in resampled_patterns(n):
        for start in range(0, len(patterns), rows):
            sums = totals - 2 * (patterns[start : start + rows] @ columns)
            hits += np.count_nonzero(np.abs(sums) >= thresholds, axis=0)
    return [float(p) for p in (hits + 1) / (RESAMPLES + 1)]
