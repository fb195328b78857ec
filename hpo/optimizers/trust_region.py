"""Trust regions: the part of a mixed search space in which Bayesian optimization looks for the next point.

Eriksson et al., "Scalable global optimization via local Bayesian optimization" (TuRBO), NeurIPS 2019; Wan et al., "Think global and
act local: Bayesian optimisation over high-dimensional categorical and mixed search spaces" (Casmopolitan), ICML 2021; in population
based training: Wan et al., "Bayesian generational population-based training", AutoML 2022, section 3.1. Around a centre, a region
is a box for numbers and ordered categoricals, and a Hamming ball for unordered ones. It grows while proposals succeed and shrinks
while they fail.

Points are rows of `hpo.optimizers.observations.Encoding` without the time: places from 0 to 1, and indices of unordered choices.
Constants are those of BG-PBT's program. It has the ball's radius, but searches all choices; here the ball holds, as in the papers.

>>> region = TrustRegion()
>>> for succeeded in [True, True, True]:
...     region = region.after(succeeded)
>>> region.length == 0.4 * 1.5
True
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FACTOR = 1.5
"""By how much a region grows or shrinks."""
SMALLEST, LARGEST = 0.15, 1.0
"""The smallest and the largest side of the box."""
_SMALLEST_SHARE, _LARGEST_SHARE = 0.1, 1.0
_CANDIDATES = 1000
_NEARBY = 200
_NEARNESS = (0.1, 0.03, 0.01)


@dataclass(frozen=True)
class TrustRegion:
    """The size of a trust region, and what it has counted since it last changed.

    Args:
        length: the side of the box, in the unit cube.
        share: the fraction of the unordered categoricals that may differ from the centre's; at least one may.
        successes: consecutive successes since the size last changed.
        failures: consecutive failures since the size last changed.
    """

    length: float = 0.4
    share: float = _LARGEST_SHARE
    successes: int = 0
    failures: int = 0

    @property
    def is_exhausted(self) -> bool:
        """Return whether the box is as small as it can get, so that the search must restart elsewhere."""
        return self.length <= SMALLEST

    def after(self, succeeded: bool, success_tolerance: int = 3, failure_tolerance: int = 10) -> "TrustRegion":
        """Return the region after a success or a failure.

        Args:
            succeeded: whether the last proposals succeeded.
            success_tolerance: the consecutive successes after which the region grows.
            failure_tolerance: the consecutive failures after which it shrinks.
        """
        successes, failures = (self.successes + 1, 0) if succeeded else (0, self.failures + 1)
        if successes >= success_tolerance:
            return TrustRegion(min(self.length * FACTOR, LARGEST), min(self.share * FACTOR, _LARGEST_SHARE))
        if failures >= failure_tolerance:
            return TrustRegion(max(self.length / FACTOR, SMALLEST), max(self.share / FACTOR, _SMALLEST_SHARE))
        return replace(self, successes=successes, failures=failures)

    def around(
        self, center: Floats, choices: Sequence[int] = (), length_scales: float | Sequence[float] = 1.0
    ) -> "Neighbourhood":
        """Return the points of the region around a centre.

        Args:
            center: shape (d,).
            choices: for each coordinate the number of choices of an unordered categorical, or 0 for a number or an ordered
                categorical; empty: all are numbers.
            length_scales: those of the model, one for all numbers or one for each: the box is longer where the model varies
                less. Its sides are proportional to them, and their geometric mean is `length`.
        """
        counts = np.array(choices or [0] * len(center), dtype=np.int64)
        numbers = counts == 0
        logs = np.log(np.broadcast_to(length_scales, int(numbers.sum())))
        halves = np.zeros(len(center))
        halves[numbers] = self.length / 2 * (np.exp(logs - logs.mean()) if len(logs) else 1.0)
        low, high = np.clip(center - halves, 0.0, 1.0), np.clip(center + halves, 0.0, 1.0)
        radius = max(1, math.floor(self.share * int((~numbers).sum())))
        return Neighbourhood(center, low, high, counts, radius)


WHOLE_SPACE = TrustRegion(length=math.inf)
"""No trust region: every neighbourhood is the unit cube."""


@dataclass(frozen=True, eq=False)
class Neighbourhood:
    """A trust region around a centre.

    Args:
        center: shape (d,).
        low, high: the corners of the box, shape (d,); without effect for unordered categoricals.
        choices: the number of choices of unordered categoricals, 0 for other coordinates, shape (d,).
        radius: how many unordered categoricals may differ from the centre's.
    """

    center: Floats
    low: Floats
    high: Floats
    choices: NDArray[np.int64]
    radius: int

    def draw(self, count: int, rng: np.random.Generator) -> Floats:
        """Draw points: numbers uniformly from the box; `radius` random categoricals uniformly from all their choices.

        Returns:
            Shape (count, d).
        """
        units: Floats = rng.random(size=(count, len(self.center)))
        drawn: Floats = self.low + units * (self.high - self.low)
        unordered = np.flatnonzero(self.choices)
        if len(unordered):
            order = np.argsort(rng.random(size=(count, len(unordered))), axis=1)
            moves = np.argsort(order, axis=1) < self.radius
            drawn[:, unordered] = np.where(moves, self._categories(units, unordered), self.center[unordered])
        return drawn

    def draw_near(self, point: Floats, deviation: float, count: int, rng: np.random.Generator) -> Floats:
        """Draw points near a point of the region: numbers with normal noise, and one categorical anew if the ball allows it.

        Args:
            point: shape (d,).
            deviation: the standard deviation of the noise; what leaves the box is clipped to it.
            count: how many points to draw.
            rng: the random stream.

        Returns:
            Shape (count, d).
        """
        noise: Floats = deviation * rng.standard_normal(size=(count, len(point)))
        drawn: Floats = np.clip(point + noise, self.low, self.high)
        unordered = np.flatnonzero(self.choices)
        if len(unordered):
            new = self._categories(rng.random(size=(count, len(point))), unordered)
            moved = np.arange(len(unordered)) == rng.integers(len(unordered), size=(count, 1))
            changed = np.where(moved, new, point[unordered])
            outside = (changed != self.center[unordered]).sum(axis=1) > self.radius
            drawn[:, unordered] = np.where(outside[:, None], point[unordered], changed)
        return drawn

    def maximum(self, bound: Callable[[Floats], Floats], rng: np.random.Generator) -> Floats:
        """Return the best point found in the neighbourhood, shape (d,). Ties go to the first.

        The bound is evaluated at random points, and then ever closer to the best one. No gradient is used, so that the choice
        depends on the random stream alone, bit for bit, and spaces of any kind are searched in the same way.

        Args:
            bound: the function to maximise, from points (c, d) to values (c,).
            rng: the random stream.
        """
        candidates = self.draw(_CANDIDATES, rng)
        best: Floats = candidates[int(np.argmax(bound(candidates)))]
        for deviation in _NEARNESS:
            near = np.vstack([best, self.draw_near(best, deviation, _NEARBY, rng)])
            best = near[int(np.argmax(bound(near)))]
        return best

    def _categories(self, units: Floats, unordered: NDArray[np.int64]) -> Floats:
        """Return the choices of unordered categoricals that belong to uniform draws, as indices."""
        return np.asarray(np.floor(units[:, unordered] * self.choices[unordered]))
