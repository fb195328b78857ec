"""The tables of numbers: every pair, the ledger, schedules, arms, and how it was run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hpo.core.amounts import amount
from hpo.report.numbers import MINUS, NARROW, NONE, clean, printable, quantity, setting, test_quantity
from hpo.report.page import Column, Table
from hpo.results.document import ArmResult, ArmSettings, Measurement, Replicate, Results, Session


def pairs_table(results: Results) -> Table:
    """Every test value, every difference to the baseline, and their means."""
    shown, arms = test_quantity(results.task.metric(results.metric), results.task), {}
    for label in results.labels:
        arms[label] = [replicate.arms[label].test[results.metric] for replicate in results.replicates]
    columns = [Column("seed", list(map(str, results.finished_seeds)), "mean", left=True)]
    for label, values in arms.items():
        counts = [_counts(results, replicate.arms[label]) for replicate in results.replicates]
        cells = [shown.text(value) + count for value, count in zip(values, counts, strict=True)]
        columns.append(Column(clean(label), cells, shown.text(_mean(values), extra=1)))
    # Where all pairs are there, rounding is no difference.
    settled = {c.arm: c.differences for c in results.comparisons if c.n == len(results.replicates)}
    for label in (label for label in arms if results.baseline not in (None, label)):
        base = arms[results.baseline or label]
        gaps = settled.get(label) or [_minus(b, a) for a, b in zip(base, arms[label], strict=True)]
        title, mean = f"{clean(label)} {MINUS} {clean(results.baseline or '')}", shown.difference(_mean(gaps), extra=1)
        columns.append(Column(title, [shown.difference(gap) for gap in gaps], mean))
    return Table(tuple(columns))


def _mean(values: Sequence[Measurement]) -> Measurement:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _minus(a: Measurement, b: Measurement) -> Measurement:
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
    ("computed_intervals", "computed"),
    ("retrained_intervals", "intervals retrained"),
    ("optimizer_steps", "optimizer steps"),
    ("examples", "training examples"),
    ("evaluations", "evaluations"),
    ("diverged", "diverged"),
    ("exploits", "exploits (copies)"),
    ("retrains", "retrains"),
    ("test_openings", "test-set openings"),
)
_LEDGER_ROWS_OF_TRIALS = (("charged_intervals", "trials"), ("computed_intervals", "computed"), ("diverged", "diverged"))


def ledger_table(results: Results) -> Table:
    """Per arm what was spent and what happened, summed over the finished replicates: a column per arm."""
    rows = [("replicates", *(str(len(results.replicates)) for _ in results.arms), "")]
    arms = [arm for replicate in results.replicates for arm in replicate.arms.values()]
    counted = dict.fromkeys(name for arm in arms for name in arm.counts)
    fixed = _LEDGER_ROWS_OF_TRIALS if results.is_function else _LEDGER_ROWS
    for key, title in (*fixed, *((name, clean(name.replace("_", " "))) for name in counted)):
        sums = [_sum(results, label, key) for label in results.labels]
        known = [value for value in sums if value is not None]
        rows.append((title, *map(_count, sums), _count(sum(known) if known else None)))
    return Table.of(("", *map(clean, results.labels), "all"), rows)


def _count(value: int | None) -> str:
    return NONE if value is None else f"{value:,}"


def _sum(results: Results, label: str, key: str) -> int | None:
    values = [getattr(replicate.arms[label], key, None) for replicate in results.replicates]
    known = [value for value in values if value is not None]
    return sum(known) if known else None


_SESSION_TITLES = {
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


def sessions_table(sessions: Sequence[Session]) -> Table:
    """How it was run: times and workers, which never change the answer."""
    rows = [[_session_cell(key, session.get(key)) for key in _SESSION_TITLES] for session in sessions]
    return Table.of(tuple(_SESSION_TITLES.values()), rows)


def _session_cell(key: str, value: float | str | None) -> str:
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


def schedule_table(results: Results, replicate: Replicate, label: str) -> Table:
    """An arm's best schedule in one replicate: a row for each stretch of training with one member's settings.

    Of a function, the best trial.
    """
    outcome, space, unit = replicate.arms[label], results.task.space, clean(results.task.unit)
    names = list(dict.fromkeys([*space, *(name for step in outcome.schedule for name in step.hparams)]))
    shown = test_quantity(results.task.metric(results.task.primary), results.task)
    value = shown.text(outcome.validation.get(results.task.primary))
    if results.is_function:
        (only,) = outcome.schedule
        cells = (str(only.member + 1), *(setting(only.hparams.get(name), space.get(name)) for name in names))
        return Table.of(("trial", *map(clean, names)), [cells], title=f"{clean(label)}: {shown.name} {value}")
    shrunk = any(step.transform is not None for step in outcome.schedule)
    rows = [
        (
            f"{step.start * results.interval:g} to {step.stop * results.interval:g}",
            str(step.member),
            *(setting(step.hparams.get(name), space.get(name)) for name in names),
            *(["" if step.transform is None else str(step.transform)] if shrunk else []),
        )
        for step in outcome.schedule
    ]
    when = amount((outcome.selected.interval + 1) * results.interval, unit, NARROW)
    title = f"{clean(label)}: member {outcome.selected.member} at {when}, validation {shown.name} {value}"
    columns = (unit, "member", *map(clean, names), *(["weights before it"] if shrunk else []))
    return Table.of(columns, rows, title=title)


def unfinished_table(results: Results) -> Table:
    """How far the replicates are that have begun and are not finished."""
    task, most = results.task, results.population_size * results.intervals
    shown = quantity(task.metric(task.primary), task, count=task.examples("validation"))
    rows = [
        (str(item.seed), clean(item.arm), f"{item.charged_intervals:,} of {most:,}", shown.text(item.incumbent))
        for item in results.unfinished
    ]
    unit = "trials" if results.is_function else "intervals charged"
    return Table.of(("seed", "arm", unit, f"best {results.validated}{shown.name} so far"), rows)


def arms_table(results: Results) -> Table:
    """The arms and their options."""
    rows = [(clean(arm.label), clean(arm.optimizer), _arm_options(arm) or NONE) for arm in results.arms]
    return _text_table(("arm", "optimizer", "options"), rows)


def environment_table(results: Results) -> Table:
    """Versions and numerics."""
    rows = []
    for name, value in vars(results.environment).items():
        if value is not None:
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else str(value)
            rows.append((clean(name), printable(text)))
    return _text_table(("environment", ""), rows)


def _text_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(header)
    return Table(tuple(Column(title, cells, left=True) for title, cells in zip(header, columns, strict=True)))


def _arm_options(arm: ArmSettings) -> str:
    """An arm's options, and the arm whose answer it replays."""
    own: dict[str, object] = {"derived_from": arm.derived_from, "replay": arm.replay, "without": list(arm.without)}
    return _options({name: value for name, value in own.items() if value} | dict(arm.options))


def _options(options: Mapping[str, object]) -> str:
    """Options as they would stand in a study file, on one line."""
    return ", ".join(f"{clean(str(key))} = {_option(value)}" for key, value in options.items())


def _option(value: object) -> str:
    if isinstance(value, dict):
        return "{ " + _options(value) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_option(item) for item in value) + "]"
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{clean(value)}"' if isinstance(value, str) else str(value)
