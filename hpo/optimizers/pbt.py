"""Population based training (PBT).

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017: algorithm 1 and section 3. The members
of a population train in parallel. Every `perturbation_interval`, the selection chooses which members copy which (exploit), and
the perturbation changes hyperparameters (explore). In the paper no member waits for another (`mode = "asynchronous"`); by default
all of them wait for each other before exploiting. The answer is a schedule rather than a configuration: the lineage of the best
segment.

Each member counts its own intervals, one per segment, also after it has copied another member. So the budget is spent exactly,
each member uses an interval's data and noise once, and `select = "final"` ranks the last segment of each slot. A copied checkpoint
may be older than the member's own: that of a member that lags behind, or an earlier one (`hpo.optimizers.backtrack`). Then the
lineage skips the intervals in between, and its model has been trained for correspondingly less.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from hpo.core.errors import OptionError, nested_option
from hpo.core.optimizer import Member, Optimizer, OptimizerOptions, Perturbation, Problem, Selection
from hpo.core.registry import register_optimizer
from hpo.core.segments import HParams, Key, Result, Segment
from hpo.core.space import SearchSpace
from hpo.optimizers.composition import check
from hpo.optimizers.incumbent import Select, best_of
from hpo.optimizers.perturbation import Multiply, changed_by
from hpo.optimizers.population import member_budget, perturbation_period, roots
from hpo.optimizers.ready_queue import ReadyQueue
from hpo.optimizers.selection import NoSelection, Truncation
from hpo.optimizers.steps import Inherit, TwoSteps

_DEFAULT_SELECTION = Truncation(0.2)
_DEFAULT_PERTURBATION = Multiply((1.2, 0.8))


@register_optimizer("pbt")
@dataclass(frozen=True)
class PBT(OptimizerOptions):
    """Train a population in which weak members periodically copy strong ones and change their hyperparameters.

    Args:
        perturbation_interval: the training between two exploits, in the task's unit; a whole number of intervals. None: one
            interval.
        selection: chooses which members copy which.
        perturbation: changes hyperparameters.
        explore: the members whose hyperparameters change: those that have just copied, or all.
        inherit: what a member copies. With "weights" it keeps its own hyperparameters (the "exploit only" of the paper's Figure
            2), except those that belong to the weights (the `fixed` ones and those that control a `when`) and those that these
            activate and that it lacks.
        burn_in: the training before the first exploit or explore, in the task's unit; 0 or a whole number of intervals.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
        mode: "synchronous": all members wait for each other before each exploit. "asynchronous": no member waits; a member that
            is due is compared with the latest evaluations of the others, or, if they are ahead, with theirs at its own interval.
            The two are the same if all members train in parallel (`concurrency` = population size).
    """

    perturbation_interval: Annotated[float, Gt(0)] | None = None
    selection: Selection = _DEFAULT_SELECTION
    perturbation: Perturbation = _DEFAULT_PERTURBATION
    explore: Literal["copied", "all"] = "copied"
    inherit: Inherit = "weights_and_hyperparameters"
    burn_in: Annotated[float, Ge(0)] = 0.0
    select: Select = "final"
    mode: Literal["synchronous", "asynchronous"] = "synchronous"

    def start(self, problem: Problem) -> "PBTRun":
        """Start a search.

        Raises:
            OptionError: a duration is not a whole number of intervals, the budget leaves no time for an exploit, or the
                selection does not suit this population or the perturbation this search space.
        """
        burn_in = 0 if self.burn_in == 0 else problem.whole_intervals(self.burn_in, "burn_in")
        period = perturbation_period(problem, self.perturbation_interval)
        if math.ceil(burn_in / period) * period >= problem.intervals:
            allowed = f"a burn-in that leaves an exploit within the budget of {member_budget(problem)} per member"
            raise OptionError("burn_in", self.burn_in, allowed)
        with nested_option("selection"):
            self.selection.check(problem.population_size)
        with nested_option("perturbation"):
            check(self.perturbation, problem.space)
        return PBTRun(self, problem, period, burn_in)

    def changes(self, space: SearchSpace) -> set[str]:
        """Return the hyperparameters that may change along a lineage, by copying weights alone or by perturbation."""
        if isinstance(self.selection, NoSelection) and self.explore == "copied":
            return set()
        return set(space) - space.held if self.inherit == "weights" else changed_by(self.perturbation, space)


class PBTRun(Optimizer):
    """A running population based training.

    Synchronous: members train until all have reached the next exploit (the barrier), with any number of workers. Then all of
    them receive their parents and hyperparameters at once. Asynchronous: the members that reach an exploit at the same virtual
    time do so, and then wait for a worker behind the others.

    Args:
        options: the search's options.
        problem: the problem to solve.
        period: the number of intervals between two exploits.
        burn_in: the number of intervals before the first one.
    """

    def __init__(self, options: PBT, problem: Problem, period: int, burn_in: int) -> None:
        self._options = options
        self._problem = problem
        self._steps = TwoSteps(options.selection, options.perturbation, problem.space, options.inherit)
        self._period = period
        self._burn_in = burn_in
        self._queue = ReadyQueue(roots(problem))
        self._results: list[Result] = []
        self._by_key: dict[Key, Result] = {}
        # By slot. Entry k is the result of interval k: a slot keeps counting its intervals after a copy.
        self._history: list[list[Result]] = [[] for _ in range(problem.population_size)]
        self._at_barrier: dict[int, Result] = {}
        self._all_diverged = 0

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none while members wait for each other."""
        return self._queue.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Record results. Exploit and explore for the members that are due, or, if synchronous, once all members are."""
        arrived: dict[int, dict[int, Result]] = {}
        for result in results:
            slot, done = result.segment.member, result.segment.interval + 1
            self._results.append(result)
            self._by_key[result.key] = result
            self._history[slot].append(result)
            if self._exploits_after(done):
                arrived.setdefault(done, {})[slot] = result
            elif done < self._problem.intervals:
                self._queue.continue_from(result)
        if self._options.mode == "synchronous":
            for group in arrived.values():
                self._at_barrier |= group
            if len(self._at_barrier) < self._problem.population_size:
                return
            arrived, self._at_barrier = {0: self._at_barrier}, {}
        for _, group in sorted(arrived.items()):
            self._queue.append(self._next_segments([group[slot] for slot in sorted(group)]))

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_of(self._results, self._options.select, self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many values were outside their bounds, and how many exploits were skipped as all members had diverged."""
        return {"boundary_hits": self._steps.boundary_hits, "all_diverged": self._all_diverged}

    def _exploits_after(self, done: int) -> bool:
        return done % self._period == 0 and self._burn_in <= done < self._problem.intervals

    def _next_segments(self, group: Sequence[Result]) -> list[Segment]:
        """Return the next segment of each slot in a group. If the whole population has diverged, every member just continues.

        Args:
            group: results of one interval, in slot order.
        """
        interval = group[0].segment.interval
        # Part of a population has its own stream, named by its first member, which reaches each interval only once.
        whole = len(group) == self._problem.population_size
        first = -1 if whole else group[0].segment.member
        streams = self._problem.streams
        population = self._population(interval)
        moving = {result.segment.member for result in group}
        members = [member for member in population if member.slot in moving]
        explored: Mapping[int, HParams] = {}
        if all(member.diverged for member in population):
            self._all_diverged += 1
        else:
            rng = streams.generator("selection", member=first, interval=interval)
            copied = self._steps.exploit(population, moving, self._by_key, rng)
            members = [copied.get(member.slot, member) for member in members]
            changing = members if self._options.explore == "all" else [m for m in members if m.slot in copied]
            rng = streams.generator("perturbation", member=first, interval=interval)
            explored = self._steps.explore(changing, self._results, rng)
        return [Segment(m.slot, m.key, interval + 1, explored.get(m.slot, m.hparams)) for m in members]

    def _population(self, interval: int) -> list[Member]:
        """Return the evaluated members as a member that has just finished an interval sees them.

        A member that is ahead is seen as it was at this interval, so that no lineage is trained for longer than one member's
        budget.
        """
        seen = [history[: interval + 1] if len(history) > interval + 1 else history for history in self._history]
        return [
            Member(slot, last.key, last.segment.hparams, last.score, last.diverged, past)
            for slot, past in enumerate(seen)
            if past
            for last in past[-1:]
        ]
