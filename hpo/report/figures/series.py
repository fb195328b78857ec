"""What the figures plot, computed: pure functions from records to arrays. The figures only draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.core.parameters import Categorical, Float, Int, Parameter
from hpo.core.segments import Step, Value
from hpo.core.space import SearchSpace
from hpo.report.numbers import Quantity
from hpo.report.segments_csv import MemberSpread, SegmentRow
from hpo.results.document import Measurement, Results

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """A line: x in the task's unit, y as displayed; NaN if the line is broken."""

    x: Array
    y: Array


@dataclass(frozen=True)
class Curves:
    """One arm's panel of the validation figure."""

    members: Mapping[int, Curve]
    best: Curve
    diverged: Array  # where members were first found diverged
    shrunk: Array  # where weights of members were shrunk and perturbed


@dataclass(frozen=True)
class MemberBand:
    """Where all members lie: at x, in the task's unit, the bounds of the middle 90% and of the middle half, as displayed."""

    x: Array
    outer: tuple[Array, Array]
    inner: tuple[Array, Array]


@dataclass(frozen=True)
class Dots:
    """One arm's panel of a scatter: points with the interval of each."""

    x: Array
    y: Array
    interval: Array


def of_arm(rows: Sequence[SegmentRow], label: str) -> list[SegmentRow]:
    """One arm's rows."""
    return [row for row in rows if row.arm == label]


def lineage(rows: Sequence[SegmentRow]) -> list[SegmentRow]:
    """One arm's best lineage from its root on."""
    return sorted((row for row in rows if row.best), key=lambda row: row.interval)


def _float(value: Measurement) -> float:
    return np.nan if value is None else value


def _curve(rows: Sequence[SegmentRow], metric: str, shown: Quantity, interval: float, every: int = 1) -> Curve:
    """A line through rows in order of interval, broken where one (of every so many) is missing or has no value."""
    x: list[float] = []
    y: list[float] = []
    previous: int | None = None
    for row in sorted(rows, key=lambda row: row.interval):
        if previous is not None and row.interval > previous + every:
            x.append((previous + 1 + every / 2) * interval)
            y.append(np.nan)
        x.append((row.interval + 1) * interval)
        y.append(_float(shown.show(row.metrics.get(metric))))
        previous = row.interval
    return Curve(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))


def curves(rows: Sequence[SegmentRow], metric: str, shown: Quantity, interval: float, every: int = 1) -> Curves:
    """One arm's validation curves.

    A member's line stays in its slot: at an exploit it goes from what the slot held to what its copy came to, so the
    jump is seen. The best lineage changes slots with its copies, and follows the weights. Rows are of every so many intervals.
    """
    slots: dict[int, list[SegmentRow]] = {}
    for row in rows:
        slots.setdefault(row.member, []).append(row)
    fell = []
    for slot in slots.values():
        ordered = sorted(slot, key=lambda row: row.interval)
        healthy = [True] + [not row.diverged for row in ordered[:-1]]
        fell += [
            (row.interval + 1) * interval for row, was in zip(ordered, healthy, strict=True) if row.diverged and was
        ]
    return Curves(
        members={member: _curve(slot, metric, shown, interval, every) for member, slot in sorted(slots.items())},
        best=_curve(lineage(rows), metric, shown, interval, every),
        diverged=np.array(sorted(fell), dtype=np.float64),
        shrunk=np.array(
            sorted({row.interval * interval for row in rows if row.transform is not None}), dtype=np.float64
        ),
    )


def band(spread: MemberSpread | None, shown: Quantity, interval: float) -> MemberBand | None:
    """Where all members lie, for a panel that does not draw them all."""
    if spread is None or not spread.quantiles:
        return None
    at = sorted(spread.quantiles)
    low, lower, _, upper, high = (
        np.array([_float(shown.show(spread.quantiles[k][level])) for k in at], dtype=np.float64) for level in range(5)
    )
    return MemberBand((np.array(at, dtype=np.float64) + 1) * interval, (low, high), (lower, upper))


def frame(values: Array, *, bounded: bool) -> tuple[float, float] | None:
    """Limits for a whole panel: everything finite of a bounded metric (a rate).

    Of any other, not what is absurdly far out, such as a loss just before divergence.
    """
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return None
    q1, q3 = np.quantile(finite, [0.25, 0.75])
    reach = np.inf if bounded or q1 == q3 else 8 * (q3 - q1)
    low, high = max(finite.min(), q1 - reach), min(finite.max(), q3 + reach)
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    return float(low - margin), float(high + margin)


def zoom(panels: Sequence[Curves], whole: tuple[float, float], *, maximize: bool) -> tuple[float, float] | None:
    """Limits around where the best lineages spent the last four fifths of training; None if it gains nothing."""
    lines = [panel.best.y for panel in panels]
    later = np.concatenate([line[len(line) // 5 :] for line in lines] or [np.empty(0)])
    everything = np.concatenate([c.y for panel in panels for c in panel.members.values()] or [np.empty(0)])
    later = later[np.isfinite(later)]
    if later.size == 0:
        return None
    finite = everything[np.isfinite(everything)]
    top = finite.max() if maximize else finite.min()
    low, high = sorted((float(top), float(later.min() if maximize else later.max())))
    margin = 0.06 * (high - low)
    if high - low <= 0 or high - low > 0.5 * (whole[1] - whole[0]):
        return None
    return low - margin, high + margin


def scatter_axes(space: SearchSpace) -> list[str]:
    """The first two numeric hyperparameters, floats before integers: the axes of the scatter (one, or none).

    A conditional one is an axis, alone, only if there is no other: a segment without a value has no dot.
    """

    def named(*kinds: type[Float | Int], always: bool = True) -> list[str]:
        return [name for name, found in space.items() if isinstance(found, kinds) and not (always and found.when)]

    return named(Float)[:2] or named(Int)[:2] or named(Float, Int, always=False)[:1]


def dots(rows: Sequence[SegmentRow], axes: Sequence[str], interval: float) -> Dots:
    """The hyperparameters of rows; against time when there is one axis only. Rows without a value are left out."""
    points = []
    for row in rows:
        values = [row.hparams.get(name) for name in axes]
        pair = values if len(axes) == 2 else [(row.interval + 1) * interval, *values]
        if all(isinstance(value, float) for value in pair):
            points.append([*pair, row.interval])
    table = np.array(points, dtype=np.float64).reshape(-1, 3)
    return Dots(table[:, 0], table[:, 1], table[:, 2])


def schedule_steps(schedule: Sequence[Step], name: str, parameter: Parameter, interval: float) -> Curve:
    """A schedule as the corners of a step line; a categorical's value is the position of its choice.

    The line is broken over intervals that the lineage skips because it continued from an earlier checkpoint.
    """
    x: list[float] = []
    y: list[float] = []
    previous: Step | None = None
    for step in schedule:
        if previous is not None and previous.stop < step.start:
            x.append((previous.stop + step.start) / 2 * interval)
            y.append(np.nan)
        previous = step
        x += [step.start * interval, step.stop * interval]
        y += [height(step.hparams.get(name), parameter)] * 2
    return Curve(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))


def transforms(schedule: Sequence[Step], name: str, parameter: Parameter, interval: float) -> Curve:
    """Where a schedule's weights were shrunk and perturbed, on its line."""
    steps = [step for step in schedule if step.transform is not None]
    x, y = ([step.start * interval for step in steps], [height(step.hparams.get(name), parameter) for step in steps])
    return Curve(np.array(x, dtype=np.float64), np.array(y, dtype=np.float64))


def height(value: Value | None, parameter: Parameter) -> float:
    """Where a value is on a hyperparameter's axis; a categorical's value is the position of its choice."""
    if isinstance(parameter, Categorical):
        choices = list(map(str, parameter.choices))
        return float(choices.index(str(value))) if str(value) in choices else np.nan
    return float(value) if isinstance(value, int | float) else np.nan


def pairs(results: Results, shown: Quantity) -> dict[int, list[float]]:
    """The test metric as displayed: by seed, one value per arm in the study file's order; NaN if it is undefined."""
    table = {}
    for replicate in sorted(results.replicates, key=lambda replicate: replicate.seed):
        tests = [replicate.arms[label].test[results.metric] for label in results.labels]
        table[replicate.seed] = [_float(shown.show(value)) for value in tests]
    return table
