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
from hpo.optimizers.chains import Select
from hpo.optimizers.rungs import rungs_up


@register_optimizer("successive_halving")
@dataclass(frozen=True)
class SuccessiveHalving(OptimizerOptions):
    """Start many members; at each rung only the best go on.

    It is one bracket, of as many members as the arm's budget pays for: more than the initial population, which comes
    first. What is left over is less than one member's budget. Only where members diverge is more left, and then another,
    smaller bracket follows, of further members.

    Args:
        reduction_factor: one in so many goes on to the next rung, which is so many times as far.
        min_budget: the first rung, in the task's unit: whole intervals; None: one interval.
        select: which segment is the answer: "final", the best member at the full budget, or "any" interval's.
    """

    reduction_factor: Annotated[int, Ge(2)] = 3
    min_budget: Annotated[float, Gt(0)] | None = None
    select: Select = "final"

    def start(self, problem: Problem) -> BracketRun:
        """Start a search.

        Raises:
            OptionError: `min_budget` is no whole number of intervals or more than a member's budget, or `reduction_factor`
                is below 2.
        """
        bracket = Bracket(rungs_up(problem, self.min_budget, self.reduction_factor), self.reduction_factor)
        return BracketRun(problem, repeat(bracket), PriorDraws(problem), self.select)
