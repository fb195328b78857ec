"""Exploit, the first of PBT's two steps: who copies whom.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 3 (`exploit`) and section 4.
A selection is a pure function of the population and a random stream. Everywhere larger scores are better, ties go to the
lower slot, and diverged members rank last: a rule replaces one only where it would replace any member of that rank, and
never copies from one. The rules that look at more than the last evaluations are in `t_test.py` and `backtrack.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.registry import register_selection
from hpo.core.segments import Key


def ranked(population: Sequence[Member]) -> list[Member]:
    """Return the members, best first; ties go to the lower slot, diverged members come last."""
    return sorted(population, key=lambda member: member.rank_key)


def share(population_size: int, fraction: float) -> int:
    """Return floor(population_size * fraction), exactly: the fraction is the decimal number that was written.

    >>> share(15, 0.2), share(10, 0.3), share(4, 0.2)
    (3, 3, 0)
    """
    return math.floor(population_size * Fraction(str(float(fraction))))


def opponents(count: int, rng: np.random.Generator) -> list[int]:
    """Return for each of at least two members, by position, another one drawn uniformly; nobody draws itself."""
    drawn = rng.integers(count - 1, size=count).tolist()
    return [other + (other >= position) for position, other in enumerate(drawn)]


def check_pair(name: str, population_size: int) -> None:
    """Raise `OptionError` where a rule that compares two members, the selection `name`, has only one."""
    if population_size < 2:
        raise OptionError("name", name, "a selection that needs no second member, or a population of at least 2")


@register_selection("truncation")
@dataclass(frozen=True)
class Truncation:
    """Each of the bottom few goes on from a member drawn uniformly from the top few.

    Jaderberg et al. 2017, section 4.1.1, with 20% at either end. The bottom and the top are k members each,
    k = floor(n * quantile_fraction) or k = count; as k <= n/2 they share nobody. Diverged members of the top (when fewer than
    k are finite) are left out of the draw.

    Args:
        quantile_fraction: the fraction of the population at either end, above 0 and at most 0.5; 0.2 where `count` is not
            given either.
        count: instead of it, the number of members at either end, at least 1 and at most half of the population.

    Raises:
        OptionError: both are given.
    """

    quantile_fraction: Annotated[float, Gt(0), Le(0.5)] | None = None
    count: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        if self.quantile_fraction is not None and self.count is not None:
            raise OptionError("count", self.count, f"no count beside quantile_fraction = {self.quantile_fraction!r}")
        if self.quantile_fraction is None and self.count is None:
            object.__setattr__(self, "quantile_fraction", 0.2)

    def check(self, population_size: int) -> None:
        """Raise `OptionError` for a fraction outside (0, 0.5] or that means nobody, and for a count of none or over half."""
        if self.count is not None:
            if not 1 <= self.count <= population_size // 2:
                allowed = f"at least 1 and at most {population_size // 2}, half of a population of {population_size}"
                raise OptionError("count", self.count, allowed)
            return
        assert self.quantile_fraction is not None
        if not 0 < self.quantile_fraction <= 0.5:
            raise OptionError("quantile_fraction", self.quantile_fraction, "a number above 0 and at most 0.5")
        if share(population_size, self.quantile_fraction) == 0:
            allowed = (
                f"at least 1/{population_size} for a population of {population_size}, or nobody is ever replaced"
                if population_size > 1
                else "no fraction: truncation needs a population of at least 2"
            )
            raise OptionError("quantile_fraction", self.quantile_fraction, allowed)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return a donor's key for each member of the bottom; donors are drawn in the order of the slots."""
        count = self._each_end(len(population))
        if count == 0:  # without a barrier, a population may be smaller than it will be
            return {}
        order = ranked(population)
        donors = [member.key for member in order[:count] if not member.diverged]
        bottom = sorted(member.slot for member in order[len(order) - count :])
        drawn = rng.integers(len(donors), size=len(bottom)).tolist()
        return {slot: donors[index] for slot, index in zip(bottom, drawn, strict=True)}

    def _each_end(self, population_size: int) -> int:
        if self.count is not None:
            return min(self.count, population_size // 2)
        assert self.quantile_fraction is not None
        return share(population_size, self.quantile_fraction)


@register_selection("exploit_best")
@dataclass(frozen=True)
class ExploitBest:
    """Everyone but the best goes on from the best.

    The greediest rule there is: truncation with one donor and no survivors. On a tie the lowest slot is the best.
    """

    def check(self, population_size: int) -> None:
        """Accept every population; a single member has nobody to copy."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return the best member's key for all the others."""
        best = min(population, key=lambda member: member.rank_key)
        return {member.slot: best.key for member in population if member.slot != best.slot}


@register_selection("binary_tournament")
@dataclass(frozen=True)
class BinaryTournament:
    """Each member draws another one uniformly, and goes on from it if its last evaluation is better.

    Jaderberg et al. 2017, section 4. All compare the evaluations, and copy the checkpoints, from before the step. On a tie
    nobody moves; the best member never does.
    """

    def check(self, population_size: int) -> None:
        """Raise `OptionError` for a single member, who has no opponent."""
        check_pair("binary_tournament", population_size)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return the opponent's key for each member that lost; opponents are drawn in the order of the slots."""
        if len(population) < 2:
            return {}
        chosen = {}
        for member, other in zip(population, opponents(len(population), rng), strict=True):
            opponent = population[other]
            if not opponent.diverged and (member.diverged or opponent.score > member.score):
                chosen[member.slot] = opponent.key
        return chosen


@register_selection("none")
@dataclass(frozen=True)
class NoSelection:
    """Nobody copies anybody. With `explore = "copied"` PBT is then random search."""

    def check(self, population_size: int) -> None:
        """Accept every population."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return no change."""
        return {}
