"""Brackets of synchronous successive halving, run one after another until the budget is spent.

A bracket starts n members and trains them to its first rung. When all of them are there, the best n/η are promoted to the next
rung, and so on: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016,
figure 1, in the form of Li et al., "Hyperband", JMLR 18, 2018, algorithm 1, inner loop. A promoted member resumes from its
checkpoint, so no interval is trained or charged twice.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hpo.core.optimizer import Optimizer, Problem
from hpo.core.segments import HParams, Key, Result, Segment
from hpo.optimizers.incumbent import Select, best_trained
from hpo.optimizers.population import initial_hparams, root
from hpo.optimizers.ready_queue import ReadyQueue


@dataclass(frozen=True)
class Bracket:
    """One round of successive halving.

    Args:
        rungs: in intervals, ascending; the last one is the full budget of a member.
        reduction_factor: one in this many members is promoted.
        members: the number of members to start, if the budget allows it; None: as many as it allows.
    """

    rungs: tuple[int, ...]
    reduction_factor: int
    members: int | None = None

    def sizes(self, members: int) -> list[int]:
        """Return how many members train to each rung: floor(n/η^i), but at least one, so that one reaches the full budget."""
        return [max(1, members // self.reduction_factor**i) for i in range(len(self.rungs))]

    def cost(self, members: int) -> int:
        """Return the largest number of intervals that a bracket with `members` members may be charged."""
        steps = [stop - start for start, stop in zip((0, *self.rungs), self.rungs, strict=False)]
        return sum(size * step for size, step in zip(self.sizes(members), steps, strict=True))

    def fitted(self, budget: int) -> int:
        """Return the largest number of members to start with `budget` intervals left."""
        most = budget // self.rungs[0]
        if self.members is not None:
            most = min(most, self.members)
        # The cost never falls with a further member.
        return bisect_right(range(1, most + 1), budget, key=self.cost)


class Proposals(Protocol):
    """Where new members get their hyperparameters."""

    def propose(self, slot: int) -> HParams:
        """Return a slot's hyperparameters, with the space's types. Called once per slot, in order, when the member starts."""

    def observe(self, results: Sequence[Result]) -> None:
        """Record the results of one virtual time."""


@dataclass(frozen=True)
class PriorDraws(Proposals):
    """Draws from the prior, the same as those of random search."""

    problem: Problem

    def propose(self, slot: int) -> HParams:
        """Return the slot's draw from the prior."""
        return initial_hparams(self.problem, slot)

    def observe(self, results: Sequence[Result]) -> None:
        """Do nothing."""


class BracketRun(Optimizer):
    """A running sequence of brackets.

    A bracket that exceeds the remaining budget starts fewer members. The search ends when less than one member's budget is left.
    A diverged member is never promoted; the budget that it leaves pays for further brackets.

    Args:
        problem: the problem to solve.
        brackets: an endless sequence; the next bracket starts when all members of the last one have trained.
        proposals: the hyperparameters of new members.
        select: which segment is the answer, "final" or "any".
    """

    def __init__(self, problem: Problem, brackets: Iterator[Bracket], proposals: Proposals, select: Select) -> None:
        self._problem = problem
        self._brackets = brackets
        self._proposals = proposals
        self._select = select
        self._results: list[Result] = []
        self._queue = ReadyQueue(())
        self._members = 0
        self._promotions = 0
        self._arrived: list[Result] = []
        self._next_bracket()

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none while members wait for each other at a rung."""
        return self._queue.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Record results. When the last member reaches the rung, promote the best or start the next bracket."""
        self._results.extend(results)
        self._proposals.observe(results)
        for result in results:
            if result.segment.interval + 1 < self._rungs[0]:
                self._queue.continue_from(result)
            else:
                self._arrived.append(result)
        if self._rungs and len(self._arrived) == self._sizes[0]:
            self._promote_best()

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_trained(self._results, self._select, self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many members were started, and how many promotions there were."""
        return {"members": self._members, "promotions": self._promotions}

    def _promote_best(self) -> None:
        """Promote the best of the members at a rung, once all that remain in the bracket have reached it."""
        del self._rungs[0], self._sizes[0]
        finite = sorted((result for result in self._arrived if not result.diverged), key=lambda result: result.rank_key)
        promoted = finite[: self._sizes[0]] if self._sizes else []
        self._arrived = []
        if not promoted:
            self._next_bracket()
            return
        self._sizes[0] = len(promoted)
        self._promotions += len(promoted)
        for result in promoted:
            self._queue.continue_from(result)

    def _next_bracket(self) -> None:
        left = self._problem.budget - len(self._results)
        self._rungs: list[int] = []
        self._sizes: list[int] = []
        if left < self._problem.intervals:
            return
        bracket = next(self._brackets)
        members = bracket.fitted(left)
        self._rungs, self._sizes = list(bracket.rungs), bracket.sizes(members)
        self._queue.set_new(self._start(range(self._members, self._members + members)))
        self._members += members

    def _start(self, slots: range) -> Iterator[Segment]:
        for slot in slots:
            yield root(slot, self._proposals.propose(slot))
