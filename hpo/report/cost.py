"""The cost axis: from which budget on an arm is better, and the time to a stated target."""

from __future__ import annotations

from hpo.report.numbers import NONE, amount, clean, quantity, significant
from hpo.report.section import Section
from hpo.report.tables import Table
from hpo.results.document import ArmComparison, Measurement, Results
from hpo.statistics import TimeToTarget


def cost_section(results: Results) -> Section | None:
    """Words and tables on the budget; None where the file has none of them."""
    words = [] if results.anytime else [words for c in results.comparisons for words in _better(results, c)]
    table = _target_table(results)
    if not words and table is None:
        return None
    notes = [
        f"Validation {clean(results.task.primary)} of the best model so far, against the training charged to an arm's budget; "
        "the test set plays no part in it."
    ]
    if table is not None:
        notes.append(
            "A seed that does not reach the target within the budget is censored: it counts as not yet reached, and "
            "the median is Kaplan and Meier's."
        )
    return Section("cost", "Against the budget", tuple(words), () if table is None else (table,), tuple(notes))


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
