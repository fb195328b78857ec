"""PB2: explore with a bandit that learns from the whole population.

Parker-Holder, Nguyen, Roberts, "Provably efficient online hyperparameter optimization with population-based bandits",
NeurIPS 2020, section 3. A Gaussian process that forgets (`gaussian_process`) models the improvement of an interval with
hyperparameters x, f_t(x) = F_t - F_{t-1}. One after another, the members to change take the x that maximises the upper
confidence bound at their next time, given the points that the others have taken. The paper's theorem leaves constants open;
β and the cut at two standard deviations are those of Ray Tune's PB2.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from hpo.core.errors import OptionError
from hpo.core.optimizer import BoundsOf, Member
from hpo.core.registry import register_perturbation
from hpo.core.segments import HParams, Result, Value
from hpo.core.space import Categorical, SearchSpace
from hpo.optimizers.perturbation import never_passes, perturbable

if TYPE_CHECKING:
    from hpo.optimizers.gaussian_process import FittedProcess

Floats = NDArray[np.float64]

_CANDIDATES = 1000
_NEARBY = 200
_NEARNESS = (0.1, 0.03, 0.01)
_CUT = 2.0
_INACTIVE = 0.5


@register_perturbation("pb2")
@dataclass(frozen=True)
class PB2:
    """Choose floats and integers by Gaussian-process UCB on the improvements of the population.

    Hyperparameters are mapped to the unit axis of their own scale; integers are treated as real numbers and rounded.
    Categoricals keep their inherited values. The bound is evaluated at random candidates, and then ever closer to the best one.
    No gradient is used, so that the choice depends on the random stream alone, bit for bit. Until there are more improvements
    than hyperparameters, values are drawn from the prior. An improvement is the gain of one interval; first intervals and
    diverged results have none. Improvements are standardised, and cut at two standard deviations, so that a single collapse does
    not flatten all the others. Values are never outside the bounds.

    Args:
        c1: in β = c1 + max(0, log(c2 n)), with n improvements; a larger β explores more.
        c2: as above.
        window: the number of latest improvements to use; the time of a fit grows with its cube.
    """

    c1: Annotated[float, Ge(0)] = 0.2
    c2: Annotated[float, Gt(0)] = 0.4
    window: Annotated[int, Ge(2)] = 500

    def __post_init__(self) -> None:
        if not (math.isfinite(self.c1) and self.c1 >= 0):
            raise OptionError("c1", self.c1, "a finite number of at least 0")
        if not (math.isfinite(self.c2) and self.c2 > 0):
            raise OptionError("c2", self.c2, "a finite number above 0")
        if self.window < 2:
            raise OptionError("window", self.window, "a whole number of at least 2")

    @property
    def bounds(self) -> BoundsOf:
        """Values are never outside the bounds."""
        return never_passes

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` if the space has no float or integer that may change."""
        if not _numbers(space):
            raise OptionError("name", "pb2", "a search space with a float or an int that is not fixed")

    def beta(self, observed: int) -> float:
        """Return β after `observed` improvements, at least 1."""
        return self.c1 + max(0.0, math.log(self.c2 * observed))

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, chosen for one member after another in slot order."""
        names = _numbers(space)
        points, gains = improvements(history, names, space)
        points, gains = points[-self.window :], standardised(gains[-self.window :])
        if len(gains) <= len(names):
            units = rng.random(size=(len(copied), len(names)))
            return {member.slot: _chosen(member, names, space, row) for member, row in zip(copied, units, strict=True)}

        from hpo.optimizers.gaussian_process import fit

        process, beta = fit(points, gains), self.beta(len(gains))
        pending = _next_points_of_others({member.slot for member in copied}, names, space, history)
        times = _next_times(history)
        changed: dict[int, HParams] = {}
        for member in copied:
            time = times.get(member.slot, max(times.values()))
            bound = _bound(process, time, [name in member.hparams for name in names], pending, beta)
            changed[member.slot] = _chosen(member, names, space, _maximum(bound, len(names), rng))
            pending.append(_point(time, changed[member.slot], names, space))
        return changed


def _bound(
    process: "FittedProcess", time: int, active: Sequence[bool], pending: Sequence[Sequence[float]], beta: float
) -> Callable[[Floats], Floats]:
    """Return the upper confidence bound at a time as a function of points in the unit cube, (c, d) -> (c,)."""
    taken = np.array(pending, dtype=np.float64).reshape(-1, 1 + len(active))

    def bound(units: Floats) -> Floats:
        at = np.where(active, units, _INACTIVE)
        return process.upper_confidence(np.column_stack([np.full(len(at), float(time)), at]), taken, beta)

    return bound


def _maximum(bound: Callable[[Floats], Floats], dimensions: int, rng: np.random.Generator) -> Floats:
    """Return the best point found in the unit cube, shape (d,). Ties go to the first."""
    candidates: Floats = rng.random(size=(_CANDIDATES, dimensions))
    best: Floats = candidates[int(np.argmax(bound(candidates)))]
    for nearness in _NEARNESS:
        near = np.clip(best + nearness * rng.standard_normal(size=(_NEARBY, dimensions)), 0.0, 1.0)
        near = np.vstack([best, near])
        best = near[int(np.argmax(bound(near)))]
    return best


def improvements(history: Sequence[Result], names: Sequence[str], space: SearchSpace) -> tuple[Floats, Floats]:
    """Return the improvement of each interval, and the point at which it was made.

    Args:
        history: all results, oldest first.
        names: the hyperparameters of the model.
        space: maps them to the unit interval; an inactive one is mapped to 0.5.

    Returns:
        The points (time, hyperparameters), shape (n, 1 + d), where the time is the interval, and the differences in score
        between segments and their parents, shape (n,). Roots and diverged segments are left out.
    """
    scores = {result.key: result.score for result in history if not result.diverged}
    rows, gains = [], []
    for result in history:
        before = scores.get(result.segment.parent) if result.segment.parent is not None else None
        if before is not None and not result.diverged:
            rows.append(_point(result.segment.interval, result.segment.hparams, names, space))
            gains.append(result.score - before)
    return np.array(rows, dtype=np.float64).reshape(-1, 1 + len(names)), np.array(gains, dtype=np.float64)


def standardised(values: Floats) -> Floats:
    """Return values, shape (n,), scaled to mean 0 and deviation 1 and cut at ±2; all 0 if they are all equal."""
    if len(values) == 0 or np.ptp(values) == 0:
        return np.zeros(len(values))
    # Scaling by a power of two changes no bit of the result, but keeps the squares of large scores from overflowing.
    values = np.ldexp(values, -np.frexp(np.abs(values).max())[1])
    return np.asarray(np.clip((values - values.mean()) / values.std(), -_CUT, _CUT))


def _numbers(space: SearchSpace) -> list[str]:
    return [name for name in perturbable(space) if not isinstance(space[name], Categorical)]


def _point(time: int, hparams: HParams, names: Sequence[str], space: SearchSpace) -> list[float]:
    return [float(time), *(space[name].to_unit(hparams[name]) if name in hparams else _INACTIVE for name in names)]


def _chosen(member: Member, names: Sequence[str], space: SearchSpace, units: Floats) -> dict[str, Value]:
    """Return a member's hyperparameters, with the active ones of `names` taken from a point of the unit cube."""
    places = zip(names, units.tolist(), strict=True)
    return dict(member.hparams) | {name: space[name].from_unit(unit) for name, unit in places if name in member.hparams}


def _next_times(history: Sequence[Result]) -> dict[int, int]:
    """Return each slot's next interval."""
    return {result.segment.member: result.segment.interval + 1 for result in history}


def _next_points_of_others(
    copied: set[int], names: Sequence[str], space: SearchSpace, history: Sequence[Result]
) -> list[list[float]]:
    """Return the next points of the members that are not changed: they continue with their own hyperparameters."""
    last = {result.segment.member: result for result in history}
    return [
        _point(result.segment.interval + 1, result.segment.hparams, names, space)
        for slot, result in sorted(last.items())
        if slot not in copied and not result.diverged
    ]
