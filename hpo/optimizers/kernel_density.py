"""Kernel density estimates in the unit cube, for the model of BOHB.

Falkner, Klein and Hutter, "BOHB: robust and efficient hyperparameter optimization at scale", ICML 2018, the section
"Model-based Hyperband": one multivariate estimate, with a product of one kernel per hyperparameter. Numbers and ordered choices
have a normal kernel with the bandwidth of the normal reference rule, as in the paper (which uses statsmodels'
`KDEMultivariate`). Unordered choices have the kernel of Aitchison and Aitken, "Multivariate binary discrimination by the kernel
method", Biometrika 63, 1976, over all choices of the space. (statsmodels' kernel covers only the choices it has seen, and gives
the others no mass.)
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import norm, truncnorm

Floats = NDArray[np.float64]
MIN_BANDWIDTH = 1e-3
"""As in the reference implementation: keeps some mass elsewhere when all points are equal."""


class Density:
    """A density over points of the unit cube.

    Args:
        points: the points to estimate from, shape (n, d), each coordinate in [0, 1].
        choices: for each of the d axes the number of unordered choices, or None for a normal kernel. Choice k of K is the
            range [k/K, (k + 1)/K).
    """

    def __init__(self, points: Floats, choices: Sequence[int | None]) -> None:
        self._points = points
        self._choices = tuple(choices)
        shrinking = 1.06 * len(points) ** (-1 / (4 + points.shape[1]))
        self.bandwidths: Floats = np.array(
            [self._limited(shrinking * self._spread(axis), axis) for axis in range(points.shape[1])]
        )

    def log_density(self, at: Floats) -> Floats:
        """Return the log density, shape (m,), at points of shape (m, d)."""
        logs: Floats = np.zeros((len(at), len(self._points)))
        for axis, (count, width) in enumerate(zip(self._choices, self.bandwidths, strict=True)):
            ours, theirs = self._points[None, :, axis], at[:, None, axis]
            if count is None:
                logs += norm.logpdf(theirs, ours, width)
            else:
                same = _index(ours, count) == _index(theirs, count)
                logs += np.log(np.where(same, 1 - width, width / (count - 1)))
        mean: Floats = logsumexp(logs, axis=1, b=1 / len(self._points))
        return mean

    def sample(self, count: int, widening: float, rng: np.random.Generator) -> Floats:
        """Return draws with bandwidths multiplied by `widening`, truncated to the unit cube; shape (count, d)."""
        drawn = self._points[rng.integers(len(self._points), size=count)].copy()
        for axis, choices in enumerate(self._choices):
            width = self._limited(widening * self.bandwidths[axis], axis)
            centers = drawn[:, axis]
            if choices is None:
                low, high = (0 - centers) / width, (1 - centers) / width
                drawn[:, axis] = truncnorm.rvs(low, high, loc=centers, scale=width, random_state=rng)
            else:
                moved = rng.random(count) < width
                steps = rng.integers(1, choices, size=count)
                index = (_index(centers, choices) + np.where(moved, steps, 0)) % choices
                drawn[:, axis] = (index + 0.5) / choices
        return np.clip(drawn, 0.0, 1.0)

    def _spread(self, axis: int) -> float:
        """Return the standard deviation along an axis, or that of the indicators for unordered choices."""
        count = self._choices[axis]
        if count is None:
            return float(np.std(self._points[:, axis]))
        shares = np.bincount(_index(self._points[:, axis], count), minlength=count) / len(self._points)
        return float(np.sqrt(1 - np.sum(shares**2)))

    def _limited(self, width: float, axis: int) -> float:
        """Return a bandwidth clipped to its valid range; for unordered choices the largest is the uniform distribution's."""
        count = self._choices[axis]
        widest = np.inf if count is None else (count - 1) / count
        return float(np.clip(width, MIN_BANDWIDTH, widest))


def _index(units: Floats, count: int) -> NDArray[np.int64]:
    return np.minimum((units * count).astype(np.int64), count - 1)
