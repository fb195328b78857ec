"""Input checks, scaling and orientation, shared by all statistics.

An estimate from differences must mirror exactly when the arms swap, and must not depend on the order of the pairs or on the unit.
Sums of floats, and resampling by position, do depend on order and sign. So estimates are always computed from one arrangement of
the data, `canonical`, and transformed back.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.interval import Interval

Floats = NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)


def one_dimensional(values: ArrayLike, what: str) -> NDArray[np.generic]:
    """Return the values as a non-empty one-dimensional array of real numbers.

    Raises:
        ValueError: not one-dimensional, empty, or not real numbers.
    """
    array: NDArray[np.generic] = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{what}: must be one-dimensional, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what}: is empty; at least one value is required")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: must hold real numbers, got dtype {array.dtype}")
    return array


def finite(array: NDArray[np.generic], what: str) -> Floats:
    """Return the array as floats.

    Raises:
        ValueError: a value is NaN or infinite.
    """
    values: Floats = array.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if bad.size:
        raise ValueError(f"{what}: entry {bad[0]} is {values[bad[0]]}; all {len(values)} must be finite")
    return values


def finite_floats(values: ArrayLike, what: str) -> Floats:
    """Return the values as a one-dimensional array of finite floats.

    Raises:
        ValueError: not one-dimensional, empty, not real numbers, or not finite.
    """
    return finite(one_dimensional(values, what), what)


def paired(a: ArrayLike, b: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return both as arrays of finite numbers of equal length; integers stay integers.

    Raises:
        ValueError: as `finite_floats`, or lengths differ.
    """
    x, y = one_dimensional(a, "a"), one_dimensional(b, "b")
    finite(x, "a"), finite(y, "b")
    if len(x) != len(y):
        raise ValueError(f"a has {len(x)} values and b has {len(y)}; pairs need equal lengths")
    return x, y


def check_alpha(alpha: float) -> None:
    """Raise `ValueError` unless 0 < alpha < 1."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha!r}")


def exponent(values: Floats) -> int:
    """Return the power of two that scales the largest value to about 1: scaling by it is exact and prevents overflow."""
    return math.frexp(float(np.abs(values).max()))[1]


def unscale(value: float, power: int) -> float:
    """Return value * 2**power: infinite if that overflows, and never -0."""
    try:
        return math.ldexp(value, power) + 0.0
    except OverflowError:
        return math.copysign(math.inf, value)


def unscale_or_none(value: float | None, power: int) -> float | None:
    """Return value * 2**power, or None if the value is None or the product is not finite."""
    if value is None:
        return None
    result = unscale(value, power)
    return result if math.isfinite(result) else None


def canonical(values: Floats) -> tuple[Floats, int]:
    """Return the sorted values or the sorted negatives, whichever is smaller lexicographically, and the sign that was applied.

    The sign is 0 if the two are equal. Then any estimate of location must be 0, and any interval symmetric.
    """
    ours = np.sort(values)
    theirs = -ours[::-1]
    left, right = ours.tolist(), theirs.tolist()
    if left == right:
        return ours, 0
    return (ours, 1) if left < right else (theirs, -1)


def canonical_interval(differences: Floats, estimate: Callable[[Floats], Interval | None]) -> Interval | None:
    """Return the interval that `estimate` computes from the canonical values, scaled to at most 1, in the unit of the data."""
    power = exponent(differences)
    values, sign = canonical(np.ldexp(differences, -power))
    found = estimate(values)
    if found is None:
        return None
    low, high = found.low, found.high
    if sign == 0:
        half = None if low is None or high is None else (high - low) / 2
        low, high = None if half is None else -half, half
    elif sign < 0:
        low, high = None if high is None else -high, None if low is None else -low
    return Interval(unscale_or_none(low, power), unscale_or_none(high, power))
