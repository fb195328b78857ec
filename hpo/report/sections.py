"""The statistics part of the report as sections of words and tables, ready to be laid out. It computes no statistics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.report.cost import cost_section
from hpo.report.lines import BESIDE, DECIDING, DECIDING_ANYTIME, Line, View, view_of, won
from hpo.report.numbers import MINUS, NONE, clean, p_value, significant
from hpo.report.section import Section
from hpo.report.tables import Table
from hpo.results.document import ArmComparison, Results


@dataclass(frozen=True)
class Statistics:
    """The statistics part: the table that decides, what stands beside it, and what each number means."""

    main: Table
    notes: tuple[str, ...]
    sections: tuple[Section, ...]
    meanings: tuple[tuple[str, str], ...]


def statistics(results: Results) -> Statistics | None:
    """Put the statistics part together; None where nothing is compared. In progress: pairs and means alone."""
    if not results.comparisons:
        return None
    view = view_of(results)
    said: tuple[tuple[str, str], ...]
    if results.anytime:
        main, said = _anytime_table(results, view), DECIDING_ANYTIME
    elif results.in_progress:
        rows = tuple(_start(c, view) for c in results.comparisons)
        return Statistics(Table(("comparison", "pairs", "mean difference"), rows), _notes(results, view), (), ())
    else:
        main, said = _main_table(results, view), DECIDING
    if results.in_progress:
        return Statistics(main, _notes(results, view), (), said)
    beside = [line for line in BESIDE if any(line.cell(c, view) != NONE for c in results.comparisons)]
    found = (_beside_section(results, view, beside), _luck_section(results, view), cost_section(results))
    meanings = tuple((line.label, line.meaning) for line in beside)
    return Statistics(main, _notes(results, view), tuple(s for s in found if s is not None), (*said, *meanings))


def _start(c: ArmComparison, view: View) -> tuple[str, ...]:
    return (f"{clean(c.arm)} {MINUS} {clean(c.baseline)}", str(c.n), view.shown.difference(c.mean, extra=1))


def _main_table(results: Results, view: View) -> Table:
    header = (
        "comparison",
        "pairs",
        "mean difference",
        "better / worse / tied",
        "interval (its level)",
        f"{_deciding_p(results)} ({_role(results)})",
    )
    rows = tuple(
        (
            *_start(c, view),
            won(c, view),
            _at_level(view.shown.bounds(c.numbers.sign_flip_interval if c.numbers else None), c, view),
            p_value(c.p_holm),
        )
        for c in results.comparisons
    )
    return Table(header, rows, strong=5)


def _deciding_p(results: Results) -> str:
    """The p that decides by its name, for example ``Holm-adjusted exact sign-flip p``."""
    exact = all(c.numbers is None or c.numbers.exact for c in results.comparisons)
    adjusted = "Holm-adjusted " if len(results.comparisons) > 1 else ""
    name = f"{adjusted}{'exact ' if exact else ''}sign-flip p"
    return name[0].upper() + name[1:]


def _role(results: Results) -> str:
    """What the p is good for."""
    if results.exploratory:
        return "exploratory"
    return "decides" if _can_decide(results) else "of too few pairs to decide"


def _can_decide(results: Results) -> bool:
    return any(c.verdict.kind != "cannot show a difference" for c in results.comparisons)


def _at_level(interval: str, c: ArmComparison, view: View) -> str:
    return interval if interval == NONE else f"{interval} ({view.confidence(c)})"


def _anytime_table(results: Results, view: View) -> Table:
    header = (
        "comparison",
        "pairs",
        "mean difference",
        "e-value",
        "needed",
        "anytime-valid p",
        "confidence sequence (its level)",
        "decided at",
    )
    rows = []
    for c in results.comparisons:
        found = c.anytime
        if found is None:
            rows.append((*_start(c, view), *(NONE,) * 5))
            continue
        decided = "not yet" if results.in_progress else "not decided"
        counted = str(found.n) if found.counted == found.n else f"{found.counted} of {found.n}"
        rows.append(
            (
                _start(c, view)[0],
                counted,
                view.shown.difference(found.mean, extra=1),
                e_value(found.log_e),
                significant(found.threshold, 4),
                p_value(found.p),
                _at_level(view.shown.bounds(found.interval), c, view),
                decided if found.decided_at is None else f"n = {found.decided_at}",
            )
        )
    return Table(header, tuple(rows), groups=(("", 3), ("sign e-process, valid at any time", 5)), strong=3)


def e_value(log_e: float) -> str:
    """An e-value from its natural logarithm, for example ``42.1`` or ``1.3e8``."""
    exponent = log_e / math.log(10)
    if abs(exponent) < 4:
        return significant(math.exp(log_e), 3)
    whole = math.floor(exponent)
    return f"{10 ** (exponent - whole):.1f}e{whole}".replace("-", MINUS)


def _beside_section(results: Results, view: View, beside: Sequence[Line]) -> Section | None:
    """A table with a row per number and a column per comparison; None without any number."""
    if not beside:
        return None
    header = (f"arm {MINUS} {clean(results.comparisons[0].baseline)}", *(clean(c.arm) for c in results.comparisons))
    table = Table(header, tuple(line.row(results.comparisons, view) for line in beside))
    note = (
        "Each interval has the level of the one above. All other statistics are in results.json; they decide nothing."
    )
    return Section("beside", "Size of the difference", tables=(table,), notes=(note,))


def _luck_section(results: Results, view: View) -> Section | None:
    luck = _retraining(results, view)
    return luck and Section("luck", "Luck of the search and of the retraining", tables=(luck[0],), notes=(luck[1],))


def _retraining(results: Results, view: View) -> tuple[Table, str] | None:
    """How the test metric varies between searches and between retrains of one, and how to read it."""
    found = {label: of for label, of in (results.retraining or {}).items() if of is not None}
    if not found:
        return None
    rows = tuple(
        (
            clean(label),
            f"{of.n} × {of.retrains}",
            view.shown.variance(of.variance_search) + (" †" if of.truncated else ""),
            view.shown.variance(of.variance_training),
            NONE if of.share_search is None else f"{100 * of.share_search:.0f}\u202f%",
        )
        for label, of in found.items()
    )
    header = (
        "luck",
        "searches × retrains",
        "variance of the searches",
        "variance of the retrains",
        "share of the search",
    )
    note = (
        f"Luck: how the test {clean(results.metric)} of one answer varies when the search is repeated with another seed, "
        "and when the same schedule is trained again with other noise. Only more seeds help against the first; more "
        "retrains help against the second. † came out below 0 and was taken as 0."
    )
    return Table(header, rows), note


def _notes(results: Results, view: View) -> tuple[str, ...]:
    """How to read the table that decides."""
    metric = results.task.metric(results.metric)
    side = "Positive" if view.maximize else "Negative"
    notes = [
        f"Differences are arm {MINUS} baseline on the test set, paired by seed. {side} is better than the baseline."
    ]
    if metric.is_rate:
        notes.append("pp: percentage points.")
    if results.exploratory:
        numbers = "e-values" if results.anytime else "p values"
        notes.append(
            f"The study was extended or its plan changed after a test result was seen: the {numbers} are exploratory and "
            "decide nothing."
        )
    elif results.anytime:
        notes.append("The e-value alone decides; it may be looked at after every seed.")
    elif not results.in_progress and _can_decide(results):
        notes.append(
            f"{_deciding_p(results)}: of the two-sided test on the mean difference. {_what_it_decides(results)}"
        )
    if len(results.finished_seeds) == 1:
        notes.append("With one replicate there are estimates and no intervals: its spread is unknown.")
    return tuple(notes)


def _what_it_decides(results: Results) -> str:
    if results.comparison is None or results.comparison.rope is None:
        return "It alone decides."
    return (
        "It alone decides between better, worse and neither; of neither, the TOST p then says whether it is equivalent."
    )
