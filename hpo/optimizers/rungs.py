"""Rungs: where optimizers that stop members early compare them, and what is the answer of such a search.

A rung is a number of intervals that a member has been trained. The papers call the first one r, the last one R (the
budget of one member) and the ratio of neighbours η: here `min_budget` and `reduction_factor`.

Decisions are made at rungs alone: between two of them a member trains on, and is charged, whatever its evaluations there
say, also when it has diverged. So a search with a single rung, at the full budget, is random search.
"""

from collections.abc import Sequence

from hpo.core.errors import OptionError
from hpo.core.optimizer import Problem
from hpo.core.segments import Key, Result
from hpo.optimizers.chains import Select, best_of


def first_rung(problem: Problem, min_budget: float | None, reduction_factor: int) -> int:
    """Return the first rung, in intervals, and check the two options that place rungs.

    Args:
        problem: what is searched.
        min_budget: in the task's unit; None: one interval.
        reduction_factor: at least 2.

    Raises:
        OptionError: `min_budget` is no whole number of intervals or more than a member's budget, or `reduction_factor` is
            below 2.
    """
    if reduction_factor < 2:
        raise OptionError("reduction_factor", reduction_factor, "a whole number of at least 2")
    if min_budget is None:
        return 1
    first = problem.whole_intervals(min_budget, "min_budget")
    if first > problem.intervals:
        budget = f"{float(problem.interval * problem.intervals):g} {problem.unit}"
        raise OptionError("min_budget", min_budget, f"at most the budget of one member, {budget}")
    return first


def largest_power(first: int, factor: int, limit: int) -> int:
    """Return the largest s with first · factor^s at most `limit`, from 0: floor(log_factor(limit / first)), without rounding."""
    power = 0
    while first * factor ** (power + 1) <= limit:
        power += 1
    return power


def rungs_up(problem: Problem, min_budget: float | None, reduction_factor: int) -> tuple[int, ...]:
    """Return the rungs r, r·η, r·η², ... below R, and R, in intervals.

    They are the papers' where R is r times a power of η; otherwise the last step is shorter than the others.

    Raises:
        OptionError: as `first_rung`.
    """
    rungs = [first_rung(problem, min_budget, reduction_factor)]
    while rungs[-1] < problem.intervals:
        rungs.append(min(rungs[-1] * reduction_factor, problem.intervals))
    return tuple(rungs)


def best_trained(results: Sequence[Result], select: Select, intervals: int) -> Key:
    """Return the key of the answer of a search that stops members early.

    Args:
        results: all that the optimizer was told.
        select: "any": the best of any interval. "final": the best finite member at the full budget. Where each of those has
            diverged, or none got there, it is the best finite one of those trained longest; where nothing at all is
            finite, the lowest member's last. Ties go to the lower member.
        intervals: the budget of one member.

    Raises:
        OptimizerError: there are no results.
    """
    if select == "any" or not results:
        return best_of(results, select, intervals)
    finite = [result for result in results if not result.diverged]
    if not finite:
        return min(results, key=lambda result: (result.segment.member, -result.segment.interval)).key
    return min(finite, key=lambda result: (-result.segment.interval, *result.rank_key)).key
