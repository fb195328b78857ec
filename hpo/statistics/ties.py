"""When two values of a task count as equal: the one tolerance of all statistics.

Two values x and y tie if

    |x - y| <= 1e-9 max(|x|, |y|, median of the task's non-zero |values|).

The same accuracy can be computed in several ways: 1/10,000 and 1 - .9999 differ by 496 machine epsilons, and 1 - .9 - .1 is
2.8e-17 rather than 0. No metric is meaningful in its ninth digit, so this tolerance never hides a difference. The median provides
a scale for values near 0, which have none of their own.

Ties are settled where data enter: differences become exactly 0 where values tie, equal sizes become one float, and ranked values
one float for each class of ties. After that, all code compares floats with `==`. Integers (counts) need no tolerance: they are
either equal or not.

>>> tied(0.1, 1 - 0.9, scale_of([0.1, 0.3])), tied(0.1, 0.1 + 1e-9, scale_of([0.1, 0.3]))
(np.True_, np.False_)
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, exponent, finite, one_dimensional, unscale

TOLERANCE = 1e-9

# A row of a table with values below this share of the other rows' is rounding error around zero.
_RESIDUE = 1e-15


def scale_of(*values: ArrayLike) -> float:
    """Return the median size of all finite non-zero values; 0 if there are none, or if all values are integers."""
    arrays = [np.ravel(np.asarray(array)) for array in values]
    if all(array.dtype.kind in "iu" for array in arrays):
        return 0.0
    sizes = np.abs(np.concatenate([array.astype(np.float64) for array in arrays]))
    sizes = sizes[np.isfinite(sizes) & (sizes > 0)]
    return _median(sizes) if sizes.size else 0.0


def scales_of_rows(table: Floats) -> Floats:
    """Return the scale of each row of a table, shape (n, 1), where each row is a task of its own.

    A row that holds only rounding errors around zero gets the median scale of the others.
    """
    rows = np.array([scale_of(row) for row in table])
    usual = scale_of(rows)
    return np.where(rows <= _RESIDUE * usual, usual, rows)[:, None]


def tied(x: ArrayLike, y: ArrayLike, scale: ArrayLike) -> NDArray[np.bool_]:
    """Return where x and y tie.

    Args:
        x: numbers, of any shape; infinities tie only with themselves, and integers only with equal integers.
        y: the same shape, or one that broadcasts.
        scale: `scale_of` the task's values.
    """
    left, right = np.asarray(x), np.asarray(y)
    if left.dtype.kind in "iu" and right.dtype.kind in "iu":
        return np.asarray(left == right)
    left, right = left.astype(np.float64), right.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        apart = np.abs(left - right)
        allowed = TOLERANCE * np.maximum(np.maximum(np.abs(left), np.abs(right)), scale)
    return np.asarray((left == right) | (np.isfinite(apart) & (apart <= allowed)))


def settled(values: NDArray[np.generic], scale: ArrayLike) -> NDArray[np.generic]:
    """Return the values with one number for each class of ties, formed along the last axis.

    Neighbours in size that tie are in one class. Its number is the midpoint of its smallest and largest value, so that negating
    the values negates these numbers. Integers stay as they are.

    Args:
        values: numbers, of any shape.
        scale: `scale_of` the task's values; shape (n, 1) gives each row its own.
    """
    return values if values.dtype.kind in "iu" else _settled(values.astype(np.float64), scale)


def _settled(values: Floats, scale: ArrayLike) -> Floats:
    order = np.argsort(values, axis=-1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=-1)
    starts = np.ones(ranked.shape, dtype=np.bool_)
    starts[..., 1:] = ~tied(ranked[..., 1:], ranked[..., :-1], scale)
    ends = np.ones_like(starts)
    ends[..., :-1] = starts[..., 1:]
    place = np.broadcast_to(np.arange(values.shape[-1]), values.shape)
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=-1)
    last = np.minimum.accumulate(np.where(ends, place, values.shape[-1])[..., ::-1], axis=-1)[..., ::-1]
    low, high = (np.take_along_axis(ranked, at, axis=-1) for at in (first, last))
    result = np.empty_like(values)
    np.put_along_axis(result, order, np.where(low == high, low, low / 2 + high / 2), axis=-1)
    return result


def comparable(values: Floats, counts: NDArray[np.object_] | None, scale: ArrayLike) -> NDArray[np.generic]:
    """Return numbers that are equal for ties, and ordered as the values are.

    Args:
        values: of any shape.
        counts: integers of which the values are linear functions, of the same shape; None: use values with ties settled.
        scale: as in `settled`.
    """
    if counts is None or not values.size:
        return settled(values, scale)
    places = np.unique(counts, return_inverse=True)[1].reshape(values.shape)
    # Accuracies fall as error counts rise.
    return -places if values.flat[places.argmax()] < values.flat[places.argmin()] else places


def midranks(values: NDArray[np.generic], scale: ArrayLike, *, larger_is_better: bool = False) -> Floats:
    """Return the ranks along the last axis, 1 = best; ties share their mean rank.

    Args:
        values: numbers, of any shape.
        scale: as in `settled`.
        larger_is_better: whether rank 1 goes to the largest value.
    """
    from scipy.stats import rankdata

    ranks: Floats = rankdata(settled(values, scale).astype(np.float64), method="average", axis=-1)
    return values.shape[-1] + 1 - ranks if larger_is_better else ranks


def settled_sizes(differences: Floats, scale: float) -> Floats:
    """Return the differences with one size for each class of tied sizes, and 0 for those that tie with 0; signs are kept.

    Args:
        differences: shape (n,).
        scale: `scale_of` the values that were subtracted, or of the differences if the values are unknown.
    """
    sizes = _settled(np.where(tied(differences, 0.0, scale), 0.0, np.abs(differences)), scale)
    return np.copysign(sizes, differences) + 0.0


def settled_differences(differences: ArrayLike) -> Floats:
    """Return differences of unknown values as floats, with ties settled by their own scale; integers stay as they are.

    Raises:
        ValueError: not one-dimensional, empty, not real numbers, or not finite.
    """
    array = one_dimensional(differences, "differences")
    values = finite(array, "differences")
    return values if array.dtype.kind in "iu" else settled_sizes(values, scale_of(values))


def tolerance_of_sums(differences: Floats, scale: float) -> float:
    """Return how far apart two signed sums of the differences may be and still tie: n times the tolerance of their means."""
    return TOLERANCE * max(len(differences) * scale, math.fsum(np.abs(differences)))


def mean_difference(differences: Floats, scale: float) -> float:
    """Return the mean of differences with ties settled, from an exact sum; exactly 0 if the means of the two arms tie."""
    power = exponent(differences)
    scaled = np.ldexp(differences, -power)
    total = math.fsum(scaled)
    if abs(total) <= tolerance_of_sums(scaled, unscale(scale, -power)):
        return 0.0
    return unscale(total / len(differences), power)


def _median(sizes: Floats) -> float:
    """Return the median without NumPy's overflow for large values."""
    middle = np.sort(sizes)[[(len(sizes) - 1) // 2, len(sizes) // 2]]
    return float(middle[0] / 2 + middle[1] / 2)
