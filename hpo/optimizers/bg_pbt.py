"""Bayesian generational population based training (BG-PBT), without its search for architectures.

Wan, Lu, Parker-Holder, Ball, Nguyen, Ru, Osborne, "Bayesian generational population-based training", AutoML 2022,
arXiv:2207.09405, section 3.1 and algorithm 2. Population based training by truncation, in which members that copy explore by
Bayesian optimization in a trust region (`hpo.optimizers.local_search`) of a mixed space. An observation is what a member gained
between two exploits. The region grows and shrinks with the success of proposals, and the search restarts elsewhere when it is
stuck. Section 3.2, new architectures by distillation, is left out: here hyperparameters that shape the model never change.

Compared with the authors' program:

- The region's centre is the donor of each member that copies, as there.
- Proposals succeed if the best member of the step had one, as there. PBT-Zoo's version counts every member as proposed, so that its
  region only grows.
- The program forgets the model at a restart, and then draws from the prior; it has the auxiliary process of algorithm 2, but calls
  it only together with distillation. Here a restart proposes by algorithm 2.
- A restart out of patience takes effect at the same exploit; in the program, at the next one.
- The program's model also knows the score at which an interval began. Here, as in PB2, it does not.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.optimizer import Member, OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import HParams, Key
from hpo.core.space import SearchSpace
from hpo.optimizers.generations import DONE, Generation, Generations
from hpo.optimizers.incumbent import Select, best_of
from hpo.optimizers.local_search import CONFIDENCE, Observation, Surrogate, explored, observations
from hpo.optimizers.observations import Encoding
from hpo.optimizers.perturbation import NoPerturbation, perturbable
from hpo.optimizers.population import check_explorers, perturbation_period, roots
from hpo.optimizers.selection import Truncation, share
from hpo.optimizers.steps import TwoSteps
from hpo.optimizers.trust_region import WHOLE_SPACE, TrustRegion


@register_optimizer("bg_pbt")
@dataclass(frozen=True)
class BGPBT(OptimizerOptions):
    """Train a population in which weak members copy strong ones and explore by Bayesian optimization in a trust region.

    Args:
        perturbation_interval: the training between two exploits, in the task's unit; a whole number of intervals. None: one
            interval.
        quantile_fraction: the fraction of the population that copies at an exploit, and that is copied; rounded down, at least
            one member.
        patience: the consecutive exploits below the best score so far after which the search restarts.
        trust_region: whether to look only in a trust region; false: in the whole space.
        success_tolerance: the consecutive successes after which the region grows.
        failure_tolerance: the consecutive failures after which it shrinks. The search restarts when it cannot shrink further.
        confidence: how many deviations the bound that proposals maximise lies above the mean.
        window: the number of latest observations that the model knows; the time of a fit grows with its cube.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    perturbation_interval: Annotated[float, Gt(0)] | None = None
    quantile_fraction: Annotated[float, Gt(0), Le(0.5)] = 0.25
    patience: Annotated[int, Ge(1)] = 15
    trust_region: bool = True
    success_tolerance: Annotated[int, Ge(1)] = 3
    failure_tolerance: Annotated[int, Ge(1)] = 10
    confidence: Annotated[float, Ge(0)] = CONFIDENCE
    window: Annotated[int, Ge(2)] = 100
    select: Select = "final"

    def start(self, problem: Problem) -> "BGPBTRun":
        """Start a search.

        Raises:
            OptionError: the interval is not a whole number of intervals, the budget leaves no time for an exploit, a population of
                one has nobody to copy, or no hyperparameter may change.
        """
        period = perturbation_period(problem, self.perturbation_interval)
        check_explorers(problem, "bg_pbt")
        return BGPBTRun(self, problem, period)

    def changes(self, space: SearchSpace) -> Collection[str]:
        """Return the hyperparameters that may change along a lineage."""
        return perturbable(space)


@dataclass(frozen=True)
class State:
    """What the search has learned about itself. It changes at each exploit.

    Args:
        region: the trust region.
        begun: the steps at which the search began or restarted, oldest first; the model knows what was observed since the last.
        best: the best score at an exploit since then.
        failures: the consecutive exploits without a better one.
        proposed: the slots that have trained with a proposal from the region since the last exploit.
    """

    region: TrustRegion = field(default_factory=TrustRegion)
    begun: tuple[int, ...] = (0,)
    best: float = -math.inf
    failures: int = 0
    proposed: frozenset[int] = frozenset()

    def after(self, members: Sequence[Member], step: int, options: BGPBT) -> "State":
        """Return the state at an exploit, before anything is proposed.

        Args:
            members: the population, of which at least one has not diverged.
            step: how many perturbation intervals the population has trained.
            options: the search's options.
        """
        best = max(member.score for member in members)
        region = self.region
        if self.proposed:
            succeeded = any(member.slot in self.proposed for member in members if member.score == best)
            region = region.after(succeeded, options.success_tolerance, options.failure_tolerance)
        failures = 0 if best >= self.best else self.failures + 1
        if failures >= options.patience or region.is_exhausted:
            return State(begun=(*self.begun, step))
        return State(region, self.begun, max(best, self.best), failures)


class BGPBTRun(Generations):
    """A running Bayesian generational population based training.

    Args:
        options: the search's options.
        problem: the problem to solve.
        period: the number of intervals between two exploits.
    """

    def __init__(self, options: BGPBT, problem: Problem, period: int) -> None:
        count = max(1, share(problem.population_size, options.quantile_fraction))
        self._options = options
        self._period = period
        self._encoding = Encoding.of(problem.space)
        self._steps = TwoSteps(Truncation(count=count), NoPerturbation(), problem.space)
        self._observed: list[Observation] = []
        self._state = State()
        self._all_diverged = 0
        first = [replace(root, scored_at_start=True) for root in roots(problem)]
        super().__init__(problem, Generation(first, period))

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_of(self.results, self._options.select, self.problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how often the search restarted, and how many exploits were skipped as all members had diverged."""
        return {"restarts": len(self._state.begun) - 1, "all_diverged": self._all_diverged}

    def evolve(self, members: Sequence[Member]) -> Generation:
        """Return the next generation, after an exploit and explore."""
        interval = members[0].history[-1].segment.interval
        if interval + 1 >= self.problem.intervals:
            return DONE
        step = (interval + 1) // self._period
        self._observed += observations(members, self._period, step - 1, self.by_key)
        if all(member.diverged for member in members):
            self._all_diverged += 1
            return Generation(self.going_on(members), self._period)
        self._state = self._state.after(members, step, self._options)
        streams = self.problem.streams
        slots = {member.slot for member in members}
        copied = self._steps.exploit(members, slots, self.by_key, streams.generator("selection", interval=interval))
        new = self._explored(members, copied, step, streams.generator("perturbation", interval=interval))
        changed = {slot: replace(member, hparams=new[slot]) for slot, member in copied.items()}
        return Generation(self.going_on(members, changed), self._period)

    def _explored(
        self, members: Sequence[Member], copied: Mapping[int, Member], step: int, rng: np.random.Generator
    ) -> dict[int, HParams]:
        """Return new hyperparameters for the members that copied, and note which of them are proposals from the region."""
        surrogate, region = self._model(step)
        if surrogate is not None and region is not WHOLE_SPACE:
            self._state = replace(self._state, proposed=frozenset(copied))
        others = [member for member in members if member.slot not in copied and not member.diverged]
        confidence = self._options.confidence
        new = explored(surrogate, copied, others, step, region, self._encoding, rng, confidence)
        return self._steps.bounded(list(copied.values()), new)

    def _model(self, step: int) -> tuple[Surrogate | None, TrustRegion]:
        """Return the model that proposes at an exploit and where: until it knows enough, that of a restart, or none."""
        *earlier, current = self._searches()
        space, window, enough = self.problem.space, self._options.window, self.problem.population_size
        if len(current) >= enough:
            region = self._state.region if self._options.trust_region else WHOLE_SPACE
            return Surrogate.fitted(current[-window:], space), region
        if earlier and len(earlier[-1]) >= enough:
            known = [observed[-window:] for observed in earlier if observed]
            return Surrogate.fitted(known[-1], space).auxiliary(known, step), WHOLE_SPACE
        return None, WHOLE_SPACE

    def _searches(self) -> list[list[Observation]]:
        """Return what was observed in each search, from its beginning to the next restart."""
        ends = [*self._state.begun[1:], math.inf]
        return [
            [each for each in self._observed if begun <= each.time < end]
            for begun, end in zip(self._state.begun, ends, strict=True)
        ]
