"""Restarts of a search whose steps grow: when, how the budget is divided into steps, and what has been learned until then.

Chebykin, Alderliesten, Bosman, "Iterated population based training with task-agnostic restarts", arXiv:2511.09190, 2025, section 3.
The best score of each step since the last restart is a curve. It is scaled to mean 0 and standard deviation 1, so that the rules do
not depend on the task. The authors smooth it with a parametric predictive Gaussian process, by stochastic gradients; here it is the
exact process with the same covariance (Matérn 5/2) and one deterministic fit of its likelihood, so that a resumed search decides
the same.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from hpo.core.optimizer import Member
from hpo.core.segments import HParams, Key, Result
from hpo.optimizers.local_search import Observation, observations
from hpo.optimizers.observations import standardised
from hpo.optimizers.trust_region import TrustRegion

Floats = NDArray[np.float64]

SLOW_STEPS = 15
"""The number of steps after which a search must have gained a standard deviation."""
_SLOW_GAIN = 1.0


def scaled(curve: Sequence[float]) -> Floats:
    """Return a curve of finite scores, shape (n,), with mean 0 and standard deviation 1; all 0 if they are all equal."""
    return standardised(np.array(curve, dtype=np.float64), cut=math.inf, ddof=1)


def is_slow(curve: Sequence[float]) -> bool:
    """Return whether the last 14 of at least 15 steps raised the best score by less than one standard deviation of the curve."""
    if len(curve) < SLOW_STEPS:
        return False
    values = scaled(curve)
    return bool(values.max() - values[: 1 - SLOW_STEPS].max() < _SLOW_GAIN)


def is_flat(curve: Sequence[float]) -> bool:
    """Return whether the smoothed curve does not rise from the last step but one to the last; False before the second step."""
    if len(curve) < 2:
        return False
    before, last = smoothed(scaled(curve))[-2:]
    return bool(last <= before)


def smoothed(values: Floats) -> Floats:
    """Return the mean of a Gaussian process at each of n >= 2 steps, given a noisy value of mean 0 at each, shape (n,)."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    from hpo.optimizers.gaussian_process import one_thread

    if not values.any():
        return values
    steps = np.linspace(0.0, 1.0, len(values))[:, None]
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(0.5, (0.05, 10.0), nu=2.5) + WhiteKernel(0.1, (1e-4, 1.0))
    with one_thread():
        return np.asarray(GaussianProcessRegressor(kernel).fit(steps, values).predict(steps), dtype=np.float64)


def stretches(rest: int, step: int) -> list[int]:
    """Return the lengths of the steps that use up the rest of a budget.

    If fewer than two whole steps are left, and not exactly one, they become two: half of what is left, and the rest.

    >>> stretches(8, 4), stretches(17, 4), stretches(3, 4), stretches(1, 4)
    ([4, 4], [4, 4, 4, 2, 3], [1, 2], [1])
    """
    whole = rest // step if rest % step == 0 else max(rest // step - 1, 0)
    left = rest - whole * step
    return [step] * whole + [length for length in (left // 2, left - left // 2) if length]


@dataclass(frozen=True)
class Outcome:
    """What a start led to.

    Args:
        hparams: its initial hyperparameters.
        before: its score before training.
        best: the best score of the start and its descendants, at least `before`.
    """

    hparams: HParams
    before: float
    best: float

    @property
    def gain(self) -> float:
        """By how much the start and its descendants improved on its score before training."""
        return self.best - self.before


@dataclass
class Iteration:
    """What a population has learned since its last restart; it grows by a step at a time.

    Args:
        results: those of its members, parents before children, without those of starts that did not go on.
        curve: the best score after each step.
        observed: what each member gained in each step, per interval.
        region: where the next proposals are made.
        proposed: the slots that train with a proposal of the model.
        failures: the consecutive steps after which the curve was flat.
    """

    results: list[Result] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)
    observed: list[Observation] = field(default_factory=list)
    region: TrustRegion = field(default_factory=TrustRegion)
    proposed: frozenset[int] = frozenset()
    failures: int = 0

    def add(self, members: Sequence[Member], stretch: int, by_key: Mapping[Key, Result]) -> None:
        """Add a step of some intervals."""
        best = max(member.score for member in members)
        self.results += [result for member in members for result in member.history[-stretch:]]
        gained = observations(members, stretch, len(self.curve), by_key)
        self.observed += [replace(each, gain=each.gain / stretch) for each in gained]
        self.curve.append(best)
        if self.proposed:
            self.region = self.region.after(any(m.score == best for m in members if m.slot in self.proposed))
        if self.region.is_exhausted:
            self.region, self.observed = TrustRegion(), []

    def stagnates(self, patience: int) -> bool:
        """Return whether the curve stopped rising; to be asked once after each step."""
        self.failures = self.failures + 1 if is_flat(self.curve) else 0
        return self.failures >= patience or is_slow(self.curve)

    def outcomes(self) -> list[Outcome]:
        """Return what each start led to, in their order. Those whose score before training is unknown are left out."""
        source: dict[Key, Key] = {}
        best: dict[Key, float] = {}
        for result in self.results:
            parent = result.segment.parent
            start = result.key if result.segment.scored_at_start or parent is None else source[parent]
            source[result.key] = start
            best[start] = max(best.get(start, result.score), result.score)
        return [
            Outcome(start.segment.hparams, start.score_at_start, max(best[start.key], start.score_at_start))
            for start in self.results
            if start.segment.scored_at_start and start.score_at_start is not None
        ]
