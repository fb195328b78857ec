"""Rungs, at which optimizers that stop members early compare them.

A rung is a number of intervals of training. The papers call the first one r, the last one R (the budget of one member) and the
ratio of neighbours η: here `min_budget` and `reduction_factor`.

Decisions are made only at rungs. Between two rungs a member continues, and is charged, regardless of its evaluations, even if it
has diverged. So a search with a single rung, at the full budget, is random search.
"""

from hpo.core.amounts import amount
from hpo.core.errors import OptionError
from hpo.core.optimizer import Problem


def first_rung(problem: Problem, min_budget: float | None, reduction_factor: int) -> int:
    """Return the first rung, in intervals, and check the two options that define rungs.

    Args:
        problem: the problem to solve.
        min_budget: in the task's unit; None: one interval.
        reduction_factor: at least 2.

    Raises:
        OptionError: `min_budget` is not a whole number of intervals or exceeds a member's budget, or `reduction_factor` is
            below 2.
    """
    if reduction_factor < 2:
        raise OptionError("reduction_factor", reduction_factor, "a whole number of at least 2")
    if min_budget is None:
        return 1
    first = problem.whole_intervals(min_budget, "min_budget")
    if first > problem.intervals:
        budget = amount(float(problem.interval * problem.intervals), problem.unit)
        raise OptionError("min_budget", min_budget, f"at most the budget of one member, {budget}")
    return first


def largest_power(first: int, factor: int, limit: int) -> int:
    """Return the largest s >= 0 with first · factor^s at most `limit`: floor(log_factor(limit / first)), in integers."""
    power = 0
    while first * factor ** (power + 1) <= limit:
        power += 1
    return power


def rungs_up(problem: Problem, min_budget: float | None, reduction_factor: int) -> tuple[int, ...]:
    """Return the rungs r, r·η, r·η², ... below R, and R, in intervals.

    These are the papers' rungs if R is r times a power of η; otherwise the last step is shorter than the others.

    Raises:
        OptionError: as `first_rung`.
    """
    rungs = [first_rung(problem, min_budget, reduction_factor)]
    while rungs[-1] < problem.intervals:
        rungs.append(min(rungs[-1] * reduction_factor, problem.intervals))
    return tuple(rungs)
