"""MF-PBT: population based training in sub-populations that evolve at different frequencies.

Doulazmi, Lehuger, Toromanoff, Charraut, Buhet and Moutarde, "Multiple-frequencies population-based training", arXiv:2506.03225,
2025, and the authors' program. A population that selects often is greedy: it prefers what helps soon. So M sub-populations of equal
size train side by side, and sub-population i evolves every δ_i × `perturbation_interval`, with 1 = δ_1 < δ_2 < ... < δ_M. When it
does, its members fall into four quarters by their rank in it:

- the bottom quarter copies the top quarter, and explores: the first of the one copies the first of the other, and so on;
- the third quarter is open to migration. One after another, best first, each takes the weights of the best member of the other
  sub-populations that no other has taken, if that member ranks higher. The hyperparameters come with them only from a slower
  sub-population (larger δ). From a faster one, whose hyperparameters are greedier, the weights alone migrate: the member then
  continues with the hyperparameters of the best of its own sub-population;
- the others go on.

Nothing is drawn but the perturbation. Here, all members act on the evaluations and checkpoints of one moment. The program replaces
members one after another, so that a later one may copy what an earlier one has just received, depending on their numbers.
"""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

from annotated_types import Ge, Gt

from hpo.core.errors import OptionError, nested_option
from hpo.core.optimizer import Member, OptimizerOptions, Perturbation, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Key
from hpo.core.space import SearchSpace
from hpo.optimizers.composition import check
from hpo.optimizers.generations import DONE, Generation, Generations
from hpo.optimizers.incumbent import Select, best_of
from hpo.optimizers.perturbation import Multiply
from hpo.optimizers.population import perturbation_period, roots
from hpo.optimizers.selection import NoSelection, ranked
from hpo.optimizers.steps import TwoSteps

PAPER = (1, 10, 25, 50)
"""The frequencies of the paper's experiments, δ_1 to δ_4."""
_QUARTERS = 4
_DEFAULT_PERTURBATION = Multiply((1.25, 0.8))


@register_optimizer("mf_pbt")
@dataclass(frozen=True)
class MFPBT(OptimizerOptions):
    """Train sub-populations that evolve at different frequencies, and let members migrate between them.

    Args:
        perturbation_interval: the training between two exploits of the fastest sub-population, in the task's unit; a whole number
            of intervals. None: one interval.
        frequencies: δ: for each sub-population, the number of perturbation intervals between two of its exploits. They begin with 1
            and increase, and 4 × their number divides the population. None: see `default_frequencies`.
        perturbation: changes the hyperparameters of the bottom quarter after its copies.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    perturbation_interval: Annotated[float, Gt(0)] | None = None
    frequencies: tuple[Annotated[int, Ge(1)], ...] | None = None
    perturbation: Perturbation = _DEFAULT_PERTURBATION
    select: Select = "final"

    def __post_init__(self) -> None:
        if self.frequencies is None:
            return
        object.__setattr__(self, "frequencies", tuple(self.frequencies))
        if self.frequencies[:1] != (1,) or any(one >= other for one, other in pairwise(self.frequencies)):
            raise OptionError("frequencies", list(self.frequencies), "whole numbers that begin with 1 and increase")

    def start(self, problem: Problem) -> "MFPBTRun":
        """Start a search.

        Raises:
            OptionError: the sub-populations have no four equal quarters, a sub-population would never evolve, or the perturbation
                does not suit this search space.
        """
        period = perturbation_period(problem, self.perturbation_interval)
        frequencies = self._frequencies(problem, period)
        with nested_option("perturbation"):
            check(self.perturbation, problem.space)
        return MFPBTRun(self, problem, period, frequencies)

    def changes(self, space: SearchSpace) -> set[str]:
        """Return the hyperparameters that may change along a lineage: all, as weights migrate without them."""
        return set(space) - space.held

    def warnings(self, problem: Problem) -> Sequence[str]:
        """Return a warning if nothing can migrate."""
        period = perturbation_period(problem, self.perturbation_interval)
        if len(self._frequencies(problem, period)) > 1:
            return ()
        return (
            "one sub-population, so nothing migrates, and this is PBT. Two need a population divisible by"
            f" {2 * _QUARTERS}, and a budget of more than {2 * PAPER[1]} perturbation intervals or other frequencies",
        )

    def _frequencies(self, problem: Problem, period: int) -> tuple[int, ...]:
        """Return the frequencies of a search, checked against the population and the budget."""
        n, exploits = problem.population_size, (problem.intervals - 1) // period
        if self.frequencies is None:
            if n % _QUARTERS:
                allowed = f"a population_size divisible by {_QUARTERS}: {_next_size(n, 1)} instead of {n}"
                raise OptionError("optimizer", "mf_pbt", allowed)
            return default_frequencies(n, exploits)
        given = list(self.frequencies)
        if n % (_QUARTERS * len(given)):
            allowed = (
                f"as many frequencies as sub-populations of a size divisible by {_QUARTERS}: for {len(given)} of them, a"
                f" population_size of {_next_size(n, len(given))} instead of {n}"
            )
            raise OptionError("frequencies", given, allowed)
        if given[-1] > exploits:
            raise OptionError("frequencies", given, f"at most {exploits}, the exploits within the budget of one member")
        return self.frequencies


def default_frequencies(population_size: int, exploits: int) -> tuple[int, ...]:
    """Return the frequencies if none are given: as many of the paper's as the budget and the population allow.

    First, those that do not come twice are left out; 1 always stays. Then the population is divided into as many sub-populations
    as possible, of a size divisible by 4, and the first of the remaining frequencies are theirs.

    >>> default_frequencies(32, 200), default_frequencies(32, 49), default_frequencies(24, 49), default_frequencies(20, 200)
    ((1, 10, 25, 50), (1, 10), (1, 10), (1,))

    Args:
        population_size: a multiple of 4.
        exploits: the number of exploits of the fastest sub-population within the budget.
    """
    twice = [frequency for frequency in PAPER if frequency == 1 or 2 * frequency <= exploits]
    count = max(m for m in range(1, len(twice) + 1) if population_size % (_QUARTERS * m) == 0)
    return tuple(twice[:count])


def _next_size(population_size: int, sub_populations: int) -> int:
    """Return the next larger population size that sub-populations with four equal quarters divide."""
    unit = _QUARTERS * sub_populations
    return -(-population_size // unit) * unit


@dataclass(frozen=True)
class Inheritance:
    """What a member continues with.

    Args:
        weights: the slot whose checkpoint it copies.
        hparams: the slot whose hyperparameters it takes.
        explores: whether these then change.
    """

    weights: int
    hparams: int
    explores: bool


def evolved(own: Sequence[Member], others: Sequence[Member], slower: AbstractSet[int]) -> dict[int, Inheritance]:
    """Return, by slot, what the members of one sub-population inherit; those that go on are left out.

    Ties go to the lower slot. A diverged member is never a donor: its partner in the bottom quarter goes on, and if all of a
    sub-population have diverged, migrants bring their hyperparameters.

    Args:
        own: the members of the sub-population; their number is a multiple of 4.
        others: the members of all other sub-populations.
        slower: the slots of the sub-populations that evolve less often.
    """
    order, quarter = ranked(own), len(own) // _QUARTERS
    best, bottom = order[0], order[-quarter:]
    inherits = {
        member.slot: Inheritance(donor.slot, donor.slot, explores=True)
        for member, donor in zip(bottom, order[:quarter], strict=True)
        if not donor.diverged
    }
    migrants = [member for member in ranked(others) if not member.diverged]
    for member in order[2 * quarter : 3 * quarter]:
        if migrants and migrants[0].rank_key < member.rank_key:
            migrant = migrants.pop(0)
            source = migrant if migrant.slot in slower or best.diverged else best
            inherits[member.slot] = Inheritance(migrant.slot, source.slot, explores=False)
    return inherits


class MFPBTRun(Generations):
    """A running MF-PBT.

    Args:
        options: the search's options.
        problem: the problem to solve.
        period: the number of intervals between two exploits of the fastest sub-population.
        frequencies: of the sub-populations, which are blocks of consecutive slots in this order.
    """

    def __init__(self, options: MFPBT, problem: Problem, period: int, frequencies: Sequence[int]) -> None:
        super().__init__(problem, Generation(list(roots(problem)), period))
        self._options = options
        self._period = period
        size = problem.population_size // len(frequencies)
        self._blocks = [(frequency, range(at * size, (at + 1) * size)) for at, frequency in enumerate(frequencies)]
        self._steps = TwoSteps(NoSelection(), options.perturbation, problem.space)
        self._migrations = 0
        self._all_diverged = 0

    def evolve(self, members: Sequence[Member]) -> Generation:
        """Exploit and explore in the sub-populations that are due, and let members migrate to them."""
        done = members[0].history[-1].segment.interval + 1
        if done == self.problem.intervals:
            return DONE
        inherits: dict[int, Inheritance] = {}
        for at, (frequency, slots) in enumerate(self._blocks):
            if done // self._period % frequency == 0:
                own, others = members[slots.start : slots.stop], [*members[: slots.start], *members[slots.stop :]]
                slower = {slot for _, block in self._blocks[at + 1 :] for slot in block}
                inherits |= evolved(own, others, slower)
        self._all_diverged += all(member.diverged for member in members)
        self._migrations += sum(not each.explores for each in inherits.values())
        return Generation(self.going_on(members, self._changed(members, inherits)), self._period)

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_of(self.results, self._options.select, self.problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many sub-populations there are, how many members migrated, and the counts of PBT."""
        return {
            "sub_populations": len(self._blocks),
            "migrations": self._migrations,
            "boundary_hits": self._steps.boundary_hits,
            "all_diverged": self._all_diverged,
        }

    def _changed(self, members: Sequence[Member], inherits: Mapping[int, Inheritance]) -> dict[int, Member]:
        """Return, by slot, the members that inherit, at their donor's segment and with their new hyperparameters."""
        changed: dict[int, Member] = {}
        for slot in sorted(inherits):
            donor, source = members[inherits[slot].weights], members[inherits[slot].hparams]
            hparams = self.problem.space.inherited(source.hparams, donor.hparams)
            changed[slot] = replace(members[slot], key=donor.key, hparams=hparams, score=donor.score, diverged=False)
        exploring = [member for slot, member in changed.items() if inherits[slot].explores]
        interval = members[0].history[-1].segment.interval
        rng = self.problem.streams.generator("perturbation", interval=interval)
        for slot, new in self._steps.explore(exploring, self.results, rng).items():
            changed[slot] = replace(changed[slot], hparams=new)
        return changed
