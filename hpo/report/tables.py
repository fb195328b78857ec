"""The tables of numbers: every pair, the ledger, and how it was run. Cells are text, ready to be laid out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpo.report.numbers import MINUS, NONE, Quantity, clean
from hpo.report.records import Outcome, Replicate, Results, Run


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row, `foot` holds totals or means.

    A row of one cell is the title of the rows below it. `groups` are titles over that many columns each, `strong` is the
    column (from 0) that is emphasised.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    foot: tuple[tuple[str, ...], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()
    strong: int | None = None


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
    total = outcome.test.get("count") if outcome and results.retrains > 1 else None
    # Counts of several retrains are added up, which the rate alone would not tell.
    of = f" of {total:,.0f}" if total is not None else ""
    text = f" ({count:.0f}{of})" if count is not None else ""
    return text + (" diverged" if outcome and outcome.test_diverged else "")


_LEDGER_ROWS = (
    ("charged_intervals", "intervals charged"),
    ("computed_intervals", "of them computed"),
    ("retrained_intervals", "intervals retrained"),
    ("optimizer_steps", "optimizer steps"),
    ("examples", "training examples"),
    ("evaluations", "evaluations"),
    ("diverged", "diverged"),
    ("exploits", "exploits"),
    ("boundary_hits", "boundary hits"),
    ("all_diverged", "all diverged"),
    ("retrains", "retrains"),
    ("test_openings", "test-set openings"),
)


def ledger_table(results: Results) -> Table:
    """Per arm what was spent and what happened, summed over the finished replicates: a column per arm."""
    by_arm = [
        [replicate.arms[arm.label] for replicate in results.replicates if arm.label in replicate.arms]
        for arm in results.arms
    ]
    rows = [("replicates", *(str(len(outcomes)) for outcomes in by_arm), "")]
    for key, title in _LEDGER_ROWS:
        sums = [_sum(outcomes, key) for outcomes in by_arm]
        known = [value for value in sums if value is not None]
        rows.append((title, *map(_count, sums), _count(sum(known) if known else None)))
    return Table(("", *(clean(arm.label) for arm in results.arms), "all"), tuple(rows))


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
    "peak_worker_memory_mib": "worker memory",
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
        if key == "peak_worker_memory_mib":
            return f"{float(text):.0f}\u202fMiB"
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
