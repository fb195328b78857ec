"""The sign-flip test on the mean of paired differences: the test that decides, exact wherever that can be computed.

Equal numbers stay equal here. Integer error counts give a p value with no rounding at all; for float metrics, sums that
differ by no more than the rounding of their inputs count as tied, which can only make a p value larger.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import ArrayLike

from hpo.statistics.arrays import Floats, canonical, exponent, finite, one_dimensional, rounding

ENUMERATION_MAX_N = 20
RESAMPLES = 100_000
_RESAMPLING_SEED = 20_240_229
_CHUNK_CELLS = 4_000_000
_CONVOLUTION_MAX_BITS = 2**29


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
    array = one_dimensional(differences, "differences")
    if array.dtype.kind in "iu":
        return integer_sign_flip_p(array.tolist())
    values = finite(array, "differences")
    return float_sign_flip_p(values, np.abs(values))


def integer_sign_flip_p(differences: Iterable[int]) -> float:
    """Return the exact p by convolution.

    The coefficient of x**k in prod(1 + x**|d|) counts the patterns whose positive part is k. The polynomial is held in
    one Python integer, n + 1 bits per coefficient, so that multiplying by (1 + x**|d|) is a shift and an addition; no
    coefficient exceeds 2**n, so none ever carries into the next.
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


def float_sign_flip_p(differences: Floats, magnitude: Floats) -> float:
    """Enumerate, or resample above n = 20; `magnitude` holds the sizes of the numbers whose rounding the sums carry."""
    power = exponent(differences)
    scaled = np.ldexp(differences, -power)
    observed = abs(math.fsum(scaled))
    threshold = observed - scaled_tolerance(magnitude, power)
    if threshold <= 0:
        return 1.0
    if len(differences) > ENUMERATION_MAX_N:
        return _resampled_p(canonical(scaled)[0], threshold)
    # The two signs of one difference mirror each other, so that one of them stands for both.
    sizes = np.sort(np.abs(scaled))
    sums = sizes[:1]
    for size in sizes[1:]:
        sums = np.concatenate([sums + size, sums - size])
    return int(np.count_nonzero(np.abs(sums) >= threshold)) / len(sums)


def scaled_tolerance(magnitude: Floats, power: int) -> float:
    """Return by how much two signed sums, divided by 2**power, may differ and still count as tied."""
    with np.errstate(over="ignore"):
        return len(magnitude) * float(np.sum(rounding(np.ldexp(magnitude, -power))))


def resampled_patterns(n: int) -> Iterator[Floats]:
    """Yield the `RESAMPLES` patterns of 0 and 1 that stand for all 2**n, in chunks of rows; always the same."""
    generator = np.random.default_rng(_RESAMPLING_SEED)
    chunk = max(1, _CHUNK_CELLS // n)
    for start in range(0, RESAMPLES, chunk):
        rows = min(chunk, RESAMPLES - start)
        yield generator.integers(0, 2, size=(rows, n), dtype=np.int8).astype(np.float64)


def _large_integer_sign_flip_p(sizes: list[int], observed: int) -> float:
    """Enumerate integers that are too far apart for the convolution, still in exact arithmetic."""
    if len(sizes) > ENUMERATION_MAX_N:
        raise ValueError(
            f"differences: {len(sizes)} integers with sum of absolute values {sum(sizes)} (after division by their"
            " common divisor) are too large for the exact distribution; give them as floats to have them resampled"
        )
    sums = np.array([sizes[0]], dtype=object)
    for size in sizes[1:]:
        sums = np.concatenate([sums + size, sums - size])
    return int(np.count_nonzero(np.abs(sums) >= observed)) / len(sums)


def _resampled_p(values: Floats, threshold: float) -> float:
    """Estimate p from the seeded sign patterns; the observed one counts as one more."""
    total = float(values.sum())
    hits = sum(
        int(np.count_nonzero(np.abs(total - 2 * (patterns @ values)) >= threshold))
        for patterns in resampled_patterns(len(values))
    )
    return (hits + 1) / (RESAMPLES + 1)
