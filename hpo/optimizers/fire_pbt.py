"""FIRE-PBT: population based training that looks for fast improvement besides high scores.

Dalibard and Jaderberg, "Faster improvement rate population based training", arXiv:2109.13800, 2021, section 3. PBT is greedy: it
follows what pays within one exploit. FIRE-PBT divides the population. P1 is a greedy PBT, and gives the answer. The members of P2
train like any others, but are judged by what their weights are good for. An *evaluator* copies the weights of a P2 member, the
parent, and goes on from there with the hyperparameters of the best member of P1, the child. Its training curve says how fast these
weights improve once they are trained greedily. Then

- the fitness of a P2 member is the sum of the best-score differences (`curves`) between its evaluator's curve and those of the
  other evaluators, and P2 exploits and explores by fitness;
- an evaluator succeeds if its curve is above the child's (binomial test, p < 0.01) with a positive best-score difference. The child
  then takes the evaluator's weights, and keeps its hyperparameters;
- an evaluator stops without success if the child or the parent has been replaced; if its curve does not overlap the child's after
  `max_evaluation` of training T; or if it overlaps, and p > 0.01 + max(0, 1 - T / `max_evaluation`).

The paper has sub-populations P1 to Pn. Like the program of Chebykin, Alderliesten and Bosman (TMLR 2025, PBT-Zoo), this has two. It
also follows the program where it is more precise than the paper: P2 members wait for an evaluator in the order in which their last
evaluation ended, and those just perturbed last; a member just perturbed is no child; the child's curve begins with its last copy
within P1 and, after a success, is the evaluator's; of several evaluators with one child, those that do not beat a new curve stop.

It differs from the program in this: the child is chosen by the score of the weights that it has now, also after a success; diverged
members of P2 rank below all judged ones, so that they are replaced; at least one member of each sub-population copies another.
Evaluators train and count like members, so the budget is charged in full. One that has nothing to judge goes on with what it has.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count
from typing import Annotated

from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError, nested_option
from hpo.core.optimizer import Member, OptimizerOptions, Perturbation, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Key
from hpo.core.space import SearchSpace
from hpo.optimizers.composition import check
from hpo.optimizers.curves import Curve, best_score_difference, binomial_p, overlap
from hpo.optimizers.generations import DONE, Generation, Generations, at_the_end
from hpo.optimizers.incumbent import best_of
from hpo.optimizers.perturbation import Multiply, changed_by
from hpo.optimizers.population import perturbation_period, roots
from hpo.optimizers.selection import Truncation, share
from hpo.optimizers.steps import TwoSteps

_SIGNIFICANT = 0.01
_ENOUGH_EVALUATIONS = 10
_DEFAULT_PERTURBATION = Multiply((2.0, 0.5))

Sizes = tuple[int, int, int]


@register_optimizer("fire_pbt")
@dataclass(frozen=True)
class FirePBT(OptimizerOptions):
    """Train a greedy population that receives weights from another one, which evaluators judge by how fast they improve.

    Args:
        perturbation_interval: the training between two exploits, in the task's unit; a whole number of intervals. None: one
            interval, which is too short for evaluators to succeed.
        sizes: the members of P1, those of P2, and the evaluators, as numbers or as a ratio: in a population of another size they
            are rounded to it, by largest remainders. Without P2 and evaluators, as in (1, 0, 0), it is PBT.
        max_evaluation: how long an evaluator may train without a decision, in the task's unit; a whole number of intervals. None:
            three times `perturbation_interval`.
        quantile_fraction: the fraction of P1, and of P2, that copies a member of as large a top fraction; at least one member.
        perturbation: changes hyperparameters of the members that have copied.

    Raises:
        OptionError: there are evaluators without P2 or the reverse, or more evaluators than members of P2.
    """

    perturbation_interval: Annotated[float, Gt(0)] | None = None
    sizes: tuple[Annotated[int, Ge(0)], Annotated[int, Ge(0)], Annotated[int, Ge(0)]] = (8, 8, 6)
    max_evaluation: Annotated[float, Gt(0)] | None = None
    quantile_fraction: Annotated[float, Gt(0), Le(0.5)] = 0.25
    perturbation: Perturbation = _DEFAULT_PERTURBATION

    def __post_init__(self) -> None:
        object.__setattr__(self, "sizes", tuple(self.sizes))
        greedy, parents, evaluators = self.sizes
        if greedy < 1 or min(parents, evaluators) < 0 or evaluators > parents or (evaluators == 0) != (parents == 0):
            allowed = "members of P1, members of P2, and at most as many evaluators; or the last two 0"
            raise OptionError("sizes", list(self.sizes), allowed)
        if not 0 < self.quantile_fraction <= 0.5:
            raise OptionError("quantile_fraction", self.quantile_fraction, "a number above 0 and at most 0.5")

    def start(self, problem: Problem) -> "FirePBTRun":
        """Start a search.

        Raises:
            OptionError: a duration is not a whole number of intervals, the budget leaves no time for an exploit, the population is
                too small, or the perturbation does not suit this search space.
        """
        period = perturbation_period(problem, self.perturbation_interval)
        longest = 3 * period
        if self.max_evaluation is not None:
            longest = problem.whole_intervals(self.max_evaluation, "max_evaluation")
        sizes = apportioned(self.sizes, problem.population_size)
        if not _large_enough(sizes, self.sizes):
            least = next(n for n in count(2) if _large_enough(apportioned(self.sizes, n), self.sizes))
            divided = " : ".join(map(str, sizes))
            allowed = (
                f"sizes with at least 2 of each in a population of {problem.population_size}, which these divide into {divided},"
                f" or a population of at least {least}"
            )
            raise OptionError("sizes", list(self.sizes), allowed)
        with nested_option("perturbation"):
            check(self.perturbation, problem.space)
        return FirePBTRun(self, problem, sizes, period, longest)

    def changes(self, space: SearchSpace) -> set[str]:
        """Return the hyperparameters that may change: with evaluators, all that do not belong to the weights."""
        return set(space) - space.held if self.sizes[2] else changed_by(self.perturbation, space)

    def warnings(self, problem: Problem) -> Sequence[str]:
        """Warn if evaluators can hardly ever succeed, or never."""
        period = perturbation_period(problem, self.perturbation_interval)
        said = []
        if self.sizes[2] and period < _ENOUGH_EVALUATIONS:
            said.append(
                f"fire_pbt compares curves, and has {period} evaluation{'s' if period > 1 else ''} per exploit: with fewer than"
                f" {_ENOUGH_EVALUATIONS} an evaluator hardly ever succeeds (p < {_SIGNIFICANT}); make the study's interval shorter,"
                " or perturbation_interval longer"
            )
        if self.sizes[2] and 2 * period >= problem.intervals:
            said.append(
                "fire_pbt starts its evaluators at the first exploit and judges them at the second, which is beyond the budget: it"
                " is PBT with a smaller population; make perturbation_interval shorter"
            )
        return said


@dataclass(frozen=True)
class Evaluation:
    """What an evaluator does.

    Args:
        parent: the slot of P2 whose weights it started from.
        child: the slot of P1 whose hyperparameters it trains with, and with whose curve its own is compared.
        since: its first interval.
    """

    parent: int
    child: int
    since: int


class FirePBTRun(Generations):
    """A running FIRE-PBT. Slots are those of P1, then P2, then the evaluators.

    Args:
        options: the search's options.
        problem: the problem to solve.
        sizes: the numbers of members of P1, of P2, and of evaluators.
        period: the number of intervals between two exploits.
        longest: the number of intervals of an evaluation without a decision.
    """

    def __init__(self, options: FirePBT, problem: Problem, sizes: Sizes, period: int, longest: int) -> None:
        super().__init__(problem, Generation(list(roots(problem)), period))
        self._period, self._longest = period, longest
        self._greedy = range(sizes[0])
        self._parents = range(sizes[0], sizes[0] + sizes[1])
        self._evaluators = range(sizes[0] + sizes[1], sum(sizes))
        self._steps = [
            TwoSteps(
                Truncation(count=max(1, share(size, options.quantile_fraction))), options.perturbation, problem.space
            )
            for size in sizes[:2]
        ]
        self._curve_starts: dict[int, tuple[tuple[float, ...], int]] = dict.fromkeys(self._greedy, ((), 0))
        """For each slot of P1, what its curve begins with, and the first interval of the slot's own that follows."""
        self._running: dict[int, Evaluation] = {}
        self._waiting = list(self._parents)
        self._all_diverged = 0
        self._successes = 0

    def evolve(self, members: Sequence[Member]) -> Generation:
        """Exploit and explore within P1 and P2, decide on the evaluators, and give them what waits longest."""
        done = len(members[0].history)
        if done == self.problem.intervals:
            return DONE
        now = {member.slot: member for member in members}
        curves = self._curves_of(now)
        copied = self._exploit_and_explore([now[slot] for slot in self._greedy], 0)
        self._curve_starts |= dict.fromkeys(copied, ((), done))
        copied |= self._exploit_and_explore(self._judged(now, curves), 1)
        taken, ended = self._decide(now, curves, copied)
        begun = self._begin_evaluations(now, copied, taken, ended)
        return Generation(self.going_on(members, copied | taken | begun), self._period)

    def best(self) -> Key:
        """Return the key of the best member of P1 at the full budget."""
        own = [result for result in self.results if result.segment.member in self._greedy]
        return best_of(own, "final", self.problem.intervals)

    def finals(self) -> Collection[Key]:
        """Return the keys of P1 at the full budget."""
        return at_the_end(self.results, self.problem.intervals, self._greedy)

    def counts(self) -> Mapping[str, int]:
        """Return PBT's counts, and how often a member of P1 took the weights of an evaluator."""
        hits = sum(steps.boundary_hits for steps in self._steps)
        return {
            "boundary_hits": hits,
            "all_diverged": self._all_diverged,
            "evaluators_succeeded": self._successes,
        }

    def _exploit_and_explore(self, population: Sequence[Member], index: int) -> dict[int, Member]:
        """Return the members of a sub-population that copy, by slot, after they have copied and explored."""
        if all(member.diverged for member in population):
            self._all_diverged += index == 0
            return {}
        steps, streams = self._steps[index], self.problem.streams
        # P1 has the streams of a whole population, so that without others it is PBT.
        first, interval = (-1, self._parents.start)[index], len(population[0].history) - 1
        rng = streams.generator("selection", member=first, interval=interval)
        copied = steps.exploit(population, {member.slot for member in population}, self.by_key, rng)
        rng = streams.generator("perturbation", member=first, interval=interval)
        explored = steps.explore([copied[slot] for slot in sorted(copied)], self.results, rng)
        return {slot: replace(each, hparams=explored.get(slot, each.hparams)) for slot, each in copied.items()}

    def _curves_of(self, now: Mapping[int, Member]) -> dict[int, Curve]:
        """Return the curves of the evaluators and of their children, by slot, without those that have diverged."""
        starts = {slot: ((), evaluation.since) for slot, evaluation in self._running.items()} | {
            evaluation.child: self._curve_starts[evaluation.child] for evaluation in self._running.values()
        }
        return {
            slot: Curve.of([*before, *(result.score for result in now[slot].history[since:])])
            for slot, (before, since) in starts.items()
            if not now[slot].diverged
        }

    def _judged(self, now: Mapping[int, Member], curves: Mapping[int, Curve]) -> list[Member]:
        """Return the members of P2 that have an evaluator, with their fitness as the score, and those that have diverged.

        A member whose evaluator has diverged counts as diverged.
        """
        evaluator_of = {evaluation.parent: slot for slot, evaluation in self._running.items()}
        evaluated = [curves[slot] for slot in sorted(self._running) if slot in curves]
        judged = []
        for slot in self._parents:
            own = curves.get(evaluator_of.get(slot, -1))
            if own is not None and not now[slot].diverged:
                fitness = sum(best_score_difference(own, other) for other in evaluated if other is not own)
                judged.append(replace(now[slot], score=fitness))
            elif slot in evaluator_of or now[slot].diverged:
                judged.append(replace(now[slot], score=-math.inf, diverged=True))
        return judged

    def _decide(
        self, now: Mapping[int, Member], curves: dict[int, Curve], copied: Mapping[int, Member]
    ) -> tuple[dict[int, Member], set[int]]:
        """End evaluations that have succeeded or stopped.

        Returns:
            The children that take an evaluator's weights, by slot, and the parents whose evaluation has ended.
        """
        taken: dict[int, Member] = {}
        ended = set()
        for slot, evaluation in sorted(self._running.items()):
            child = evaluation.child
            lost = {child, evaluation.parent} & copied.keys() or not {slot, child} <= curves.keys()
            if not lost and succeeds(curves[slot], curves[child]):
                taken[child] = self._with_weights(now[child], now[slot].key)
                curves[child] = curves[slot]
                self._curve_starts[child] = (tuple(curves[slot].scores.tolist()), len(now[child].history))
                self._successes += 1
            elif not lost and child not in taken and not stops(curves[slot], curves[child], self._longest):
                continue
            del self._running[slot]
            ended.add(evaluation.parent)
        return taken, ended

    def _begin_evaluations(
        self, now: Mapping[int, Member], copied: Mapping[int, Member], taken: Mapping[int, Member], ended: set[int]
    ) -> dict[int, Member]:
        """Return the idle evaluators that begin an evaluation, by slot: with a parent's weights and the child's hyperparameters."""
        perturbed = copied.keys() & set(self._parents)
        last = ended | perturbed
        self._waiting = [slot for slot in self._waiting if slot not in last]
        self._waiting += sorted(last, key=lambda slot: (slot in perturbed, slot))
        after = {**now, **copied, **taken}
        children = [after[slot] for slot in self._greedy if slot not in copied and not after[slot].diverged]
        if not children:
            return {}
        child = min(children, key=lambda member: member.rank_key)
        parents = [slot for slot in self._waiting if not after[slot].diverged]
        begun = {}
        idle = [slot for slot in self._evaluators if slot not in self._running]
        for slot, parent in zip(idle, parents, strict=False):
            self._waiting.remove(parent)
            self._running[slot] = Evaluation(parent, child.slot, len(child.history))
            begun[slot] = self._with_weights(replace(now[slot], hparams=child.hparams), after[parent].key)
        return begun

    def _with_weights(self, member: Member, key: Key) -> Member:
        """Return a member that continues from a segment's weights with its own hyperparameters, except those of the weights."""
        donor = self.by_key[key]
        hparams = self.problem.space.inherited(member.hparams, donor.segment.hparams)
        return replace(member, key=key, hparams=hparams, score=donor.score, diverged=donor.diverged)


def succeeds(evaluator: Curve, child: Curve) -> bool:
    """Return whether an evaluator's curve is significantly better than the child's."""
    return best_score_difference(evaluator, child) > 0 and binomial_p(evaluator, child) < _SIGNIFICANT


def stops(evaluator: Curve, child: Curve, longest: int) -> bool:
    """Return whether an evaluator that has not succeeded is not worth more training.

    Args:
        evaluator: its curve, one score per interval.
        child: the child's curve.
        longest: the number of intervals without an overlap, and those after which it must be significantly better.
    """
    trained = len(evaluator.scores)
    if overlap(evaluator.smoothed, child.smoothed) is None:
        return trained >= longest
    return binomial_p(evaluator, child) > _SIGNIFICANT + max(0.0, 1 - trained / longest)


def apportioned(ratio: Sizes, population_size: int) -> Sizes:
    """Return whole numbers in a ratio that sum to the population size: by largest remainders, the first on a tie.

    >>> apportioned((8, 8, 6), 22), apportioned((8, 8, 6), 11), apportioned((1, 0, 0), 5)
    ((8, 8, 6), (4, 4, 3), (5, 0, 0))
    """
    exact = [Fraction(population_size * part, sum(ratio)) for part in ratio]
    sizes = [math.floor(each) for each in exact]
    for index in sorted(range(3), key=lambda i: sizes[i] - exact[i])[: population_size - sum(sizes)]:
        sizes[index] += 1
    return sizes[0], sizes[1], sizes[2]


def _large_enough(sizes: Sizes, ratio: Sizes) -> bool:
    """Return whether each part has at least two members: one to copy from, or to be compared with."""
    return all(size >= 2 for size, part in zip(sizes, ratio, strict=True) if part)
