"""Comparison of training curves, as FIRE-PBT does it.

Dalibard and Jaderberg, "Faster improvement rate population based training", arXiv:2109.13800, 2021, section 3. Two curves are
compared from where they overlap, that is from where both have the same score, whatever the time at which they reached it. Of two
curves that pass the same score, the one that then rises faster is the better one. A Gaussian process smooths them only to find the
overlap; what is compared are the scores themselves.

The smoothing and the search for a shift follow the program of Chebykin, Alderliesten and Bosman, "To be greedy, or not to be",
TMLR 2025 (PBT-Zoo). It smooths each shifted curve anew; here the smoothed curve is shifted, which is the same. A curve is an array
of scores, one per evaluation, larger is better; it is never empty, and all of it is finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]
_SHIFTS = 10
"""The number of shifts that are tried if two curves do not overlap."""


@dataclass(frozen=True, eq=False)
class Curve:
    """A training curve.

    Args:
        scores: shape (n,), n at least 1.
    """

    scores: Floats

    @staticmethod
    def of(scores: Sequence[float]) -> "Curve":
        """Return the curve with these scores."""
        return Curve(np.asarray(scores, dtype=np.float64))

    @cached_property
    def smoothed(self) -> Floats:
        """The smoothed scores, shape (n,): the mean of a Gaussian process whose length scale is the whole curve."""
        from sklearn.gaussian_process import GaussianProcessRegressor
        from sklearn.gaussian_process.kernels import RBF

        times = np.arange(len(self.scores))[:, None] / len(self.scores)
        # Scaling by a power of two changes no bit of the result, but keeps the squares of large scores from overflowing.
        exponent = np.frexp(np.abs(self.scores).max())[1]
        with threadpool_limits(limits=1):  # so that sums are the same everywhere
            process = GaussianProcessRegressor(RBF(1.0), optimizer=None, normalize_y=True)
            process.fit(times, np.ldexp(self.scores, -exponent))
            return np.asarray(np.ldexp(process.predict(times), exponent), dtype=np.float64)


def overlap(one: Floats, other: Floats) -> tuple[int, int, int] | None:
    """Return where two curves begin to overlap, and for how many evaluations; None if they do not.

    They overlap from the start of the curve that starts higher, and in the other curve from its first score that is as high.

    Args:
        one: smoothed scores.
        other: those of the other curve.

    Returns:
        The position in each of them, and the number of evaluations that both have from there.
    """
    if one[0] < other[0]:
        swapped = overlap(other, one)
        return None if swapped is None else (swapped[1], swapped[0], swapped[2])
    reached = np.flatnonzero(other >= one[0])
    if len(reached) == 0:
        return None
    start = int(reached[0])
    return 0, start, min(len(one), len(other) - start)


def best_score_difference(one: Curve, other: Curve) -> float:
    """Return by how much the best score of a curve is above that of another over their overlap.

    It is not antisymmetric: a curve that lies above the other is shifted down, by what makes it look best, but never below 0; the
    lower one gets 0.
    """
    where = overlap(one.smoothed, other.smoothed)
    if where is not None:
        return _best(one.scores, where[0], where[2]) - _best(other.scores, where[1], where[2])
    least, most = one.scores.min() - other.scores.max(), one.scores.min() - other.scores.min()
    if least <= 0 or np.isclose(least, most):
        return 0.0
    differences = [0.0]
    for shift in np.linspace(least, most, _SHIFTS, endpoint=False):
        where = overlap(one.smoothed - shift, other.smoothed)
        if where is not None:
            best = _best(one.scores, where[0], where[2]) - float(shift)
            differences.append(best - _best(other.scores, where[1], where[2]))
    return max(differences)


def binomial_p(one: Curve, other: Curve) -> float:
    """Return the probability that a curve is above another as often as it is over their overlap, if either were equally likely.

    Without an overlap it is 0 if all of `one` is above all of `other`, and 1 if it is below. If neither, the curves are compared
    from their starts.
    """
    where = overlap(one.smoothed, other.smoothed)
    if where is None:
        if one.scores.min() > other.scores.max():
            return 0.0
        if one.scores.max() < other.scores.min():
            return 1.0
        where = 0, 0, min(len(one.scores), len(other.scores))
    i, j, length = where
    wins = int(np.sum(one.scores[i : i + length] > other.scores[j : j + length]))
    return float(stats.binomtest(wins, length, alternative="greater").pvalue)


def _best(scores: Floats, start: int, length: int) -> float:
    return float(scores[start : start + length].max())
