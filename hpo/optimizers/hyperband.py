"""Hyperband: successive halving with several trade-offs between the number of members and the length of training.

Li, Jamieson, DeSalvo, Rostamizadeh and Talwalkar, "Hyperband: a novel bandit-based approach to hyperparameter
optimization", JMLR 18, 2018, algorithm 1 and table 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Annotated

from annotated_types import Ge, Gt

from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.optimizers.brackets import Bracket, BracketRun, PriorDraws
from hpo.optimizers.incumbent import Select
from hpo.optimizers.rungs import first_rung, largest_power


def hyperband_brackets(problem: Problem, min_budget: float | None, reduction_factor: int) -> tuple[Bracket, ...]:
    """Return the brackets s = s_max, ..., 0 of the paper's algorithm 1.

    With R and r in intervals: s_max = floor(log_η(R/r)); bracket s has n = ceil((s_max + 1)·η^s/(s + 1)) members (line 3,
    where B = (s_max + 1)·R) and the rungs R·η^-s, ..., R·η^-1, R, rounded down to whole intervals.

    Raises:
        OptionError: `min_budget` is not a whole number of intervals or exceeds a member's budget, or `reduction_factor` is
            below 2.
    """
    first = first_rung(problem, min_budget, reduction_factor)
    s_max = largest_power(first, reduction_factor, problem.intervals)
    return tuple(
        Bracket(
            tuple(problem.intervals // reduction_factor**i for i in range(s, -1, -1)),
            reduction_factor,
            -(-(s_max + 1) * reduction_factor**s // (s + 1)),
        )
        for s in range(s_max, -1, -1)
    )


@register_optimizer("hyperband")
@dataclass(frozen=True)
class Hyperband(OptimizerOptions):
    """Run brackets of successive halving, from the one that stops earliest to the one that never stops.

    The paper's brackets run one after another, and start again, until the budget is spent. A bracket that exceeds the remaining
    budget starts fewer members. One pass costs at most about (s_max + 1)² members' budgets; with a smaller population the later
    brackets never run, and Hyperband is little more than successive halving.

    Args:
        reduction_factor: one in this many members is promoted to the next rung.
        min_budget: the lowest rung, in the task's unit; a whole number of intervals. None: one interval.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    reduction_factor: Annotated[int, Ge(2)] = 3
    min_budget: Annotated[float, Gt(0)] | None = None
    select: Select = "final"

    def start(self, problem: Problem) -> BracketRun:
        """Start a search.

        Raises:
            OptionError: as `hyperband_brackets`.
        """
        brackets: Iterator[Bracket] = cycle(hyperband_brackets(problem, self.min_budget, self.reduction_factor))
        return BracketRun(problem, brackets, PriorDraws(problem), self.select)
