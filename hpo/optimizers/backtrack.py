"""Backtracking, an exploit step of population based training that can go back in time.

Zhang, Rajan, Pineda, Lambert, Biedenkapp, Chua, Hutter and Calandra, "On the importance of hyperparameter optimization for
model-based reinforcement learning", AISTATS 2021, arXiv:2102.13651: PBT with backtracking (PBT-BT). Training can collapse, and a
population that only knows its present may collapse as a whole. So the best checkpoints of the past are kept, the elites; a
member that has fallen too far below them is restarted from one, with hyperparameters explored as after any copy.

The rule is that of the authors' program: each member has its best checkpoint so far, and the best tenth of these, at least one,
are the elites; a member has fallen when its score is below that of the worst elite by more than 20% of its size; and it goes back
to an elite drawn uniformly. There, every so many steps all members are held against the elites, and on the other steps plain PBT
goes on. Here both happen at each exploit: those that have fallen go back, the others follow another selection. Where every single
member has diverged there is no exploit at all, back in time or not, as under every selection.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member, Selection
from hpo.core.registry import register_selection
from hpo.core.segments import Key, Result
from hpo.optimizers.selection import Truncation

_DEFAULT_OTHERWISE = Truncation(0.2)


@register_selection("backtrack")
@dataclass(frozen=True)
class Backtrack:
    """Members that have fallen far below the best earlier checkpoints go back to one of them; others follow another rule.

    An evaluation that was lucky stays an elite for good: with noisy evaluations choose a larger `elite_fraction` or `tolerance`.

    Args:
        to: "elite": one of the best of all members' best checkpoints so far; "own": the best one of the member's own slot.
        elite_fraction: how many elites there are, as a fraction of the population: rounded, at least one.
        tolerance: how far below the worst elite (or, with "own", the own best) a score may be, as a fraction of that one's size.
        otherwise: the selection of all others.
    """

    to: Literal["elite", "own"] = "elite"
    elite_fraction: Annotated[float, Gt(0), Le(1)] = 0.1
    tolerance: Annotated[float, Ge(0)] = 0.2
    otherwise: Selection = _DEFAULT_OTHERWISE

    def check(self, population_size: int) -> None:
        """Raise `OptionError` for numbers out of range, and for what `otherwise` says of its own options."""
        if not 0 < self.elite_fraction <= 1:
            raise OptionError("elite_fraction", self.elite_fraction, "a number above 0 and at most 1")
        if not 0 <= self.tolerance < float("inf"):
            raise OptionError("tolerance", self.tolerance, "a finite number of at least 0")
        try:
            self.otherwise.check(population_size)
        except OptionError as error:
            raise OptionError(f"otherwise.{error.option}", error.given, error.allowed) from error

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return what `otherwise` chose, and an elite's key for each member that has fallen, drawn in the order of the slots."""
        chosen = dict(self.otherwise(population, rng))
        count = max(1, round(len(population) * Fraction(str(float(self.elite_fraction)))))
        elites = _best((result for member in population for result in _best(member.history, 1)), count)
        for member in population:
            kept = elites if self.to == "elite" else _best(member.history, 1)
            if kept and member.score < kept[-1].score - self.tolerance * abs(kept[-1].score):
                chosen[member.slot] = kept[int(rng.integers(len(kept)))].key
        return chosen


def _best(results: Iterable[Result], count: int) -> list[Result]:
    """Return the best finite results, best first; ties go to the lower member, then to the earlier interval."""
    finite = [result for result in results if not result.diverged]
    return sorted(finite, key=lambda result: (*result.rank_key, result.segment.interval))[:count]
