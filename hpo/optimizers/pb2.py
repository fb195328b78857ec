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

from hpo.core.errors import OptionError
from hpo.core.optimizer import BoundsOf, Member
from hpo.core.registry import register_perturbation
from hpo.core.segments import HParams, Result
from hpo.core.space import Categorical, SearchSpace
from hpo.optimizers.observations import (
    Encoding,
    Floats,
    improvements,
    next_rows_of_others,
    next_times,
    standardised,
)
from hpo.optimizers.perturbation import never_passes, perturbable
from hpo.optimizers.trust_region import WHOLE_SPACE

if TYPE_CHECKING:
    from hpo.optimizers.gaussian_process import Posterior


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
        encoding = Encoding(space, _numbers(space))
        return self._with_numbers(copied, encoding, history, *self._observed(history, encoding), rng)

    def _observed(self, history: Sequence[Result], encoding: Encoding) -> tuple[Floats, Floats]:
        """Return the points of the latest improvements, and the improvements, standardised and cut."""
        points, gains = improvements(history, encoding)
        return points[-self.window :], standardised(gains[-self.window :])

    def _with_numbers(
        self,
        copied: Sequence[Member],
        encoding: Encoding,
        history: Sequence[Result],
        points: Floats,
        gains: Floats,
        rng: np.random.Generator,
    ) -> dict[int, HParams]:
        """Return the members' hyperparameters with new values for the numbers of an encoding; its categories are kept.

        Args:
            copied: the members, in slot order.
            encoding: the hyperparameters of the model.
            history: all results so far, oldest first.
            points: the points of the improvements, shape (n, 1 + d).
            gains: the improvements, shape (n,).
            rng: the random stream.
        """
        if len(gains) <= len(encoding.names):
            drawn = rng.random(size=(len(copied), encoding.numbers))
            return {
                member.slot: encoding.decoded(encoding.with_numbers(numbers, member.hparams), member.hparams)
                for member, numbers in zip(copied, drawn, strict=True)
            }

        from hpo.optimizers.gaussian_process import TimeVarying, fit

        process = fit(points, gains, TimeVarying(categorical=encoding.categorical))
        beta = self.beta(len(gains))
        pending = next_rows_of_others({member.slot for member in copied}, history, encoding)
        times = next_times(history)
        cube = WHOLE_SPACE.around(np.full(encoding.numbers, 0.5))
        changed: dict[int, HParams] = {}
        for member in copied:
            time = times.get(member.slot, max(times.values()))
            bound = _bound(process.given(np.array(pending)), time, encoding, member.hparams, beta)
            best = encoding.with_numbers(cube.maximum(bound, rng), member.hparams)
            changed[member.slot] = encoding.decoded(best, member.hparams)
            pending.append(encoding.row(time, changed[member.slot]))
        return changed


def _bound(
    posterior: "Posterior", time: int, encoding: Encoding, hparams: HParams, beta: float
) -> Callable[[Floats], Floats]:
    """Return the upper confidence bound at a time as a function of the numbers, (c, numbers) -> (c,)."""
    return lambda units: posterior.upper_confidence(
        encoding.rows(time, encoding.with_numbers(units, hparams), hparams), beta
    )


def _numbers(space: SearchSpace) -> tuple[str, ...]:
    return tuple(name for name in perturbable(space) if not isinstance(space[name], Categorical))
