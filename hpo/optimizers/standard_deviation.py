"""Selection by mean and standard deviation: the exploit step of Isaac Lab's population based training.

NVIDIA Isaac Lab 3.0, documentation and program of its PBT for RL-Games. Two cuts divide the population by its mean μ and its
standard deviation σ (that of the population itself, with divisor n):

    upper = max(μ + k σ, μ + a),    lower = min(μ - k σ, μ - a).

Members below the lower cut are replaced by leaders, the members above the upper one. If there are no leaders, they keep their
weights and explore. Unlike truncation, it may change no member at all, or most of them.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge

from hpo.core.errors import OptionError
from hpo.core.optimizer import Explore, Member
from hpo.core.registry import register_selection
from hpo.core.segments import Key


@register_selection("standard_deviation")
@dataclass(frozen=True)
class StandardDeviation:
    """Replace each member far below the mean by a member far above it, drawn uniformly; without one, it explores on the spot.

    Mean and standard deviation are those of the finite scores. A diverged member is below the lower cut. It can only be replaced,
    since new hyperparameters do not bring it back.

    Args:
        threshold_std: k, the distance of the cuts from the mean in standard deviations.
        threshold_abs: a, the least distance, in the unit of the metric.
    """

    threshold_std: Annotated[float, Ge(0)] = 0.1
    threshold_abs: Annotated[float, Ge(0)] = 0.05

    def check(self, population_size: int) -> None:
        """Raise `OptionError` if a threshold is out of range, or so large that no member can be that far from the mean."""
        for option in ("threshold_std", "threshold_abs"):
            value = getattr(self, option)
            if not 0 <= value < math.inf:
                raise OptionError(option, value, "a finite number of at least 0")
        # Of n scores, none is further than sqrt(n - 1) standard deviations from their mean (Samuelson 1968).
        if self.threshold_std**2 >= population_size - 1:
            furthest = math.sqrt(population_size - 1)
            allowed = (
                f"less than {furthest:.3g} for a population of {population_size}, or no member is ever below the lower cut"
                if population_size > 1
                else "another selection: this one needs a population of at least 2"
            )
            raise OptionError("threshold_std", self.threshold_std, allowed)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return, for each member below the lower cut, the key of a leader or, without leaders, its own to explore from."""
        finite = [member.score for member in population if math.isfinite(member.score)]
        if not finite:
            return {}
        mean = statistics.mean(finite)  # exact, so that equal scores are not below their own mean
        margin = max(self.threshold_std * statistics.pstdev(finite), self.threshold_abs)
        leaders = [member.key for member in population if member.score > mean + margin]
        below = [member for member in population if member.diverged or member.score < mean - margin]
        if not leaders:
            return {member.slot: Explore(member.key) for member in below if not member.diverged}
        drawn = rng.integers(len(leaders), size=len(below)).tolist()
        return {member.slot: leaders[index] for member, index in zip(below, drawn, strict=True)}
