"""A population that trains in generations: all members train for a stretch, wait for each other, and then change together.

The synchronous loop of population based training (Jaderberg et al., arXiv:1711.09846, 2017, algorithm 1), for the optimizers of its
family. A subclass decides only what happens between two stretches. The length of a stretch may change from one to the next, and so
may the members: one without a next segment stops, and a segment without a parent starts a new one.
"""

from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from hpo.core.optimizer import Member, Optimizer, Problem
from hpo.core.segments import Key, Result, Segment
from hpo.optimizers.ready_queue import ReadyQueue


@dataclass(frozen=True)
class Generation:
    """What a population does next.

    Args:
        segments: the first segment of each member, in the order in which they start; at most one for each slot. Empty: the search
            is done.
        stretch: how many intervals each member trains before all of them wait, at least 1. A member's budget may end before:
            it then waits for the others.
    """

    segments: Sequence[Segment]
    stretch: int


DONE = Generation((), 1)
"""The end of a search."""


class Generations(Optimizer):
    """A running search in generations. Define `evolve`, and `best`.

    Args:
        problem: the problem to solve.
        first: the first generation.
    """

    def __init__(self, problem: Problem, first: Generation) -> None:
        self.problem = problem
        self.results: list[Result] = []
        """All results so far, oldest first."""
        self.by_key: dict[Key, Result] = {}
        self.history: dict[int, list[Result]] = {}
        """All results of each slot, oldest first."""
        self._queue = ReadyQueue(())
        self._left: dict[int, int] = {}
        """For each slot that trains, how many segments of this stretch have no result yet."""
        self._generation: list[int] = []
        self._begin(first)

    @abstractmethod
    def evolve(self, members: Sequence[Member]) -> Generation:
        """Return the next generation.

        Args:
            members: of the generation that has just finished its stretch, in slot order, each at its last result.
        """

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none while members wait for each other."""
        return self._queue.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Record results, and begin the next generation once all members have finished the stretch."""
        for result in results:
            segment = result.segment
            self.results.append(result)
            self.by_key[result.key] = result
            self.history.setdefault(segment.member, []).append(result)
            self._left[segment.member] -= 1
            if self._left[segment.member] == 0 or segment.interval + 1 >= self.problem.intervals:
                del self._left[segment.member]
            else:
                self._queue.continue_from(result)
        if not self._left and self._generation:
            self._begin(self.evolve([self._member(slot) for slot in self._generation]))

    def going_on(self, members: Iterable[Member], changed: Mapping[int, Member] | None = None) -> list[Segment]:
        """Return the next segment of each member: from its own key, or from that of its changed self.

        Args:
            members: of slots that have been trained.
            changed: by slot, members after a copy or with other hyperparameters.
        """
        after = [(changed or {}).get(member.slot, member) for member in members]
        return [Segment(each.slot, each.key, self.next_interval(each.slot, each.key), each.hparams) for each in after]

    def next_interval(self, slot: int, parent: Key) -> int:
        """Return a slot's next interval after that of a parent: no slot uses the data and noise of an interval twice.

        A slot counts its own intervals, also after a copy. It is ahead of them if the parent is.
        """
        return max(self.history[slot][-1].segment.interval, self.by_key[parent].segment.interval) + 1

    def _begin(self, generation: Generation) -> None:
        self._generation = sorted(segment.member for segment in generation.segments)
        self._left = dict.fromkeys(self._generation, generation.stretch)
        self._queue.append(generation.segments)

    def _member(self, slot: int) -> Member:
        past = self.history[slot]
        last = past[-1]
        return Member(slot, last.key, last.segment.hparams, last.score, last.diverged, past)


def at_the_end(results: Iterable[Result], intervals: int, slots: Collection[int]) -> list[Key]:
    """Return the keys of the results of some slots at the full budget."""
    return [
        result.key for result in results if result.segment.interval == intervals - 1 and result.segment.member in slots
    ]
