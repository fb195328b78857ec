"""Backtracking, an exploit step of population based training that can return to earlier checkpoints.

Zhang, Rajan, Pineda, Lambert, Biedenkapp, Chua, Hutter and Calandra, "On the importance of hyperparameter optimization for
model-based reinforcement learning", AISTATS 2021, arXiv:2102.13651: PBT with backtracking (PBT-BT). Training can collapse, and a
population that keeps only its current checkpoints may collapse as a whole. So the best checkpoints so far are kept as elites. A
member that falls too far below them restarts from one, and its hyperparameters are explored as after any copy.

The rule follows the authors' program. Each member keeps its best checkpoint so far; the best tenth of these, at least one, are
the elites. A member has fallen if its score is below that of the worst elite by more than 20% of that score's size; it then
restarts from an elite drawn uniformly. The authors compare members with the elites every few steps, and apply plain PBT at the
other steps. Here each exploit does both: fallen members go back, and the others follow another selection. If all members have
diverged there is no exploit at all, as with every selection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError, nested_option
from hpo.core.optimizer import Member, Selection
from hpo.core.registry import register_selection
from hpo.core.segments import Key, Result
from hpo.optimizers.selection import Truncation

_DEFAULT_OTHERWISE = Truncation(0.2)


@register_selection("backtrack")
@dataclass(frozen=True)
class Backtrack:
    """Members that fall far below the best earlier checkpoints go back to one of them; others follow another selection.

    A lucky evaluation remains an elite forever: with noisy evaluations use a larger `elite_fraction` or `tolerance`.

    Args:
        to: "elite": one of the best checkpoints of all members so far; "own": the member's own best checkpoint.
        elite_fraction: the number of elites as a fraction of the population; rounded, at least one elite.
        tolerance: how far a score may fall below that of the worst elite (with "own": below the member's own best), as a
            fraction of that score's size.
        otherwise: the selection for the other members.
    """

    to: Literal["elite", "own"] = "elite"
    elite_fraction: Annotated[float, Gt(0), Le(1)] = 0.1
    tolerance: Annotated[float, Ge(0)] = 0.2
    otherwise: Selection = _DEFAULT_OTHERWISE

    def check(self, population_size: int) -> None:
        """Raise `OptionError` if a number is out of range, or `otherwise` raises it for its own options."""
        if not 0 < self.elite_fraction <= 1:
            raise OptionError("elite_fraction", self.elite_fraction, "a number above 0 and at most 1")
        if not 0 <= self.tolerance < float("inf"):
            raise OptionError("tolerance", self.tolerance, "a finite number of at least 0")
        with nested_option("otherwise"):
            self.otherwise.check(population_size)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return the choices of `otherwise`, with an elite's key for each fallen member. Elites are drawn in slot order."""
        chosen = dict(self.otherwise(population, rng))
        count = max(1, round(len(population) * Fraction(str(float(self.elite_fraction)))))
        elites = _best((result for member in population for result in _best(member.history, 1)), count)
        for member in population:
            kept = elites if self.to == "elite" else _best(member.history, 1)
            if kept and member.score < kept[-1].score - self.tolerance * abs(kept[-1].score):
                chosen[member.slot] = kept[int(rng.integers(len(kept)))].key
        return chosen


def _best(results: Iterable[Result], count: int) -> list[Result]:
    """Return the best finite results, best first. Ties go to the lower member, then to the earlier interval."""
    finite = [result for result in results if not result.diverged]
    return sorted(finite, key=lambda result: (*result.rank_key, result.segment.interval))[:count]
