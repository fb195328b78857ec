"""The figures of a function: its value trial by trial, and against each hyperparameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from hpo.report.figures import canvas, series
from hpo.report.figures.members import MAX_PANELS, axis_name, panel_title
from hpo.report.numbers import Quantity, clean, quantity
from hpo.report.segments_csv import MemberSpread, SegmentRow
from hpo.results.document import Replicate, Results

_TRIAL: dict[str, Any] = {"marker": "o", "ls": "", "ms": 5, "mec": "white", "mew": 0.3, "alpha": 0.75}
_BEST: dict[str, Any] = {"marker": "*", "ls": "", "ms": 13, "mec": "white", "mew": 0.6, "zorder": 5}


@dataclass(frozen=True)
class _Trials:
    """One arm's trials in order: their rows, their numbers from 1, and their values as displayed, NaN if diverged."""

    rows: Sequence[SegmentRow]
    numbers: series.Array
    values: series.Array


def _of_arm(results: Results, rows: Sequence[SegmentRow], label: str, shown: Quantity) -> _Trials:
    mine = sorted(series.of_arm(rows, label), key=lambda row: row.member)
    values = [shown.show(row.metrics.get(results.task.primary)) for row in mine]
    return _Trials(
        mine,
        np.array([row.member + 1 for row in mine], dtype=np.float64),
        np.array([np.nan if value is None else value for value in values], dtype=np.float64),
    )


def _scale(axes: Axes, trials: Sequence[_Trials], shown: Quantity) -> bool:
    """Scale the values' axis, and return whether there are any; values far out are not shown."""
    values = np.concatenate([found.values for found in trials])
    finite = values[np.isfinite(values)]
    frame = series.frame(finite, bounded=shown.unit == "%")
    if frame is not None and not canvas.scale_values(axes, finite, maximize=shown.maximize):
        axes.set_ylim(*frame)
    return frame is not None


def trials(
    results: Results, replicate: Replicate, rows: Sequence[SegmentRow], spreads: Mapping[str, MemberSpread]
) -> Figure | None:
    """Every trial's value in order, and the best so far: one panel per arm."""
    shown = quantity(results.task.metric(results.task.primary), results.task)
    data = [_of_arm(results, rows, label, shown) for label in results.labels]
    figure, grid = canvas.panels(len(data), height=3.7)
    if not rows or not _scale(grid[0][0], data, shown):
        return None
    for label, found, (axes,) in zip(results.labels, data, grid, strict=True):
        axes.plot(found.numbers, found.values, color=canvas.MEMBER, **_TRIAL)
        so_far = [shown.show(value) for value in replicate.arms[label].incumbent]
        y = [np.nan if value is None else value for value in so_far]
        axes.plot(results.budgets, y, color=canvas.PURPLE, lw=1.8, drawstyle="steps-post", zorder=4)
        _draw_best(axes, found, found.numbers, canvas.PURPLE)
        failed = found.numbers[np.isnan(found.values)]
        floor = np.full(failed.shape, 0.03)
        axes.plot(failed, floor, "x", transform=axes.get_xaxis_transform(), color=canvas.COLOURS[1], ms=6, mew=1.6)
        axes.set_title(panel_title(label, spreads))
        axes.set_xlabel("trial")
        axes.set_xlim(0, results.population_size + 1)
    grid[0][0].set_ylabel(shown.axis)
    figure.suptitle(f"Every trial's {shown.name}, seed {replicate.seed}", fontsize=12)
    handles = [
        Line2D([], [], color=canvas.MEMBER, **_TRIAL),
        Line2D([], [], color=canvas.PURPLE, lw=1.8),
        Line2D([], [], color=canvas.PURPLE, **_BEST),
    ]
    labels = ["a trial", "best so far", "best trial"]
    if any(np.isnan(found.values).any() for found in data):
        handles.append(Line2D([], [], color=canvas.COLOURS[1], marker="x", ls="", ms=6))
        labels.append("a trial diverged")
    canvas.legend(figure, handles, labels)
    return figure


def slices(
    results: Results, replicate: Replicate, rows: Sequence[SegmentRow], spreads: Mapping[str, MemberSpread]
) -> Figure | None:
    """Every trial's value against each hyperparameter: one panel per hyperparameter, one colour per arm."""
    shown = quantity(results.task.metric(results.task.primary), results.task)
    space = results.task.space
    names = [*space][:MAX_PANELS]
    data = [_of_arm(results, rows, label, shown) for label in results.labels]
    figure, grid = canvas.panels(len(names), height=3.4, share_x=False)
    if not rows or not _scale(grid[0][0], data, shown):
        return None
    for name, (axes,) in zip(names, grid, strict=True):
        for i, found in enumerate(data):
            x = np.array([series.height(row.hparams.get(name), space[name]) for row in found.rows], dtype=np.float64)
            axes.plot(x, found.values, color=canvas.style(i)[0], **_TRIAL)
            _draw_best(axes, found, x, canvas.style(i)[0])
        axes.set_xlabel(axis_name(name, space))
        canvas.scale_axis(axes, space[name], "x")
    grid[0][0].set_ylabel(shown.axis)
    figure.suptitle(f"Every trial's {shown.name} by hyperparameter, seed {replicate.seed}", fontsize=12)
    handles = [Line2D([], [], color=canvas.style(i)[0], **_TRIAL) for i in range(len(data))]
    handles.append(Line2D([], [], color=canvas.INK, **_BEST))
    canvas.legend(figure, handles, [*map(clean, results.labels), "best trial"])
    return figure


def _draw_best(axes: Axes, found: _Trials, x: series.Array, colour: str) -> None:
    best = np.array([row.best for row in found.rows], dtype=np.bool_)
    axes.plot(x[best], found.values[best], color=colour, **_BEST)
