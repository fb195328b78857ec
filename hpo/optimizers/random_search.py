"""Random search: every member is trained to completion with its own hyperparameters, drawn from the prior.

Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012. It is the baseline that every other
optimizer is held against, and the set of chains that their special cases must reproduce.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpo.core.optimizer import Optimizer, OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Key, Result, Segment
from hpo.optimizers.chains import Chains, Select, best_of, roots


@register_optimizer("random_search")
@dataclass(frozen=True)
class RandomSearch(OptimizerOptions):
    """Train every member to completion with its own hyperparameters.

    A diverged member goes on being charged: stopping it would be a way of searching, and this one has none.

    Args:
        select: which segment is the answer: "final", the best member at the full budget, or "any" interval's.
    """

    select: Select = "final"

    def start(self, problem: Problem) -> "RandomSearchRun":
        """Start a search."""
        return RandomSearchRun(self, problem)


class RandomSearchRun(Optimizer):
    """A random search that is going on; or another one that trains all its members to completion.

    Args:
        options: which segment is the answer.
        problem: on what.
        members: the first segment of each member; None: those of the initial population.
    """

    def __init__(self, options: RandomSearch, problem: Problem, members: Iterable[Segment] | None = None) -> None:
        self._select = options.select
        self._intervals = problem.intervals
        self._chains = Chains(roots(problem) if members is None else members)
        self._results: list[Result] = []

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now."""
        return self._chains.take(free)

    def tell(self, results: Sequence[Result]) -> None:
        """Take results; each one's chain goes on until the member's budget is spent."""
        self._results.extend(results)
        for result in results:
            if result.segment.interval + 1 < self._intervals:
                self._chains.go_on(result)

    def best(self) -> Key:
        """Return the key of the best segment, as `select` says."""
        return best_of(self._results, self._select, self._intervals)
