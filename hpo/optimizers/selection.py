"""Exploit, the first of PBT's two steps: who copies whom.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 3 (`exploit`) and section
4.1.1 (truncation selection). A selection is a pure function of the population and a random stream. Everywhere larger
scores are better, ties go to the lower slot, and diverged members rank last: a rule replaces one only where it would
replace any member of that rank, and never copies from one.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

import numpy as np
from annotated_types import Gt, Le

from hpo.errors import OptionError
from hpo.protocols import Member
from hpo.registry import register_selection
from hpo.segments import Key


def ranked(population: Sequence[Member]) -> list[Member]:
    """Return the members, best first; ties go to the lower slot, diverged members come last."""
    return sorted(population, key=lambda member: member.rank_key)


def share(population_size: int, fraction: float) -> int:
    """Return floor(population_size * fraction), exactly: the fraction is the decimal number that was written.

    >>> share(15, 0.2), share(10, 0.3), share(4, 0.2)
    (3, 3, 0)
    """
    return math.floor(population_size * Fraction(str(float(fraction))))


@register_selection("truncation")
@dataclass(frozen=True)
class Truncation:
    """Each of the bottom fraction goes on from a member drawn uniformly from the top fraction.

    Jaderberg et al. 2017, section 4.1.1, with 20% at either end. With k = floor(n * quantile_fraction), the bottom and the
    top are k members each; as k <= n/2 they share nobody. Diverged members of the top (when fewer than k are finite) are
    left out of the draw.

    Args:
        quantile_fraction: the fraction of the population at either end, above 0 and at most 0.5.
    """

    quantile_fraction: Annotated[float, Gt(0), Le(0.5)] = 0.2

    def check(self, population_size: int) -> None:
        """Raise `OptionError` for a fraction outside (0, 0.5], and for one that means nobody."""
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
        count = share(len(population), self.quantile_fraction)
        order = ranked(population)
        donors = [member.key for member in order[:count] if not member.diverged]
        bottom = sorted(member.slot for member in order[len(order) - count :])
        drawn = rng.integers(len(donors), size=len(bottom)).tolist()
        return {slot: donors[index] for slot, index in zip(bottom, drawn, strict=True)}


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


@register_selection("none")
@dataclass(frozen=True)
class NoSelection:
    """Nobody copies anybody. With `explore = "copied"` PBT is then random search."""

    def check(self, population_size: int) -> None:
        """Accept every population."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return no change."""
        return {}
