"""The data of a report's charts: JSON texts, which the page unpacks when it shows them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hpo.report.charts import (
    Record,
    curves_record,
    metric_record,
    rounded,
    rows_record,
    schedules_record,
    study_record,
)
from hpo.report.comparison import per_member
from hpo.report.data import RunData
from hpo.report.numbers import test_quantity
from hpo.report.optuna_figures import optuna_figures
from hpo.results.document import ArmComparison, Measurement, Results
from hpo.schedules.best import best_of
from hpo.statistics.interval import Interval


def chart_data(run: RunData) -> dict[str, str]:
    """Return the data by name: `page`, `rows-<seed>` with the rows of each arm, and `optuna-<number of the arm>`."""
    results = run.results
    data = {"page": _json(_page(results))}
    for seed in dict.fromkeys(seed for seed, _ in run.parts):
        arms = {arm: part for (of, arm), part in run.parts.items() if of == seed}
        data[f"rows-{seed}"] = _json({arm: rows_record(part, results.task.space) for arm, part in arms.items()})
    for number, arm in enumerate(results.labels if run.members else ()):
        found = optuna_figures(results, arm, run.members[arm])
        data[f"optuna-{number}"] = _json(
            [{"name": one.name, "figure": one.figure, "words": one.words} for one in found]
        )
    return data


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)


def _page(results: Results) -> Record:
    """What every chart of the study needs."""
    metric = results.task.metric(results.metric)
    shown = test_quantity(metric, results.task)
    rule, best = results.comparison, best_of(results)
    study = study_record(results)
    study["test"] = metric_record(metric, shown) | {"label": f"{results.scored} {shown.name}"}
    study["rope"] = None if rule is None else rule.rope
    # Without a best answer, the first search.
    answer = (best.arm, best.seed) if best else (results.labels[0], next(iter(results.finished_seeds), None))
    return {
        "study": study,
        "best": dict(zip(("arm", "seed"), answer, strict=True)),
        "pairs": [
            {"seed": r.seed, "values": {arm: rounded(r.arms[arm].test[results.metric]) for arm in results.labels}}
            for r in sorted(results.replicates, key=lambda replicate: replicate.seed)
        ],
        "curves": curves_record(results),
        "schedules": schedules_record(results),
        "comparisons": [_comparison(results, c) for c in results.comparisons],
    }


def _comparison(results: Results, c: ArmComparison) -> Record:
    whole = len(c.differences) == len(results.replicates)
    seeds: Sequence[int | None] = results.finished_seeds if whole else [None] * len(c.differences)
    return {
        "arm": c.arm,
        "baseline": c.baseline,
        "mean": rounded(c.mean),
        "differences": [
            {"seed": seed, "value": rounded(value)} for seed, value in zip(seeds, c.differences, strict=True)
        ],
        "intervals": [*_intervals(c)] if not results.in_progress and not results.anytime else [],
        "band": None if results.anytime else _band(results, c),
        "anytime": _anytime(c),
    }


def _intervals(c: ArmComparison) -> Iterator[Record]:
    """Yield the intervals that the static figure shows, the deciding test's first."""
    named = [("sign-flip interval", c.numbers.sign_flip_interval if c.numbers else None)]
    if c.images:
        named.append(("on new test examples too", c.images.crossed.interval_crossed))
    for name, interval in named:
        if interval is not None:
            yield {"name": name, **_ends(interval)}


def _ends(interval: Interval) -> Record:
    return {"low": rounded(interval.low), "high": rounded(interval.high)}


def _band(results: Results, c: ArmComparison) -> Record | None:
    band = c.incumbent
    if band is None or not band.budgets:
        return None
    starts = {"better": band.better_from, "worse": band.worse_from}
    return {
        "x": [rounded(per_member(results, budget)) for budget in band.budgets],
        **{name: _rounded(getattr(band, name)) for name in ("mean", "low", "high")},
        "starts": [
            {"word": word, "x": rounded(per_member(results, at))} for word, at in starts.items() if at is not None
        ],
    }


def _anytime(c: ArmComparison) -> Record | None:
    found = c.anytime
    if found is None or not found.path:
        return None
    values = np.array(c.differences[: len(found.path)])
    ends: Mapping[str, list[float | None]] = {
        end: [rounded(getattr(interval, end)) if interval else None for interval in found.intervals]
        for end in ("low", "high")
    }
    return {
        "path": [rounded(log_e / math.log(10)) for log_e in found.path],
        "threshold": rounded(math.log10(found.threshold)),
        **ends,
        "mean": [rounded(value) for value in np.cumsum(values) / np.arange(1, len(values) + 1)],
        "decided_at": found.decided_at,
    }


def _rounded(values: Sequence[Measurement]) -> list[float | None]:
    return [rounded(value) for value in values]
