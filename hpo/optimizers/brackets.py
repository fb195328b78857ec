"""Brackets of synchronous successive halving, one after the other until the budget is spent.

A bracket starts n members and trains them to its first rung; when all are there, the best n/η go on to the next rung, and
so on: Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016,
figure 1, in the form of Li et al., "Hyperband", JMLR 18, 2018, algorithm 1, inner loop. A member goes on from its
checkpoint, so that a bracket costs what its members are trained, and no interval twice.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from hpo.core.optimizer import Optimizer, Problem
from hpo.core.segments import HParams, Key, Result, Segment
from hpo.optimizers.chains import Chains, Select, initial_hparams, root
from hpo.optimizers.rungs import best_trained


@dataclass(frozen=True)
class Bracket:
    """One round of successive halving.

    Args:
        rungs: in intervals, ascending; the last one is the full budget of a member.
        reduction_factor: one in so many goes on.
        members: how many to start where the budget pays for them; None: as many as it pays for.
    """

    rungs: tuple[int, ...]
    reduction_factor: int
    members: int | None = None

    def sizes(self, members: int) -> list[int]:
        """Return how many members train to each rung: floor(n/η^i), but at least one, so that one gets to the end."""
        return [max(1, members // self.reduction_factor**i) for i in range(len(self.rungs))]

    def cost(self, members: int) -> int:
        """Return the intervals that a bracket of so many members is charged at most."""
        steps = [stop - start for start, stop in zip((0, *self.rungs), self.rungs, strict=False)]
        return sum(size * step for size, step in zip(self.sizes(members), steps, strict=True))

    def fitted(self, budget: int) -> int:
        """Return how many members to start with so many intervals left: the largest number that they pay for."""
        most = budget // self.rungs[0]
        if self.members is not None:
            most = min(most, self.members)
        # One member more is at most one full budget dearer, and none is cheaper.
        return bisect_right(range(1, most + 1), budget, key=self.cost)


class Proposals(Protocol):
    """Where the hyperparameters of new members come from."""

    def propose(self, slot: int) -> HParams:
        """Return a slot's hyperparameters, with the space's types; called once for each slot, in order, when it starts."""

    def observe(self, results: Sequence[Result]) -> None:
        """Take the results of one virtual time."""


@dataclass(frozen=True)
class PriorDraws(Proposals):
    """The initial hyperparameters of the unbounded sequence of slots, as random search has them."""

    problem: Problem

    def propose(self, slot: int) -> HParams:
        """Return the slot's draw from the prior."""
        return initial_hparams(self.problem, slot)

    def observe(self, results: Sequence[Result]) -> None:
        """Learn nothing."""


class BracketRun(Optimizer):
    """Brackets that are going on.

    A bracket that the rest of the budget does not pay for in full starts fewer members: as many as it pays for. The search
    ends when the rest is less than one member's budget. A diverged member is never promoted; what it would have cost
    pays for further brackets.

    Args:
        problem: on what.
        brackets: without end; the next one is taken when all members of the one before have trained.
        proposals: hyperparameters of new members.
        select: which segment is the answer.
    """

    def __init__(self, problem: Problem, brackets: Iterator[Bracket], proposals: Proposals, select: Select) -> None:
        self._problem = problem
        self._brackets = brackets
        self._proposals = proposals
        self._select = select
        self._results: list[Result] = []
        self._chains = Chains(())
        self._members = 0
        self._promotions = 0
        self._arrived: list[Result] = []
        self._next_bracket()

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none while members wait for each other at a rung."""
        return self._chains.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Take results; when the last member is at the rung, the best go on, or the next bracket starts."""
        self._results.extend(results)
        self._proposals.observe(results)
        for result in results:
            if result.segment.interval + 1 < self._rungs[0]:
                self._chains.go_on(result)
            else:
                self._arrived.append(result)
        if self._rungs and len(self._arrived) == self._sizes[0]:
            self._decide()

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_trained(self._results, self._select, self._problem.intervals)

    def counts(self) -> Mapping[str, int]:
        """Return how many members were started, and how often one was promoted to a next rung."""
        return {"members": self._members, "promotions": self._promotions}

    def _decide(self) -> None:
        """Promote the best at a rung, at which all of the bracket's remaining members stand."""
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
            self._chains.go_on(result)

    def _next_bracket(self) -> None:
        left = self._problem.budget - len(self._results)
        self._rungs: list[int] = []
        self._sizes: list[int] = []
        if left < self._problem.intervals:
            return
        bracket = next(self._brackets)
        members = bracket.fitted(left)
        self._rungs, self._sizes = list(bracket.rungs), bracket.sizes(members)
        self._chains.start(self._start(range(self._members, self._members + members)))
        self._members += members

    def _start(self, slots: range) -> Iterator[Segment]:
        for slot in slots:
            yield root(slot, self._proposals.propose(slot))
