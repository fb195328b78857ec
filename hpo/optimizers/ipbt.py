"""Iterated population based training (IPBT).

Chebykin, Alderliesten, Bosman, "Iterated population based training with task-agnostic restarts", arXiv:2511.09190, 2025, section 3.
Which perturbation interval suits a task is not known, so IPBT tries several. It begins as BG-PBT with a short one. When the
population stops improving (`hpo.optimizers.restarts`), it restarts with one that is `step_multiplier` times as long, and keeps a
part of what it has learned: weights by shrink-perturb, hyperparameters by a model of what each start led to. At each start, more
members train for the first step than go on, and the budget pays for all of them. The answer is the best end of any iteration.

Where the paper's program differs from this one:

- It smooths the curve of best scores by stochastic gradients; see `hpo.optimizers.restarts`.
- It counts every member as proposed by the model, so that the trust region only grows. Here it is that of BG-PBT, and one that
  cannot shrink further begins anew, without the observations.
- In the step after a start, it takes the charge for the step's length when it checks whether another restart fits, and if not,
  never restarts again.
- Its models also know the score at which an interval began, and the time of an iteration is the budget spent. Here, as in
  BG-PBT, they do not, and it is the number of the iteration.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import zip_longest
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member, OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import SHRINK_PERTURB, HParams, Key, Segment, ShrinkPerturb
from hpo.core.space import SearchSpace
from hpo.optimizers.generations import DONE, Generation, Generations
from hpo.optimizers.incumbent import Select, best_of
from hpo.optimizers.local_search import Observation, Surrogate, explored
from hpo.optimizers.observations import Encoding
from hpo.optimizers.perturbation import NoPerturbation, perturbable
from hpo.optimizers.population import check_explorers, initial_hparams, member_budget, perturbation_period, root
from hpo.optimizers.restarts import SLOW_STEPS, Iteration, Outcome, stretches
from hpo.optimizers.selection import Truncation, ranked
from hpo.optimizers.steps import TwoSteps
from hpo.optimizers.trust_region import TrustRegion

_WINDOW = 100
"""The number of latest observations that a model knows."""


@register_optimizer("ipbt")
@dataclass(frozen=True)
class IPBT(OptimizerOptions):
    """Train a population as BG-PBT does, and restart it with a longer perturbation interval when it stops improving.

    Args:
        perturbation_interval: the training between two exploits before the first restart, in the task's unit; a whole number of
            intervals. None: one interval.
        quantile_fraction: the fraction of the population that copies at an exploit, and that is copied; rounded, at least one.
        starts: how many times the population size start; after one perturbation interval, the best of them go on.
        step_multiplier: by how much the perturbation interval grows at each restart.
        patience: the consecutive exploits without improvement after which the population restarts.
        shrink: at a restart, the factor on the weights of the start's parent, one of the best.
        perturb: the factor on fresh weights, which are added.
        reset_optimizer: whether the restart also resets what the task's own optimizer has accumulated, such as momentum.
        fraction_random_hparams: the fraction of starts at a restart whose hyperparameters are drawn from the prior.
        fraction_random_weights: the fraction of starts at a restart that train from scratch, in new slots.
        select: the answer: "final", the best end of any iteration; or "any", the best segment of any interval.
    """

    perturbation_interval: Annotated[float, Gt(0)] | None = None
    quantile_fraction: Annotated[float, Gt(0), Le(0.5)] = 0.25
    starts: Annotated[int, Ge(1)] = 2
    step_multiplier: Annotated[int, Ge(1)] = 2
    patience: Annotated[int, Ge(1)] = 3
    shrink: Annotated[float, Ge(0)] = 0.2
    perturb: Annotated[float, Ge(0)] = 0.1
    reset_optimizer: bool = False
    fraction_random_hparams: Annotated[float, Ge(0), Le(1)] = 0.5
    fraction_random_weights: Annotated[float, Ge(0), Le(1)] = 0.5
    select: Select = "final"

    def start(self, problem: Problem) -> "IPBTRun":
        """Start a search.

        Raises:
            OptionError: the interval is not a whole number of intervals, the budget leaves no time for an exploit, a population of
                one has nobody to copy, no hyperparameter may change, or the task does not offer the weight transform that a
                restart needs.
        """
        step = perturbation_period(problem, self.perturbation_interval)
        if self.starts * step >= problem.intervals:
            share = f"{member_budget(problem)} per member / {self.starts} starts"
            allowed = f"less than the budget of {share}, or no member ever exploits"
            raise OptionError("perturbation_interval", float(problem.interval * step), allowed)
        check_explorers(problem, "ipbt")
        if self.fraction_random_weights < 1 and SHRINK_PERTURB not in problem.transforms:
            allowed = "1, all starts from scratch: this task does not offer shrink_perturb, which the other starts need"
            raise OptionError("fraction_random_weights", self.fraction_random_weights, allowed)
        return IPBTRun(self, problem, step)

    @property
    def transform(self) -> ShrinkPerturb:
        """What happens to weights at a restart."""
        return ShrinkPerturb(self.shrink, self.perturb, self.reset_optimizer)

    def changes(self, space: SearchSpace) -> Collection[str]:
        """Return the hyperparameters that may change along a lineage."""
        return perturbable(space)

    def warnings(self, problem: Problem) -> Sequence[str]:
        """Return a warning if the budget is too short for a restart."""
        step = perturbation_period(problem, self.perturbation_interval)
        earliest = self.starts + min(self.patience, SLOW_STEPS - 1)
        if problem.intervals - earliest * step >= self.reserve(step):
            return ()
        short = f"a budget of {member_budget(problem)} per member is too short"
        return [f"never restarts: {short}. Reduce perturbation_interval or increase the budget"]

    def reserve(self, step: int) -> int:
        """Return the intervals per member that must be left for a restart of a population with this step.

        Two of the longer steps must fit, the paper says; and all starts must be able to finish theirs.
        """
        return max(2, self.starts) * step * self.step_multiplier


class IPBTRun(Generations):
    """A running iterated population based training.

    The budget is counted in intervals per member of the population: the first step after a start costs `starts` times its length. A
    slot counts its own intervals, so members may be at different ones: a start from scratch is the root of a new slot.

    Args:
        options: the search's options.
        problem: the problem to solve.
        step: the number of intervals between two exploits before the first restart.
    """

    def __init__(self, options: IPBT, problem: Problem, step: int) -> None:
        n = problem.population_size
        self._options = options
        self._transform = options.transform
        self._best = min(max(1, round(n * Fraction(str(options.quantile_fraction)))), n // 2)
        """How many members copy at an exploit, and how many are copied."""
        self._encoding = Encoding.of(problem.space)
        self._steps = TwoSteps(Truncation(count=self._best), NoPerturbation(), problem.space)
        self._step = step
        self._slots = options.starts * n
        """How many slots have been started."""
        self._rest = problem.intervals
        self._ahead = self._steps_after_start()
        """The lengths of this step and the next ones, until the end of the budget."""
        self._time = 0
        """How many intervals the population has trained."""
        self._iteration = Iteration()
        self._outcomes: list[list[Outcome]] = []
        """What the starts of each iteration that is over led to."""
        self._ends: list[Key] = []
        self._all_diverged = 0
        roots = [_root(slot, initial_hparams(problem, slot)) for slot in range(self._slots)]
        super().__init__(problem, Generation(roots, step))

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        candidates = self.results if self._options.select == "any" else [self.by_key[key] for key in self._ends]
        return best_of(candidates, "any", self.problem.intervals)

    def finals(self) -> Collection[Key]:
        """Return the ends of all iterations."""
        return self._ends

    def counts(self) -> Mapping[str, int]:
        """Return how often the population restarted, and how many exploits were skipped as all members had diverged."""
        return {"restarts": len(self._outcomes), "all_diverged": self._all_diverged}

    def evolve(self, members: Sequence[Member]) -> Generation:
        """Return the next generation: that of a restart, or after an exploit and explore."""
        iteration, stretch = self._iteration, self._ahead.pop(0)
        started = not iteration.curve
        self._rest -= stretch * (self._options.starts if started else 1)
        self._time += stretch
        if started:
            members = sorted(ranked(members)[: self.problem.population_size], key=lambda member: member.slot)
        iteration.add(members, stretch, self.by_key)
        if not self._ahead:
            self._ends += [member.key for member in members]
            return DONE
        if all(member.diverged for member in members):
            self._all_diverged += 1
            return Generation(self.going_on(members), self._ahead[0])
        if self._rest >= self._options.reserve(self._step) and iteration.stagnates(self._options.patience):
            return self._restart(members)
        return Generation(self.going_on(members, self._changed(members)), self._ahead[0])

    def _steps_after_start(self) -> list[int]:
        """Return the lengths of the steps until the end of the budget, for a population that is about to start."""
        return [self._step, *stretches(self._rest - self._options.starts * self._step, self._step)]

    def _changed(self, members: Sequence[Member]) -> dict[int, Member]:
        """Return, by slot, the members that copied another one, with the hyperparameters that they explore."""
        iteration, streams, at = self._iteration, self.problem.streams, self._time - 1
        slots = {member.slot for member in members}
        copied = self._steps.exploit(members, slots, self.by_key, streams.generator("selection", interval=at))
        others = [member for member in members if member.slot not in copied and not member.diverged]
        surrogate = self._surrogate(iteration.observed)
        iteration.proposed = frozenset() if surrogate is None else frozenset(copied)
        rng, time = streams.generator("perturbation", interval=at), len(iteration.curve)
        proposed = explored(surrogate, copied, others, time, iteration.region, self._encoding, rng)
        bounded = self._steps.bounded(list(copied.values()), proposed)
        return {slot: replace(member, hparams=bounded[slot]) for slot, member in copied.items()}

    def _surrogate(self, observed: Sequence[Observation]) -> Surrogate | None:
        """Return the model of some observations, or None if they are too few."""
        if len(observed) < self.problem.population_size:
            return None
        return Surrogate.fitted(observed[-_WINDOW:], self.problem.space)

    def _restart(self, members: Sequence[Member]) -> Generation:
        """Return the first generation of the next iteration."""
        self._ends += [member.key for member in members]
        self._outcomes.append(self._iteration.outcomes())
        self._iteration = Iteration()
        self._step *= self._options.step_multiplier
        self._ahead = self._steps_after_start()
        rng = self.problem.streams.generator("restart", interval=len(self._outcomes))
        parents = self._parents(members, rng)
        # A start that shrinks its parent's weights takes a slot that exists, at first those of the last generation.
        own = [member.slot for member in members]
        slots = [*own, *sorted(set(range(self._slots)) - set(own))][: len(parents)]
        scratch = round(self._options.fraction_random_weights * len(parents))
        for place in sorted(rng.permutation(len(parents))[:scratch].tolist()):
            slots[place], self._slots = self._slots, self._slots + 1
        hparams = self._new_hparams(len(parents), rng)
        starts = [self._start(*each) for each in zip(slots, parents, hparams, strict=True)]
        return Generation(starts, self._step)

    def _start(self, slot: int, parent: Member, hparams: HParams) -> Segment:
        """Return a start: the root of a slot that has none, or from the parent's weights after the transform."""
        space = self.problem.space
        if slot not in self.history:
            return _root(slot, space.cast(hparams))
        inherited = space.cast(space.inherited(hparams, parent.hparams))
        interval = self.next_interval(slot, parent.key)
        return Segment(slot, parent.key, interval, inherited, transform=self._transform, scored_at_start=True)

    def _parents(self, members: Sequence[Member], rng: np.random.Generator) -> list[Member]:
        """Return whose weights each start continues from: a member itself if it is among the best, or a random one of those."""
        best = [member for member in ranked(members)[: self._best] if not member.diverged]
        kept = {member.slot: member for member in best}
        drawn = rng.integers(len(best), size=self._options.starts * len(members)).tolist()
        slots = [member.slot for member in members]
        return [kept.get(slot, best[index]) for slot, index in zip_longest(slots, drawn)]

    def _new_hparams(self, count: int, rng: np.random.Generator) -> list[HParams]:
        """Return the hyperparameters of the starts after a restart: draws from the prior, and then proposals.

        The model is of what the starts of each iteration gained, with the iteration as the time. It predicts the next iteration, if
        there are two to learn the forgetting from, around the hyperparameters from which the last iteration's best member descends.
        """
        observed = [
            Observation(time, each.hparams, each.gain)
            for time, each_of in enumerate(self._outcomes)
            for each in each_of
        ]
        surrogate = self._surrogate(observed) if self._outcomes[-1] else None
        random = count if surrogate is None else round(self._options.fraction_random_hparams * count)
        found: list[HParams] = [self.problem.space.sample(rng) for _ in range(random)]
        if surrogate is not None and random < count:
            time = len(self._outcomes) if len(self._outcomes) > 1 else 0
            center = max(self._outcomes[-1], key=lambda outcome: outcome.best).hparams
            taken = [self._encoding.row(time, hparams) for hparams in found]
            for _ in range(count - random):
                found.append(surrogate.proposed(center, time, taken, TrustRegion(), rng))
                taken.append(self._encoding.row(time, found[-1]))
        return found


def _root(slot: int, hparams: HParams) -> Segment:
    return replace(root(slot, hparams), scored_at_start=True)
