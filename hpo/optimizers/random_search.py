"""Random search: train every member to completion with its own hyperparameters, drawn from the prior.

Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012. Random search is the baseline for every
other optimizer, and what their special cases must reproduce.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo.core.optimizer import Optimizer, OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Key, Result, Segment
from hpo.optimizers.incumbent import Select, best_of
from hpo.optimizers.population import roots
from hpo.optimizers.ready_queue import ReadyQueue


@register_optimizer("random_search")
@dataclass(frozen=True)
class RandomSearch(OptimizerOptions):
    """Train every member to completion with its own hyperparameters.

    A diverged member is charged for its whole budget: stopping it early would already be a search strategy.

    Args:
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    select: Select = "final"

    def start(self, problem: Problem) -> "RandomSearchRun":
        """Start a search."""
        return RandomSearchRun(self, problem)


class RandomSearchRun(Optimizer):
    """A running random search, or any other search that trains all its members to completion.

    Args:
        options: the search's options.
        problem: the problem to solve.
        members: the first segment of each member; None: the initial population.
    """

    def __init__(self, options: RandomSearch, problem: Problem, members: Iterable[Segment] | None = None) -> None:
        self._select = options.select
        self._intervals = problem.intervals
        self._queue = ReadyQueue(roots(problem) if members is None else members)
        self._results: list[Result] = []

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now."""
        return self._queue.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Record results, and continue each member until its budget is spent."""
        self._results.extend(results)
        for result in results:
            if result.segment.interval + 1 < self._intervals:
                self._queue.continue_from(result)

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_of(self._results, self._select, self._intervals)
