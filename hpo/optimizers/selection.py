"""Exploit, the first of PBT's two steps: which member copies which.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 3 (`exploit`) and section 4.
A selection is a pure function of the population and a random stream. Larger scores are better, and ties go to the lower slot.
Diverged members rank last and are never donors. `t_test.py` and `backtrack.py` hold the selections that use more than the last
evaluation of each member.
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
    """Return the members, best first. Ties go to the lower slot; diverged members come last."""
    return sorted(population, key=lambda member: member.rank_key)


def share(population_size: int, fraction: float) -> int:
    """Return floor(population_size * fraction), computed with the decimal fraction as written.

    >>> share(15, 0.2), share(10, 0.3), share(4, 0.2)
    (3, 3, 0)
    """
    return math.floor(population_size * Fraction(str(float(fraction))))


def opponents(count: int, rng: np.random.Generator) -> list[int]:
    """Return an opponent's position for each of `count` >= 2 members, drawn uniformly from the others."""
    drawn = rng.integers(count - 1, size=count).tolist()
    return [other + (other >= position) for position, other in enumerate(drawn)]


def check_pair(name: str, population_size: int) -> None:
    """Raise `OptionError` if the selection `name` compares two members and the population has only one."""
    if population_size < 2:
        raise OptionError("name", name, "a selection that needs no second member, or a population of at least 2")


@register_selection("truncation")
@dataclass(frozen=True)
class Truncation:
    """Replace each of the bottom k members by a donor drawn uniformly from the top k.

    Jaderberg et al. 2017, section 4.1.1, with k = 20% of the population. Here k = floor(n * quantile_fraction) or k = count,
    at most n/2, so that top and bottom are disjoint. Diverged members among the top k are not donors.

    Args:
        quantile_fraction: the fraction of the population in the top and in the bottom, above 0 and at most 0.5. The default
            is 0.2, unless `count` is given.
        count: the number of members in the top and in the bottom instead, from 1 to half of the population.

    Raises:
        OptionError: both are given.
    """

    quantile_fraction: Annotated[float, Gt(0), Le(0.5)] | None = None
    count: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        if self.quantile_fraction is not None and self.count is not None:
            raise OptionError(
                "count", self.count, f"no count, as quantile_fraction = {self.quantile_fraction!r} is given"
            )
        if self.quantile_fraction is None and self.count is None:
            object.__setattr__(self, "quantile_fraction", 0.2)

    def check(self, population_size: int) -> None:
        """Raise `OptionError` unless at least one and at most half of the members would be replaced."""
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
                f"at least 1/{population_size} for a population of {population_size}, or no member is ever replaced"
                if population_size > 1
                else "another selection: truncation needs a population of at least 2"
            )
            raise OptionError("quantile_fraction", self.quantile_fraction, allowed)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return a donor's key for each of the bottom members. Donors are drawn in slot order."""
        count = self._each_end(len(population))
        if count == 0:  # in asynchronous mode only some members may have been evaluated so far
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
    """Replace every member except the best by the best.

    This is the greediest selection: truncation with one donor and no survivors. On a tie the lowest slot is the best.
    """

    def check(self, population_size: int) -> None:
        """Accept every population; a single member simply continues."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return the best member's key for every other member."""
        best = min(population, key=lambda member: member.rank_key)
        return {member.slot: best.key for member in population if member.slot != best.slot}


@register_selection("binary_tournament")
@dataclass(frozen=True)
class BinaryTournament:
    """Replace each member by an opponent, drawn uniformly, if the opponent's last evaluation is better.

    Jaderberg et al. 2017, section 4. All members compare evaluations and copy checkpoints from before the step. On a tie no
    member is replaced; the best member never is.
    """

    def check(self, population_size: int) -> None:
        """Raise `OptionError` for a population of one, which has no opponents."""
        check_pair("binary_tournament", population_size)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return the opponent's key for each member that lost. Opponents are drawn in slot order."""
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
    """Copy nothing. With `explore = "copied"`, PBT is then random search."""

    def check(self, population_size: int) -> None:
        """Accept every population."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return no change."""
        return {}
