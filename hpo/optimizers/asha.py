"""Asynchronous successive halving.

Li, Jamieson, Rostamizadeh, Gonina, Ben-Tzur, Hardt, Recht and Talwalkar, "A system for massively parallel hyperparameter
tuning", MLSys 2020, algorithm 2: whenever a worker is free, it promotes a member that is in the top 1/η of its rung, and
else starts a new one. Nobody waits for the others; a member that is paused may be promoted later.

The paper's search has no end. Here the budget has one, and near it two rules keep what is spent from being wasted:

- A job is started only if the rest of the budget pays for all of it, up to its rung, and for bringing the member that is
  furthest to the full budget. So one member gets there however small the budget: at the end, if need be, the best of
  the highest rung is promoted though it is not in the top 1/η of enough members. (Where it then diverges there may be too
  little left for another one; what is left is spent by the paper's rule.)
- When the rest pays for no whole job, one last member trains as far as it goes: the budget is spent exactly.
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
from hpo.optimizers.chains import Chains, Select, initial_hparams, root
from hpo.optimizers.rungs import best_trained, rungs_up


@register_optimizer("asha")
@dataclass(frozen=True)
class ASHA(OptimizerOptions):
    """Start members and promote the best ones, whatever can be done now.

    Args:
        reduction_factor: a member is promoted when it is among the best one in so many at its rung.
        min_budget: the first rung, in the task's unit: whole intervals; None: one interval. (The paper's early-stopping
            rate s is `min_budget` × `reduction_factor`^s.)
        select: which segment is the answer: "final", the best member at the full budget, or "any" interval's.
    """

    reduction_factor: Annotated[int, Ge(2)] = 3
    min_budget: Annotated[float, Gt(0)] | None = None
    select: Select = "final"

    def start(self, problem: Problem) -> "ASHARun":
        """Start a search.

        Raises:
            OptionError: `min_budget` is no whole number of intervals or more than a member's budget, or `reduction_factor`
                is below 2.
        """
        return ASHARun(self, problem, rungs_up(problem, self.min_budget, self.reduction_factor))


class Rung:
    """All members that have arrived at a rung; the cost of a decision grows with the logarithm of their number."""

    def __init__(self) -> None:
        self._ranked: list[tuple[float, int]] = []
        self._paused: list[tuple[tuple[float, int], Result]] = []

    @property
    def paused(self) -> bool:
        """Whether a member could go on from here; a diverged one cannot."""
        return bool(self._paused)

    def arrive(self, result: Result) -> None:
        """Take a member that was trained up to this rung."""
        insort(self._ranked, result.rank_key)
        if not result.diverged:
            heappush(self._paused, (result.rank_key, result))

    def promotable(self, reduction_factor: int) -> bool:
        """Say whether a paused member is in the top 1/η of all that ever arrived (the paper's `top_k`)."""
        top = len(self._ranked) // reduction_factor
        return self.paused and bisect_left(self._ranked, self._paused[0][0]) < top

    def promote(self) -> Result:
        """Return the best paused member; it is paused no more."""
        return heappop(self._paused)[1]


class ASHARun(Optimizer):
    """An asynchronous successive halving that is going on.

    Args:
        options: how.
        problem: on what.
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
        self._chains = Chains(())

    def ask(self, free: int) -> Sequence[Segment]:
        """Return segments of the jobs that go on, then new jobs."""
        self._chains.start(self._jobs())
        return self._chains.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Take results; a member whose job is done is paused at its rung."""
        self._results.extend(results)
        for result in results:
            member = result.segment.member
            goal = self._heading[member]
            if result.segment.interval + 1 < self._goals[goal]:
                self._chains.go_on(result)
                continue
            del self._heading[member]
            self._in_flight[goal] -= 1
            self._rungs[goal].arrive(result)

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_trained(self._results, self._select, self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many members were started, and how often one was promoted to a next rung."""
        return {"members": self._members, "promotions": self._promotions}

    def _jobs(self) -> Iterator[Segment]:
        """Yield first segments of jobs while there is one that may start now (the paper's `get_job`)."""
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
        """Return the highest rung of which a member may be promoted."""
        for below in range(len(self._rungs) - 2, -1, -1):
            if self._rungs[below].promotable(self._reduction_factor) and self._pays(below + 1):
                return below
        return None

    def _last(self) -> Segment:
        """Return what is started at the end, when nothing is in flight and no job can be paid for by the rules above."""
        if 0 < self._to_the_top() <= self._uncommitted:
            return self._promote(self._furthest())
        for below in range(len(self._rungs) - 2, -1, -1):
            if self._rungs[below].promotable(self._reduction_factor):
                return self._promote(below)
        return self._new()

    def _pays(self, goal: int) -> bool:
        """Say whether the rest pays for a job up to a rung, and then still for a first member at the full budget."""
        left = self._uncommitted - self._cost(goal)
        reserve = self._to_the_top()
        if reserve > self._uncommitted:
            return left >= 0
        return left >= min(reserve, self._problem.intervals - self._goals[goal])

    def _to_the_top(self) -> int:
        """Return how many intervals the member that is, or will be, furthest lacks to the full budget."""
        furthest = self._furthest()
        return self._problem.intervals - (self._goals[furthest] if furthest >= 0 else 0)

    def _furthest(self) -> int:
        """Return the highest rung at which a member is paused, or to which one is heading; -1 for none."""
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
