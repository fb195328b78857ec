"""The statistics of the report, as sections of tables and phrases. It computes none: they are in results.json."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from hpo.core.amounts import amount
from hpo.report.numbers import (
    MINUS,
    NARROW,
    NONE,
    Quantity,
    clean,
    p_value,
    percent,
    plain,
    quantity,
    signed,
    significant,
    test_quantity,
)
from hpo.report.page import Column, Section, Table
from hpo.report.phrases import say
from hpo.results.document import ArmComparison, ExampleNumbers, Measurement, Results
from hpo.statistics import PairedComparison, TimeToTarget


@dataclass(frozen=True)
class View:
    """A run's comparisons, and how their numbers are written."""

    results: Results

    @cached_property
    def shown(self) -> Quantity:
        """The compared metric on the test set."""
        return test_quantity(self.results.task.metric(self.results.metric), self.results.task)

    @property
    def maximize(self) -> bool:
        """Whether large values are good."""
        return self.results.comparison.direction == "maximize" if self.results.comparison else self.shown.maximize

    @property
    def can_decide(self) -> bool:
        """Whether any comparison has pairs enough."""
        return any(c.verdict.kind != "cannot show a difference" for c in self.results.comparisons)

    def at_level(self, interval: str, c: ArmComparison) -> str:
        """An interval with its level; that of a confidence sequence is the family's."""
        level = c.anytime.alpha / c.anytime.family if c.anytime is not None else c.level
        return interval if interval == NONE or level is None else f"{interval} ({percent(1 - level)})"


def comparison(results: Results) -> Section | None:
    """The table that decides; None if nothing is compared. In progress: pairs and means alone."""
    if not results.comparisons:
        return None
    view = View(results)
    p = say("deciding_p", results=results)
    notes = say.items("how_to_read", results=results, maximize=view.maximize, can_decide=view.can_decide, p=p)
    columns = [
        Column("comparison", [f"{clean(c.arm)} {MINUS} {clean(c.baseline)}" for c in results.comparisons], left=True)
    ]
    if results.anytime:
        columns += _anytime(view)
    else:
        columns += [
            Column("pairs", [str(c.n) for c in results.comparisons]),
            Column("mean difference", [view.shown.difference(c.mean, extra=1) for c in results.comparisons]),
        ]
        if not results.in_progress:
            columns += _deciding(view, p)
    return Section("comparison", "Comparison", tables=(Table(tuple(columns)),), notes=notes)


def _deciding(view: View, p: str) -> Iterator[Column]:
    found = view.results.comparisons
    yield Column("better / worse / tied", [_won(c, view) for c in found])
    intervals = [view.shown.bounds(c.numbers.sign_flip_interval if c.numbers else None) for c in found]
    yield Column("interval (its level)", [view.at_level(*both) for both in zip(intervals, found, strict=True)])
    role = say("role", results=view.results, can_decide=view.can_decide)
    yield Column(f"{p} ({role})", [p_value(c.p_holm) for c in found], strong=True)


def _won(c: ArmComparison, view: View) -> str:
    """In how many pairs the arm is better than the baseline, worse, and equal, for example ``8 / 1 / 1``."""
    if c.numbers is None:
        return NONE
    better, worse = (c.numbers.above, c.numbers.below) if view.maximize else (c.numbers.below, c.numbers.above)
    return f"{better} / {worse} / {c.numbers.ties}"


def _anytime(view: View) -> Iterator[Column]:
    titles = (
        "pairs",
        "mean difference",
        "e-value",
        "needed",
        "anytime-valid p",
        "confidence sequence (its level)",
        "decided at",
    )
    rows = [_anytime_cells(c, view) for c in view.results.comparisons]
    for title, cells in zip(titles, zip(*rows, strict=True), strict=True):
        yield Column(title, cells, strong=title == "e-value")


def _anytime_cells(c: ArmComparison, view: View) -> tuple[str, ...]:
    found = c.anytime
    if found is None:
        return (str(c.n), view.shown.difference(c.mean, extra=1), *(NONE,) * 5)
    return (
        str(found.n) if found.counted == found.n else f"{found.counted} of {found.n}",
        view.shown.difference(found.mean, extra=1),
        e_value(found.log_e),
        significant(found.threshold, 4),
        p_value(found.p),
        view.at_level(view.shown.bounds(found.interval), c),
        f"n = {found.decided_at}"
        if found.decided_at is not None
        else "not yet"
        if view.results.in_progress
        else "not decided",
    )


def e_value(log_e: float) -> str:
    """An e-value from its natural logarithm, for example ``42.1`` or ``1.3e8``."""
    exponent = log_e / math.log(10)
    if abs(exponent) < 4:
        return significant(math.exp(log_e), 3)
    whole = math.floor(exponent)
    return f"{10 ** (exponent - whole):.1f}e{whole}".replace("-", MINUS)


# --- more statistics -----------------------------------------------------------------------------------------------------

Cell = Callable[[ArmComparison, View], str]


def _numbers(shown: Callable[[PairedComparison, View], str]) -> Cell:
    return lambda c, view: NONE if c.numbers is None else shown(c.numbers, view)


def _crossed(c: ArmComparison, view: View) -> str:
    if c.images is None:
        return NONE
    crossed = c.images.crossed
    df = "" if crossed.df is None else f" (df {plain(crossed.df)})"
    return view.shown.bounds(crossed.interval_crossed) + df + (" †" if crossed.truncated else "")


#: One number of every comparison each, by the name that the phrase `meanings` explains. Everything else is in results.json.
_LINES: dict[str, Cell] = {
    "Hodges–Lehmann estimate": _numbers(lambda n, view: view.shown.difference(n.hodges_lehmann, extra=1)),
    "its interval": _numbers(lambda n, view: view.shown.bounds(n.hodges_lehmann_interval)),
    "effect size d_z (mean / standard deviation)": lambda c, _: signed(c.d_z),
    "interval on new test examples too": _crossed,
    "ROPE": _numbers(lambda n, view: NONE if n.equivalence is None else view.shown.width(n.equivalence.rope)),
    "TOST p": lambda c, _: p_value(c.p_tost_holm),
}


def more_statistics(results: Results) -> Iterator[Section]:
    """Yield what a finished study has besides: sizes of the difference, luck, and the way along the budget."""
    if not results.comparisons or results.in_progress:
        return
    view = View(results)
    if rows := _sizes(view):
        header = (f"arm {MINUS} {clean(results.comparisons[0].baseline)}", *(clean(c.arm) for c in results.comparisons))
        yield Section("size", "Size of the difference", tables=(Table.of(header, rows),), notes=(say("size_note"),))
    yield from _luck(view)
    yield from _along_the_budget(results)


def _sizes(view: View) -> list[tuple[str, ...]]:
    rows = [(name, *(cell(c, view) for c in view.results.comparisons)) for name, cell in _LINES.items()]
    return [row for row in rows if set(row[1:]) != {NONE}]


def meanings(results: Results) -> tuple[str, ...]:
    """What each number that is shown means."""
    if not results.comparisons or (results.in_progress and not results.anytime):
        return ()
    names = [] if results.in_progress else [name for name, *_ in _sizes(View(results))]
    kinds = ("anytime" if results.anytime else "fixed", *names)
    return tuple(item for kind in kinds for item in say.items("meanings", shown=kind))


def _luck(view: View) -> Iterator[Section]:
    """Yield how the test metric varies between searches, and between retrains of one."""
    found = {label: of for label, of in (view.results.retraining or {}).items() if of is not None}
    if not found:
        return
    rows = [
        (
            clean(label),
            f"{of.n} × {of.retrains}",
            view.shown.variance(of.variance_search) + (" †" if of.truncated else ""),
            view.shown.variance(of.variance_training),
            NONE if of.share_search is None else f"{100 * of.share_search:.0f}\u202f%",
        )
        for label, of in found.items()
    ]
    header = ("luck", "searches × retrains", "variance of searches", "variance of retrains", "share of the search")
    note = say("luck_note", metric=view.results.metric)
    yield Section("luck", "Luck of the search and of the retraining", tables=(Table.of(header, rows),), notes=(note,))


# --- along the budget ----------------------------------------------------------------------------------------------------


def _along_the_budget(results: Results) -> Iterator[Section]:
    """Yield from which budget on an arm is better, and the time to a stated target."""
    words = (
        ()
        if results.anytime
        else tuple(sentence for c in results.comparisons for sentence in _from_then_on(results, c))
    )
    tables = _target_table(results)
    if words or tables:
        notes = say.items("budget_notes", results=results)
        yield Section("cost", "Against the budget", words, tables=tables, notes=notes)


def per_member(results: Results, charged: float) -> float:
    """Intervals charged to an arm, as training per member in the task's unit; of a function, as trials."""
    return charged / results.population_size * results.interval if not results.is_function else charged


def _from_then_on(results: Results, c: ArmComparison) -> Iterator[str]:
    if c.incumbent is None:
        return
    for word, start in (("better", c.incumbent.better_from), ("worse", c.incumbent.worse_from)):
        if start is not None:
            budget = amount(per_member(results, start), clean(results.task.unit), NARROW)
            yield say(
                "from_budget_on", c=c, word=word, budget=budget + (" per member" if not results.is_function else "")
            )


def _target_table(results: Results) -> tuple[Table, ...]:
    found, task = results.time_to_target, results.task
    if found is None:
        return ()
    shown = quantity(task.metric(task.primary), task, count=task.examples("validation"))
    until = "per member until a validation" if not results.is_function else "until"
    target = f"{clean(task.unit)} {until} {clean(task.primary)} of {shown.text(found.target)}"
    header = (target, "reached", "censored", "median", "first", "last to reach")
    return (Table.of(header, [_times(results, label, times) for label, times in found.arms.items()]),)


def _times(results: Results, label: str, times: TimeToTarget) -> tuple[str, ...]:
    def shown(charged: Measurement) -> str:
        return NONE if charged is None else significant(per_member(results, charged), 4)

    reached = [time for time in times.times if time is not None]
    median = "not reached" if times.median is None else shown(times.median)
    ends = (shown(min(reached, default=None)), shown(max(reached, default=None)))
    return clean(label), f"{times.reached} of {times.n}", str(times.n - times.reached), median, *ends


# --- what they rest on ---------------------------------------------------------------------------------------------------


def limits(results: Results) -> tuple[str, ...]:
    """What the numbers are conditional on, and what so many seeds, this data and this plan cannot show."""
    examples: dict[str, ExampleNumbers] = {c.arm: c.images for c in results.comparisons if c.images is not None}
    floors = [found.noise_floor.floor for found in examples.values()]
    return say.items(
        "limits",
        results=results,
        powers=dict.fromkeys((c.n, c.power) for c in results.comparisons),
        floor=View(results).shown.difference(max(floors), extra=1).lstrip("+") if floors else None,
        truncated=[arm for arm, found in examples.items() if found.crossed.truncated],
    )
