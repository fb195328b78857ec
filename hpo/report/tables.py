"""The tables of numbers: comparisons, every pair, the ledger, and how it was run. Cells are text, ready to be laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.report.numbers import MINUS, NONE, Quantity, clean, p_value, test_quantity
from hpo.report.records import Comparison, Outcome, Replicate, Results, Run


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row, `foot` holds totals or means."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    foot: tuple[tuple[str, ...], ...] = ()


def comparisons_table(results: Results) -> Table | None:
    """The comparisons; pairs and means alone while replicates are missing."""
    if not results.comparisons:
        return None
    if results.in_progress:
        rows = tuple(_comparison(results, c)[:3] for c in results.comparisons)
        return Table(("comparison", "pairs", "mean difference"), rows)
    header = (
        "comparison",
        "pairs",
        "mean difference",
        "variance",
        "sign-flip p",
        "Holm-adjusted p",
        f"{100 * (1 - (results.alpha or 0.05)):g}% t interval",
        "paired t p",
    )
    return Table(header, tuple(_comparison(results, c) for c in results.comparisons))


def _comparison(results: Results, c: Comparison) -> tuple[str, ...]:
    shown = test_quantity(results.task.metric(c.metric), results.task)
    return (
        f"{clean(c.arm)} {MINUS} {clean(c.baseline)}",
        str(c.n),
        shown.difference(c.mean, extra=1),
        shown.variance(c.variance),
        p_value(c.p_sign_flip),
        p_value(c.p_holm),
        shown.interval(c.ci_low, c.ci_high),
        p_value(c.p_t),
    )


def pairs_table(results: Results, shown: Quantity) -> Table:
    """Every test value, every difference to the baseline, and their means."""
    others = [arm for arm in results.arms if results.baseline is not None and arm.label != results.baseline]
    header = ["seed", *(clean(arm.label) for arm in results.arms)]
    header += [f"{clean(arm.label)} {MINUS} {clean(results.baseline or '')}" for arm in others]
    columns: list[list[float]] = [[] for _ in header[1:]]
    rows = []
    for replicate in sorted(results.replicates, key=lambda replicate: replicate.seed):
        values = [_test(replicate, arm.label, results.metric) for arm in results.arms]
        base = _test(replicate, results.baseline, results.metric)
        gaps = [_minus(_test(replicate, arm.label, results.metric), base) for arm in others]
        for column, value in zip(columns, values + gaps, strict=True):
            if value is not None:
                column.append(value)
        cells = [
            shown.text(value) + _counts(results, replicate, arm.label)
            for arm, value in zip(results.arms, values, strict=True)
        ]
        rows.append((str(replicate.seed), *cells, *(shown.difference(gap) for gap in gaps)))
    means = [sum(column) / len(column) if column else None for column in columns]
    foot = [shown.text(mean, extra=1) for mean in means[: len(results.arms)]]
    foot += [shown.difference(mean, extra=1) for mean in means[len(results.arms) :]]
    return Table(tuple(header), tuple(rows), (("mean", *foot),) if rows else ())


def _test(replicate: Replicate, label: str | None, metric: str) -> float | None:
    outcome = replicate.arms.get(label) if label is not None else None
    return outcome.test.get(metric) if outcome else None


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _counts(results: Results, replicate: Replicate, label: str) -> str:
    """The integer count behind a rate, in brackets; and whether the model diverged."""
    outcome = replicate.arms.get(label)
    name = results.task.metric(results.metric).counts
    count = outcome.test.get(name) if outcome and name else None
    text = f" ({count:.0f})" if count is not None else ""
    return text + (" diverged" if outcome and outcome.test_diverged else "")


_LEDGER_COLUMNS = (
    ("charged_intervals", "intervals charged"),
    ("computed_intervals", "computed"),
    ("diverged", "diverged"),
    ("exploits", "exploits"),
    ("boundary_hits", "boundary hits"),
    ("all_diverged", "all diverged"),
    ("test_openings", "test-set openings"),
)


def ledger_table(results: Results) -> Table:
    """Per arm what was spent and what happened, summed over the finished replicates."""
    rows = []
    totals: list[int | None] = [None] * len(_LEDGER_COLUMNS)
    for arm in results.arms:
        outcomes = [replicate.arms[arm.label] for replicate in results.replicates if arm.label in replicate.arms]
        sums = [_sum(outcomes, key) for key, _ in _LEDGER_COLUMNS]
        totals = [t if v is None else (t or 0) + v for t, v in zip(totals, sums, strict=True)]
        rows.append((clean(arm.label), str(len(outcomes)), *map(_count, sums)))
    header = ("arm", "replicates", *(title for _, title in _LEDGER_COLUMNS))
    return Table(header, tuple(rows), (("all", "", *map(_count, totals)),))


def _count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def _sum(outcomes: Sequence[Outcome], key: str) -> int | None:
    values = [outcome.ledger[key] for outcome in outcomes if key in outcome.ledger]
    return sum(values) if values else None


_SITTING_TITLES = {
    "started": "started",
    "wall_seconds": "wall time",
    "workers": "workers",
    "executor": "executor",
    "device": "device",
    "segments_computed": "segments computed",
    "cache_hits": "cache hits",
    "retries": "retries",
    "utilisation": "utilisation",
}


def sittings_table(run: Run) -> Table | None:
    """How it was run: times and workers, which never change the answer."""
    if not run.sittings:
        return None
    rows = []
    for sitting in run.sittings:
        entries = dict(sitting.entries)
        rows.append(tuple(_sitting_cell(key, entries.get(key)) for key in _SITTING_TITLES))
    return Table(tuple(_SITTING_TITLES.values()), tuple(rows))


def _sitting_cell(key: str, text: str | None) -> str:
    if text is None or text == "None":
        return NONE
    try:
        if key == "wall_seconds":
            return duration(float(text))
        if key == "utilisation":
            return f"{100 * float(text):.0f}\u202f%"
    except (ValueError, OverflowError):
        pass
    return clean(text)


def duration(seconds: float) -> str:
    """A length of time, for example ``1 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
