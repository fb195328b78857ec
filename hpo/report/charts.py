"""What the charts of pages show, as plain values for JSON: hpo/report/assets/charts.js draws them.

The report embeds these values, and `hpo watch` sends them. Numbers are rounded to six significant digits, which no chart can show.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

import pandas as pd

from hpo.core.parameters import Categorical, Int, Parameter
from hpo.core.segments import Step, Value
from hpo.core.task import Metric
from hpo.report.comparison import per_member
from hpo.report.numbers import Quantity, clean, quantity
from hpo.report.segments_csv import ArmPart, transforms_of
from hpo.results.document import Evidence, Results

SCRIPTS = ("charts.js", "lineage.js")
"""In the order in which a page loads them, after plotly.js."""
STYLE = "charts.css"

Record = dict[str, Any]


def asset(name: str) -> str:
    """Return the text of a file in hpo/report/assets."""
    return files("hpo.report").joinpath("assets", name).read_text(encoding="utf-8")


def study_record(results: Evidence) -> Record:
    """Return `study`, which every chart gets.

    It holds the study's name; `metric`, the one that searches optimize; the task's `unit`, the length of an `interval` in it, the
    number of `intervals` and the `population_size`; whether the task `is_function`; the search `space`; the labels of the `arms`,
    and the planned `seeds`. A value v of the metric is shown as offset + scale * v.
    """
    task = results.task
    metric = task.metric(task.primary)
    shown = quantity(metric, task, count=task.examples("validation"))
    return {
        "name": clean(results.name),
        "metric": metric_record(metric, shown) | {"label": f"{results.validated}{shown.name}"},
        "unit": clean(task.unit),
        "interval": results.interval,
        "intervals": results.intervals,
        "population_size": results.population_size,
        "is_function": results.is_function,
        "space": {name: _parameter(parameter) for name, parameter in task.space.items()},
        "arms": list(results.labels),
        "seeds": list(results.planned_seeds),
    }


def metric_record(metric: Metric, shown: Quantity) -> Record:
    """Return how a metric is shown."""
    return {
        "name": metric.name,
        "label": shown.name,
        "unit": shown.unit,
        "scale": shown.scale,
        "offset": shown.offset,
        "digits": shown.digits,
        "maximize": shown.maximize,
    }


def _parameter(parameter: Parameter) -> Record:
    if isinstance(parameter, Categorical):
        return {"log": False, "choices": list(map(str, parameter.choices)), "low": None, "high": None}
    return {"log": parameter.log, "choices": None, "low": parameter.low, "high": parameter.high}


def rows_record(part: ArmPart, space: Mapping[str, Parameter]) -> Record:
    """Return `rows`: the segments of an arm in one replicate, as columns of equal length.

    `member`, `interval`, `parent` (the member whose checkpoint it started from; null at a root), `best` (1 on the best lineage, 0
    off it, null while it is unknown), `diverged`, and by name `hparams` and `metrics`. `transform` says what happened to the
    weights before the interval, or is null; it is empty if that is so for all. `origin` is the number of the row that it started
    from, or of the nearest ancestor that is there; null at a root. `part` says which rows these are; it is empty for all.
    """
    table = part.table
    transforms = transforms_of(table)
    hparams, metrics = (
        {name.removeprefix(kind): table[name] for name in table if name.startswith(kind)}
        for kind in ("hparam:", "metric:")
    )
    return {
        "member": table["member"].tolist(),
        "interval": table["interval"].tolist(),
        "parent": _whole(table["parent_member"]),
        "best": _whole(table["on_best_lineage"]),
        "diverged": table["diverged"].tolist(),
        "origin": [None if at < 0 else at for at in part.origin.tolist()],
        "hparams": {name: _settings(column, space.get(name)) for name, column in hparams.items()},
        "metrics": {name: [rounded(value) for value in column.tolist()] for name, column in metrics.items()},
        "transform": [None if found is None else str(found) for found in transforms] if any(transforms) else [],
        "part": "" if part.spread is None else part.spread.words,
    }


def _whole(column: pd.Series) -> list[int | None]:
    return [None if math.isnan(value) else int(value) for value in column.tolist()]


def _settings(column: pd.Series, parameter: Parameter | None) -> list[float | str | None]:
    if isinstance(parameter, Categorical):
        return [value or None for value in column.tolist()]
    if isinstance(parameter, Int):
        return [None if not math.isfinite(value) else int(value) for value in column.tolist()]
    return [rounded(value) for value in column.tolist()]


def rounded(value: float | None) -> float | None:
    """Return a number with six significant digits; None if it is not finite."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def curves_record(results: Results) -> list[Record]:
    """Return the incumbents' values over the budget: `[{seed, arm, x, y}]`, x in the task's unit per member."""
    x = times_record(results)
    return [
        {"seed": replicate.seed, "arm": label, "x": x, "y": [rounded(value) for value in arm.incumbent]}
        for replicate in results.replicates
        for label, arm in _in_order(results, replicate.arms)
    ]


def times_record(results: Results) -> list[float | None]:
    """Return the budgets of the incumbents' curves, in the task's unit per member."""
    return [rounded(per_member(results, budget)) for budget in results.budgets]


def schedules_record(results: Results) -> list[Record]:
    """Return the schedule of every answer: `[{seed, arm, steps}]`."""
    return [
        {"seed": replicate.seed, "arm": label, "steps": steps_record(arm.schedule)}
        for replicate in results.replicates
        for label, arm in _in_order(results, replicate.arms)
    ]


def steps_record(steps: Iterable[Step]) -> list[Record]:
    """Return a schedule: `[{start, stop, member, hparams, transform}]`, times in intervals; most steps have no `transform`."""
    return [
        {
            "start": step.start,
            "stop": step.stop,
            "member": step.member,
            "hparams": {name: _setting(value) for name, value in step.hparams.items()},
            **({} if step.transform is None else {"transform": str(step.transform)}),
        }
        for step in steps
    ]


def _setting(value: Value) -> float | str | None:
    if isinstance(value, bool):
        return str(value)
    return rounded(value) if isinstance(value, float) else value


def _in_order(results: Results, arms: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    return ((label, arms[label]) for label in results.labels)
