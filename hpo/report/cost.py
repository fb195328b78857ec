"""The cost axis: from which budget on an arm is better, what its answer would cost a random search, time to target."""

from __future__ import annotations

import math

from hpo.report.numbers import NONE, amount, clean, quantity, significant
from hpo.report.section import Section
from hpo.report.tables import Table
from hpo.results.document import ArmComparison, Measurement, PoolEquivalence, Results
from hpo.statistics import TimeToTarget

HORIZONS = (0.125, 0.25, 0.5, 0.75, 1.0)
"""Parts of the budget at which numbers along it are told."""


def cost_section(results: Results) -> Section | None:
    """Words and tables on the budget; None where the file has none of them."""
    budgets = told_equivalences(results)
    words = [] if results.anytime else [words for c in results.comparisons for words in _better(results, c)]
    words += [_equivalence(results, budget) for budget in budgets]
    tables = [table for table in (_horizons_table(results), _target_table(results), _ranks_table(results)) if table]
    notes = []
    if words or tables:
        metric = clean(results.task.primary)
        notes.append(
            f"All of this is on the validation {metric} of the best model so far (the incumbent), against the training "
            "charged to an arm's budget; the test set plays no part in it."
        )
    if results.time_to_target and any(table.header[0].count(" until a validation ") for table in tables):
        notes.append(
            "A seed that does not reach the target within the budget is censored: it counts as not yet reached, and "
            "the median is Kaplan and Meier's."
        )
    if budgets:
        notes.append(
            "Budget equivalence: the expected best of k members, estimated without bias from all members of the random "
            "search, up to a third of them; the interval resamples seeds, and from few seeds it is too narrow."
        )
    return Section("cost", "Against the budget", tuple(words), tuple(tables), tuple(notes)) if notes else None


def per_member(results: Results, charged: float) -> float:
    """Intervals charged to an arm, as training per member in the task's unit."""
    return charged / results.population_size * results.interval


def budget_text(results: Results, charged: Measurement) -> str:
    """A budget, for example ``3.5 epochs per member``."""
    return NONE if charged is None else f"{amount(per_member(results, charged), clean(results.task.unit))} per member"


def _each(results: Results, charged: Measurement) -> str:
    """A budget without its unit, for a table that says it once."""
    return NONE if charged is None else significant(per_member(results, charged), 4)


def _better(results: Results, c: ArmComparison) -> list[str]:
    band = c.incumbent
    if band is None:
        return []
    family = f" of {band.family} arms" if band.family > 1 else ""
    return [
        f"{clean(c.arm)} is {word} than {clean(c.baseline)} from {budget_text(results, start)} on (simultaneously over all "
        f"{len(band.budgets)} budgets{family}, familywise error {significant(band.alpha, 3)})."
        for word, start in (("better", band.better_from), ("worse", band.worse_from))
        if start is not None
    ]


def told_equivalences(results: Results) -> list[PoolEquivalence]:
    """The budget equivalences that have an interval with two ends: the pool is too small for the others."""
    found = [] if results.anytime else [c.budget_equivalence for c in results.comparisons]
    return [budget for budget in found if budget and budget.interval and None not in vars(budget.interval).values()]


def _equivalence(results: Results, found: PoolEquivalence) -> str:
    ends = () if found.interval is None else (found.interval.low, found.interval.high)
    low, high, ratio = (NONE if number is None else significant(number, 2) for number in (*ends, found.ratio))
    return (
        f"{clean(found.arm)} at this budget equals {clean(found.pool_arm)} at {ratio} times it, "
        f"{results.confidence} interval {low} to {high} (from {found.n * found.population_size:,} members of "
        f"{clean(found.pool_arm)})."
    )


def _horizons_table(results: Results) -> Table | None:
    """Every difference to the baseline at several parts of the budget: who is ahead early need not be ahead late."""
    if results.anytime:
        return None
    task = results.task
    shown = quantity(task.metric(task.primary), task, count=task.examples("validation"))
    bands = [(c, c.incumbent) for c in results.comparisons if c.incumbent and c.incumbent.budgets]
    if not bands:
        return None
    rows = []
    for c, band in bands:
        cells = []
        for share in HORIZONS:
            # Budgets are numbered from 1: the last one within the share.
            at = max(sum(budget <= share * band.budgets[-1] for budget in band.budgets) - 1, 0)
            low, high = band.low[at], band.high[at]
            bounds = "" if low is None or high is None else f" {shown.interval(low, high)}"
            cells.append(f"{shown.difference(band.mean[at])}{bounds}")
        rows.append((f"{clean(c.arm)} − {clean(c.baseline)}", *cells))
    header = tuple(f"{100 * share:g}%" for share in HORIZONS)
    what = f"difference in validation {clean(task.primary)}, {bands[0][1].confidence} band, after, of the budget,"
    return Table((what, *header), tuple(rows))


def _target_table(results: Results) -> Table | None:
    found = results.time_to_target
    if found is None:
        return None
    task = results.task
    shown = quantity(task.metric(task.primary), task, count=task.examples("validation"))
    target = f"{clean(task.unit)} per member until a validation {clean(task.primary)} of {shown.text(found.target)}"
    rows = tuple(_times(results, label, times) for label, times in found.arms.items())
    return Table((target, "reached", "censored", "median", "first", "last to reach"), rows)


def _times(results: Results, label: str, times: TimeToTarget) -> tuple[str, ...]:
    reached = [time for time in times.times if time is not None]
    median = "not reached" if times.median is None else _each(results, times.median)
    first, last = (_each(results, pick(reached)) if reached else NONE for pick in (min, max))
    return clean(label), f"{times.reached} of {times.n}", str(times.n - times.reached), median, first, last


def _ranks_table(results: Results) -> Table | None:
    ranks = results.mean_ranks_over_budget
    if ranks is None:
        return None
    points = sorted({math.ceil(share * results.intervals) - 1 for share in HORIZONS})
    header = tuple(amount((point + 1) * results.interval, clean(results.task.unit)) for point in points)
    rows = tuple((clean(label), *(significant(curve[point], 3) for point in points)) for label, curve in ranks.items())
    return Table(("mean rank (1 = best), per member after", *header), rows)
