"""What all optimizers share: chains that wait for a free worker, and which result is the answer."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal

from hpo.core.errors import OptimizerError
from hpo.core.optimizer import Problem
from hpo.core.segments import HParams, Key, Result, Segment, Value

Select = Literal["final", "any"]


class Chains:
    """Segments that may start now.

    A chain that goes on comes before one that waits to start, so that a chain stays on the worker that holds its state.
    Opening, taking and going on cost the same whatever the population.

    Args:
        waiting: the first segments, taken one by one as workers become free; it may be lazy.
    """

    def __init__(self, waiting: Iterable[Segment]) -> None:
        self._going_on: deque[Segment] = deque()
        self._waiting: Iterator[Segment] = iter(waiting)
        self._queued: deque[Segment] = deque()

    def take(self, free: int) -> list[Segment]:
        """Return at most `free` segments, and forget them."""
        taken = [self._going_on.popleft() for _ in range(min(free, len(self._going_on)))]
        taken.extend(islice(self._waiting, max(0, free - len(taken))))
        taken.extend(self._queued.popleft() for _ in range(min(free - len(taken), len(self._queued))))
        return taken

    def go_on(self, result: Result) -> None:
        """Let the result's chain go on for one interval, with the same member and hyperparameters."""
        segment = result.segment
        self._going_on.append(Segment(segment.member, result.key, segment.interval + 1, segment.hparams))

    def start(self, waiting: Iterable[Segment]) -> None:
        """Let these segments wait to start, after all earlier ones have been taken; they may be lazy."""
        self._waiting = iter(waiting)

    def queue(self, segments: Iterable[Segment]) -> None:
        """Let these segments wait behind all others: first come, first served."""
        self._queued.extend(segments)


def initial_hparams(problem: Problem, slot: int) -> dict[str, Value]:
    """Return a slot's initial hyperparameters with the space's types, so that every arm asks for the same roots."""
    return problem.space.cast(problem.hparams(slot))


def roots(problem: Problem) -> Iterator[Segment]:
    """Yield the first segment of each member of the initial population, by slot."""
    for slot in range(problem.population_size):
        yield root(slot, initial_hparams(problem, slot))


def root(slot: int, hparams: HParams) -> Segment:
    """Return the segment that starts from a slot's initialization."""
    return Segment(slot, None, 0, hparams)


def best_of(results: Sequence[Result], select: Select, intervals: int) -> Key:
    """Return the key of the result that is the answer.

    Args:
        results: all that an optimizer was told.
        select: "final": the best among members at the full per-member budget; "any": the best of any interval. Ties go
            to the lower member, then to the earlier interval; diverged results come last.
        intervals: the budget of one member.

    Raises:
        OptimizerError: no result qualifies.
    """
    candidates = [result for result in results if select == "any" or result.segment.interval == intervals - 1]
    if not candidates:
        raise OptimizerError(
            f"there is no best member: select = {select!r}, and none of {len(results)} results qualifies"
            f" (the budget of one member is {intervals} intervals)"
        )
    return min(candidates, key=lambda result: (*result.rank_key, result.segment.interval)).key
