"""The distributions from which two arms are drawn."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hpo.statistics.arrays import Floats


class DrawnPairs(NamedTuple):
    """The values of a baseline and of an arm, and their error counts if they have any."""

    a: Floats
    b: Floats
    counts: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None


@dataclass(frozen=True)
class Kernel:
    """A distribution of pairs in which neither arm is better: the mean difference is 0.

    Attributes:
        draw: draws n pairs.
        deviation: standard deviation of the differences.
        symmetric: whether the differences are symmetric about 0, as the sign-flip test assumes.
        tied: whether sums of differences may tie, so that exact tests may reject less often.
        normal: whether the differences are normal, as the t-test assumes.
    """

    draw: Callable[[np.random.Generator, int], DrawnPairs]
    deviation: float
    symmetric: bool = True
    tied: bool = False
    normal: bool = False


def normal_pairs(generator: np.random.Generator, n: int) -> DrawnPairs:
    """Draw n pairs whose differences are standard normal."""
    return _differing(generator, generator.normal(size=n))


def _t3(generator: np.random.Generator, n: int) -> DrawnPairs:
    return _differing(generator, generator.standard_t(3, size=n))


def _skewed_differences(generator: np.random.Generator, n: int) -> DrawnPairs:
    return _differing(generator, generator.exponential(size=n) - 1)


def _skewed_arms(generator: np.random.Generator, n: int) -> DrawnPairs:
    return DrawnPairs(generator.exponential(size=n), generator.exponential(size=n))


def _tied_counts(generator: np.random.Generator, n: int) -> DrawnPairs:
    a, b = generator.binomial(_TIED_IMAGES, _TIED_RATE, size=(2, n))
    return DrawnPairs(a / _TIED_IMAGES, b / _TIED_IMAGES, (a, b))


def _few_errors(generator: np.random.Generator, n: int) -> DrawnPairs:
    a, b = generator.binomial(_MOST_ERRORS, _ERROR_CHANCE, size=(2, n))
    return DrawnPairs(a / _TIED_IMAGES, b / _TIED_IMAGES, (a, b))


def _differing(generator: np.random.Generator, differences: Floats) -> DrawnPairs:
    a = generator.normal(size=len(differences))
    return DrawnPairs(a, a + differences)


_TIED_IMAGES, _TIED_RATE = 200, 0.02
_MOST_ERRORS, _ERROR_CHANCE = 3, 0.4


KERNELS: Mapping[str, Kernel] = {
    "normal": Kernel(normal_pairs, 1.0, normal=True),
    "t3": Kernel(_t3, math.sqrt(3)),
    "skewed differences": Kernel(_skewed_differences, 1.0, symmetric=False),
    "skewed arms": Kernel(_skewed_arms, math.sqrt(2)),
    "tied counts": Kernel(_tied_counts, math.sqrt(2 * _TIED_RATE * (1 - _TIED_RATE) / _TIED_IMAGES), tied=True),
    "0 to 3 errors": Kernel(
        _few_errors, math.sqrt(2 * _MOST_ERRORS * _ERROR_CHANCE * (1 - _ERROR_CHANCE)) / _TIED_IMAGES, tied=True
    ),
}
