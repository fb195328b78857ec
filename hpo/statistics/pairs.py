"""The pairs of two arms, read once: checked, subtracted, and with ties made exact."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, exponent, finite, mean_of, merged, one_dimensional, rounding, unscale
from hpo.statistics.signflip import float_sign_flip_p, integer_sign_flip_p

_COUNTS_AGREE = 1e-6


@dataclass(frozen=True)
class Pairs:
    """What every number of a paired comparison is made from.

    Attributes:
        x: the baseline's values, shape (n,).
        y: the arm's, the same shape.
        differences: y - x, as floats give it.
        magnitude: max(|x|, |y|): the sizes of the numbers whose rounding the differences carry.
        integers: the differences as integers, where there are counts or both arms are integers.
        unit: what one of those integers is worth in the metric, negative where more of them make the metric smaller.
        tied: the differences with ties exact: multiples of the unit, or values in which what rounding tells apart is merged.
    """

    x: Floats
    y: Floats
    differences: Floats
    magnitude: Floats
    integers: tuple[int, ...] | None
    unit: float
    tied: Floats

    @staticmethod
    def of(a: ArrayLike, b: ArrayLike, counts: tuple[ArrayLike, ArrayLike] | None = None) -> "Pairs":
        """Return the pairs of an arm `b` with the baseline `a`; the arguments are those of `compare_paired`.

        Raises:
            ValueError: lengths differ, no pairs, values not finite, counts not integers, or count differences that are not
                proportional to the differences of the values.
        """
        raw_a, raw_b = one_dimensional(a, "a"), one_dimensional(b, "b")
        if len(raw_a) != len(raw_b):
            raise ValueError(f"a has {len(raw_a)} values and b has {len(raw_b)}; pairs need equal lengths")
        x, y = finite(raw_a, "a"), finite(raw_b, "b")
        with np.errstate(over="ignore"):
            differences = finite(y - x, "b - a")
        magnitude = np.maximum(np.abs(x), np.abs(y))
        if counts is not None:
            integers = _count_differences(counts, differences, magnitude)
        elif raw_a.dtype.kind in "iu" and raw_b.dtype.kind in "iu":
            integers = _subtract(raw_a, raw_b)
        else:
            tied = _merged(differences, magnitude)
            return Pairs(x, y, differences, magnitude, None, 1.0, tied)
        unit = _unit(differences, integers)
        tied = np.array(integers, dtype=np.float64) * unit + 0.0  # no -0
        return Pairs(x, y, differences, magnitude, tuple(integers), unit, tied)

    @property
    def slack(self) -> float:
        """How far rounding may have moved any difference."""
        return float(rounding(self.magnitude).max())

    @property
    def mean(self) -> float:
        """The mean difference; of integers that cancel it is 0, whatever the rounding of the values."""
        if self.integers is None:
            return mean_of(self.tied)
        return sum(self.integers) / len(self.integers) * self.unit + 0.0

    @property
    def p_sign_flip(self) -> float:
        """The two-sided exact sign-flip p of the mean difference: from the integers where there are some."""
        if self.integers is None:
            return float_sign_flip_p(self.differences, self.magnitude)
        return integer_sign_flip_p(self.integers)


def tied_differences(a: ArrayLike, b: ArrayLike, *, counts: tuple[ArrayLike, ArrayLike] | None = None) -> Floats:
    """Return the differences b - a with ties exact: what rounding alone tells apart is equal, and 0 where it is nothing.

    >>> tied_differences([0.3, 0.1], [0.1 + 0.2, 0.2]).tolist()
    [0.0, 0.1]

    The arguments and errors are those of `compare_paired`.
    """
    return Pairs.of(a, b, counts).tied


def _merged(differences: Floats, magnitude: Floats) -> Floats:
    """Return the differences as one number where rounding alone tells them apart, else with ties made equal."""
    if len(differences) > 1 and float(differences.max()) - float(differences.min()) <= rounding(magnitude).max():
        return np.full(len(differences), mean_of(differences))
    return merged(differences, rounding(magnitude))


def _unit(differences: Floats, integers: list[int]) -> float:
    """Return what one count is worth in the metric, negative where more of them make the metric smaller; 1 if unknown."""
    largest = max(integers, key=abs)
    if largest == 0:
        return 1.0
    power = exponent(differences)
    size = math.fsum(np.abs(np.ldexp(differences, -power))) / sum(map(abs, integers))
    same_sign = (differences[integers.index(largest)] > 0) == (largest > 0)
    return unscale(size if same_sign else -size, power)


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
