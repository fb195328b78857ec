"""Successive halving, synchronous.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", AISTATS 2016, figure 1;
with rungs and a reduction factor as in Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020,
algorithm 1.
"""

from dataclasses import dataclass
from itertools import repeat
from typing import Annotated

from annotated_types import Ge, Gt

from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.optimizers.brackets import Bracket, BracketRun, PriorDraws
from hpo.optimizers.incumbent import Select
from hpo.optimizers.rungs import rungs_up


@register_optimizer("successive_halving")
@dataclass(frozen=True)
class SuccessiveHalving(OptimizerOptions):
    """Start many members; promote only the best at each rung.

    This is one bracket, with as many members as the arm's budget allows. There are more of them than in the initial population,
    whose members come first. Less than one member's budget is left over. If members diverge, more is left, and a smaller bracket
    of further members follows.

    Args:
        reduction_factor: one in this many members is promoted to the next rung, which is this many times as far.
        min_budget: the first rung, in the task's unit; a whole number of intervals. None: one interval.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    reduction_factor: Annotated[int, Ge(2)] = 3
    min_budget: Annotated[float, Gt(0)] | None = None
    select: Select = "final"

    def start(self, problem: Problem) -> BracketRun:
        """Start a search.

        Raises:
            OptionError: `min_budget` is not a whole number of intervals or exceeds a member's budget, or `reduction_factor`
                is below 2.
        """
        bracket = Bracket(rungs_up(problem, self.min_budget, self.reduction_factor), self.reduction_factor)
        return BracketRun(problem, repeat(bracket), PriorDraws(problem), self.select)
