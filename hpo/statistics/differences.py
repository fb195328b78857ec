"""The pairs of two arms: checked, subtracted, and with ties settled."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, exponent, finite, one_dimensional, unscale
from hpo.statistics.signflip import SignFlip, float_sign_flips, integer_sign_flip
from hpo.statistics.ties import mean_difference, scale_of, settled_sizes, tied

_COUNTS_AGREE = 1e-6


@dataclass(frozen=True)
class Pairs:
    """The differences of the pairs, in the forms that the statistics need.

    Attributes:
        differences: the arm's values minus the baseline's, in floats, and exactly 0 for ties.
        integers: the differences as integers, if there are counts or both arms are integers.
        unit: the value of one of those integers in the metric; negative if the metric falls as they grow.
        tied: the differences with ties settled: multiples of the unit, or floats in which tied sizes are equal.
        scale: `ties.scale_of` the values of both arms; 0 if integers decide ties.
        sides: two arrays of n numbers, the second larger where the arm's value is: the values or their integers.
    """

    differences: Floats
    integers: tuple[int, ...] | None
    unit: float
    tied: Floats
    scale: float
    sides: tuple[NDArray[np.generic], NDArray[np.generic]]

    @staticmethod
    def of(a: ArrayLike, b: ArrayLike, counts: tuple[ArrayLike, ArrayLike] | None = None) -> "Pairs":
        """Return the pairs of an arm `b` with the baseline `a`; for the arguments see `compare_paired`.

        Raises:
            ValueError: lengths differ, there are no pairs, values are not finite, counts are not integers, or count differences
                are not proportional to the differences of the values.
        """
        raw_a, raw_b = one_dimensional(a, "a"), one_dimensional(b, "b")
        if len(raw_a) != len(raw_b):
            raise ValueError(f"a has {len(raw_a)} values and b has {len(raw_b)}; pairs need equal lengths")
        x, y = finite(raw_a, "a"), finite(raw_b, "b")
        with np.errstate(over="ignore"):
            differences = finite(y - x, "b - a")
        if counts is not None:
            return _counted(_checked(counts, differences, float(np.abs([x, y]).max())), differences)
        if raw_a.dtype.kind in "iu" and raw_b.dtype.kind in "iu":
            return _counted((raw_a, raw_b), differences)
        scale = scale_of(x, y)
        differences = np.where(tied(x, y, scale), 0.0, differences)
        return Pairs(differences, None, 1.0, settled_sizes(differences, scale), scale, (x, y))

    @property
    def signed_sizes(self) -> ArrayLike:
        """What signs and ranks are computed from: the differences, or, with integers, signed positions of the sizes."""
        if self.integers is None:
            return self.tied
        places = {size: place for place, size in enumerate(sorted({0, *map(abs, self.integers)}))}
        turned = [value if self.unit > 0 else -value for value in self.integers]
        return [places[value] if value > 0 else -places[-value] for value in turned]

    @property
    def mean(self) -> float:
        """The mean difference; 0 if the means of the two arms tie."""
        if self.integers is not None:
            return sum(self.integers) / len(self.integers) * self.unit + 0.0
        return mean_difference(self.tied, self.scale)

    @property
    def sign_flip(self) -> SignFlip:
        """The two-sided sign-flip p of the mean difference, computed from the integers if there are any."""
        return sign_flips([self])[0]


def sign_flips(several: list[Pairs]) -> list[SignFlip]:
    """Return the sign-flip p of several sets of equally many pairs; random patterns are drawn once for all."""
    floats = [pairs for pairs in several if pairs.integers is None]
    found = iter(float_sign_flips([pairs.tied for pairs in floats], [pairs.scale for pairs in floats]))
    return [next(found) if pairs.integers is None else integer_sign_flip(pairs.integers) for pairs in several]


def tied_differences(a: ArrayLike, b: ArrayLike, *, counts: tuple[ArrayLike, ArrayLike] | None = None) -> Floats:
    """Return the differences b - a with ties settled: exactly 0 where values tie, and one float for tied sizes.

    >>> tied_differences([0.3, 0.1], [0.1 + 0.2, 0.2]).tolist()
    [0.0, 0.1]

    For the arguments and errors see `compare_paired`.
    """
    return Pairs.of(a, b, counts).tied


def _counted(sides: tuple[NDArray[np.generic], NDArray[np.generic]], differences: Floats) -> Pairs:
    """Return pairs whose ties, and equal sizes, are decided by integers."""
    # Python integers: unsigned counts must not wrap around.
    integers = [int(after) - int(before) for before, after in zip(*(side.tolist() for side in sides), strict=True)]
    unit = _unit(differences, integers)
    settled = np.array(integers, dtype=np.float64) * unit + 0.0  # no -0
    shown = np.where(settled == 0, 0.0, differences)
    return Pairs(shown, tuple(integers), unit, settled, 0.0, sides if unit > 0 else sides[::-1])


def _unit(differences: Floats, integers: list[int]) -> float:
    """Return the value of one count in the metric, negative if the metric falls as counts grow; 1 if unknown."""
    largest = max(integers, key=abs)
    if largest == 0:
        return 1.0
    power = exponent(differences)
    size = math.fsum(np.abs(np.ldexp(differences, -power))) / sum(map(abs, integers))
    same_sign = (differences[integers.index(largest)] > 0) == (largest > 0)
    return unscale(size if same_sign else -size, power)


def _checked(
    counts: tuple[ArrayLike, ArrayLike], differences: Floats, largest: float
) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return the counts after checking that their differences are proportional to those of the values."""
    sides = one_dimensional(counts[0], "counts of a"), one_dimensional(counts[1], "counts of b")
    for array, what in zip(sides, ("counts of a", "counts of b"), strict=True):
        if array.dtype.kind not in "iu":
            raise ValueError(f"{what}: must be integers, got dtype {array.dtype}")
        if len(array) != len(differences):
            raise ValueError(f"{what}: {len(array)} counts for {len(differences)} pairs")
    unit = np.array([float(after - before) for before, after in zip(*(side.tolist() for side in sides), strict=True)])
    unit /= max(1.0, float(np.abs(unit).max()))
    relative = differences / (largest or 1.0)
    slope = float(unit @ relative) / (float(unit @ unit) or 1.0)
    if float(np.abs(relative - slope * unit).max()) > _COUNTS_AGREE or (unit.any() and not slope):
        raise ValueError(
            "counts: their differences are not proportional to those of the values, so their p would answer another question;"
            " check that both come from the same replicates in the same order"
        )
    return sides
