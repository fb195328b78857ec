"""The tables of numbers: every pair, the ledger, and how it was run. Cells are text, ready to be laid out."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.report.numbers import MINUS, NONE, Quantity, clean
from hpo.report.records import Run
from hpo.results.document import ArmResult, Results


@dataclass(frozen=True)
class Table:
    """A table of text; the first column names the row, `foot` holds totals or means.

    `groups` are titles over that many columns each, `strong` is the column (from 0) that is emphasised.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    foot: tuple[tuple[str, ...], ...] = ()
    groups: tuple[tuple[str, int], ...] = ()
    strong: int | None = None


def pairs_table(results: Results, shown: Quantity) -> Table:
    """Every test value, every difference to the baseline, and their means."""
    others = [label for label in results.labels if results.baseline is not None and label != results.baseline]
    header = ["seed", *map(clean, results.labels)]
    header += [f"{clean(label)} {MINUS} {clean(results.baseline or '')}" for label in others]
    columns: list[list[float]] = [[] for _ in header[1:]]
    differences = {c.arm: c.differences for c in results.comparisons if c.n == len(results.replicates)}
    rows = []
    for i, replicate in enumerate(results.replicates):
        tests = {label: arm.test[results.metric] for label, arm in replicate.arms.items()}
        values = [tests[label] for label in results.labels]
        gaps = [
            # Where all pairs are there, rounding is no difference.
            differences[label][i] if label in differences else _minus(tests[label], tests[results.baseline or label])
            for label in others
        ]
        for column, value in zip(columns, values + gaps, strict=True):
            if value is not None:
                column.append(value)
        cells = [
            shown.text(value) + _counts(results, replicate.arms[label])
            for label, value in zip(results.labels, values, strict=True)
        ]
        rows.append((str(replicate.seed), *cells, *(shown.difference(gap) for gap in gaps)))
    means = [sum(column) / len(column) if column else None for column in columns]
    foot = [shown.text(mean, extra=1) for mean in means[: len(results.arms)]]
    foot += [shown.difference(mean, extra=1) for mean in means[len(results.arms) :]]
    return Table(tuple(header), tuple(rows), (("mean", *foot),) if rows else ())


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _counts(results: Results, arm: ArmResult) -> str:
    """The integer count behind a rate, in brackets; and whether the model diverged."""
    name = results.task.metric(results.metric).counts
    count = arm.test.get(name) if name else None
    total = arm.test.get("count") if results.retrains > 1 else None
    # Counts of several retrains are added up, which the rate alone would not tell.
    of = f" of {total:,.0f}" if total is not None else ""
    text = f" ({count:.0f}{of})" if count is not None else ""
    return text + (" diverged" if arm.test_diverged else "")


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
    rows = [("replicates", *(str(len(results.replicates)) for _ in results.arms), "")]
    for key, title in _LEDGER_ROWS:
        sums = [_sum(results, label, key) for label in results.labels]
        known = [value for value in sums if value is not None]
        rows.append((title, *map(_count, sums), _count(sum(known) if known else None)))
    return Table(("", *map(clean, results.labels), "all"), tuple(rows))


def _count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def _sum(results: Results, label: str, key: str) -> int | None:
    values = [getattr(replicate.arms[label], key) for replicate in results.replicates]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


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
    rows = tuple(tuple(_sitting_cell(key, sitting.get(key)) for key in _SITTING_TITLES) for sitting in run.sittings)
    return Table(tuple(_SITTING_TITLES.values()), rows)


def _sitting_cell(key: str, value: float | str | None) -> str:
    if value is None:
        return NONE
    if isinstance(value, str):
        return clean(value)
    if key == "wall_seconds":
        return duration(value)
    if key == "peak_worker_memory_mib":
        return f"{value:.0f}\u202fMiB"
    return f"{100 * value:.0f}\u202f%" if key == "utilisation" else str(value)


def duration(seconds: float) -> str:
    """A length of time, for example ``1 h 05 min``."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
