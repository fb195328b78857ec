"""Asynchronous successive halving (ASHA).

Li, Jamieson, Rostamizadeh, Gonina, Ben-Tzur, Hardt, Recht and Talwalkar, "A system for massively parallel hyperparameter
tuning", MLSys 2020, algorithm 2: a free worker promotes a member in the top 1/η of its rung, or starts a new member if there is
none. No member waits for the others, and a paused member may be promoted later.

The paper's search never ends. Here the budget is finite, and two rules avoid waste near its end:

- A job starts only if the remaining budget covers the whole job, up to its rung, and also bringing the most advanced member to
  the full budget. So at least one member reaches the full budget, however small the budget is: at the end, if necessary, the
  best member of the highest rung is promoted even if its rung has too few members for a top 1/η. (If that member diverges, the
  rest may not suffice for another one, and is spent by the paper's rule.)
- When the remaining budget covers no whole job, one last member trains as long as the budget lasts, which spends it exactly.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Annotated

from annotated_types import Ge, Gt

from hpo.core.optimizer import Optimizer, OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Key, Result, Segment
from hpo.optimizers.incumbent import Select, best_trained
from hpo.optimizers.population import initial_hparams, root
from hpo.optimizers.ready_queue import ReadyQueue
from hpo.optimizers.rungs import rungs_up


@register_optimizer("asha")
@dataclass(frozen=True)
class ASHA(OptimizerOptions):
    """Promote the best members so far and start new ones, without waiting.

    Args:
        reduction_factor: a member is promoted if it is in the best one in this many at its rung.
        min_budget: the first rung, in the task's unit; a whole number of intervals. None: one interval. (The paper's
            early-stopping rate s is `min_budget` × `reduction_factor`^s.)
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    reduction_factor: Annotated[int, Ge(2)] = 3
    min_budget: Annotated[float, Gt(0)] | None = None
    select: Select = "final"

    def start(self, problem: Problem) -> "ASHARun":
        """Start a search.

        Raises:
            OptionError: `min_budget` is not a whole number of intervals or exceeds a member's budget, or `reduction_factor`
                is below 2.
        """
        return ASHARun(self, problem, rungs_up(problem, self.min_budget, self.reduction_factor))


class Rung:
    """The members that have reached a rung. Decisions take time logarithmic in their number."""

    def __init__(self) -> None:
        self._ranked: list[tuple[float, int]] = []
        self._paused: list[tuple[tuple[float, int], Result]] = []

    @property
    def paused(self) -> bool:
        """Whether a member is waiting here for promotion; diverged members are not."""
        return bool(self._paused)

    def arrive(self, result: Result) -> None:
        """Record a member that has been trained up to this rung."""
        insort(self._ranked, result.rank_key)
        if not result.diverged:
            heappush(self._paused, (result.rank_key, result))

    def promotable(self, reduction_factor: int) -> bool:
        """Return whether a paused member is in the top 1/η of all members that ever arrived (the paper's `top_k`)."""
        top = len(self._ranked) // reduction_factor
        return self.paused and bisect_left(self._ranked, self._paused[0][0]) < top

    def promote(self) -> Result:
        """Remove the best paused member and return it."""
        return heappop(self._paused)[1]


class ASHARun(Optimizer):
    """A running asynchronous successive halving.

    Args:
        options: the search's options.
        problem: the problem to solve.
        rungs: in intervals, ascending; the last one is the full budget of a member.
    """

    def __init__(self, options: ASHA, problem: Problem, rungs: tuple[int, ...]) -> None:
        self._problem = problem
        self._select = options.select
        self._reduction_factor = options.reduction_factor
        self._goals = rungs
        self._rungs = [Rung() for _ in rungs]
        self._in_flight = [0] * len(rungs)
        self._heading: dict[int, int] = {}
        self._uncommitted = problem.budget
        self._members = 0
        self._promotions = 0
        self._results: list[Result] = []
        self._queue = ReadyQueue(())

    def ask(self, free: int) -> Sequence[Segment]:
        """Return segments of running jobs, then of new ones."""
        self._queue.set_new(self._jobs())
        return self._queue.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Record results. A member whose job is done pauses at its rung."""
        self._results.extend(results)
        for result in results:
            member = result.segment.member
            goal = self._heading[member]
            if result.segment.interval + 1 < self._goals[goal]:
                self._queue.continue_from(result)
                continue
            del self._heading[member]
            self._in_flight[goal] -= 1
            self._rungs[goal].arrive(result)

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_trained(self._results, self._select, self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many members were started, and how many promotions there were."""
        return {"members": self._members, "promotions": self._promotions}

    def _jobs(self) -> Iterator[Segment]:
        """Yield the first segments of jobs that may start now (the paper's `get_job`)."""
        while self._uncommitted > 0:
            below = self._promotable()
            if below is not None:
                yield self._promote(below)
            elif self._pays(0):
                yield self._new()
            elif any(self._in_flight):
                return
            else:
                yield self._last()

    def _promotable(self) -> int | None:
        """Return the highest rung with a member that may be promoted."""
        for below in range(len(self._rungs) - 2, -1, -1):
            if self._rungs[below].promotable(self._reduction_factor) and self._pays(below + 1):
                return below
        return None

    def _last(self) -> Segment:
        """Return the job to start at the end, when nothing is in flight and the budget covers no whole job."""
        if 0 < self._to_the_top() <= self._uncommitted:
            return self._promote(self._furthest())
        for below in range(len(self._rungs) - 2, -1, -1):
            if self._rungs[below].promotable(self._reduction_factor):
                return self._promote(below)
        return self._new()

    def _pays(self, goal: int) -> bool:
        """Return whether the remaining budget covers a job up to a rung and then one member's way to the full budget."""
        left = self._uncommitted - self._cost(goal)
        reserve = self._to_the_top()
        if reserve > self._uncommitted:
            return left >= 0
        return left >= min(reserve, self._problem.intervals - self._goals[goal])

    def _to_the_top(self) -> int:
        """Return how many intervals the most advanced member still lacks to the full budget."""
        furthest = self._furthest()
        return self._problem.intervals - (self._goals[furthest] if furthest >= 0 else 0)

    def _furthest(self) -> int:
        """Return the highest rung at which a member is paused, or to which one is training; -1 if there is none."""
        rungs = range(len(self._rungs) - 1, -1, -1)
        return next((rung for rung in rungs if self._in_flight[rung] or self._rungs[rung].paused), -1)

    def _cost(self, goal: int) -> int:
        return self._goals[goal] - (self._goals[goal - 1] if goal else 0)

    def _promote(self, below: int) -> Segment:
        result = self._rungs[below].promote()
        self._promotions += 1
        segment = result.segment
        return self._started(Segment(segment.member, result.key, segment.interval + 1, segment.hparams), below + 1)

    def _new(self) -> Segment:
        segment = root(self._members, initial_hparams(self._problem, self._members))
        self._members += 1
        return self._started(segment, 0)

    def _started(self, segment: Segment, goal: int) -> Segment:
        self._heading[segment.member] = goal
        self._in_flight[goal] += 1
        self._uncommitted -= self._cost(goal)
        return segment
