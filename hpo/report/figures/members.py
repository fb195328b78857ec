"""The report's figures. Each function draws what `hpo.report.figures.series` computed and returns a `Figure`, or None."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from hpo.core.parameters import Categorical
from hpo.core.segments import Step
from hpo.core.space import SearchSpace
from hpo.report.figures import canvas, series
from hpo.report.numbers import Quantity, clean, quantity, test_quantity
from hpo.report.segments_csv import MemberSpread, SegmentRow
from hpo.results.document import Replicate, Results

MAX_PANELS = 12  # of hyperparameters in the schedule figure
SHRUNK: dict[str, Any] = {"color": canvas.INK, "marker": "v", "ls": "", "ms": 7, "mec": "white", "mew": 0.6}
SHRUNK_WORDS = "weights shrunk and perturbed"


def _handle(**options: Any) -> Line2D:
    return Line2D([], [], **options)


def validation(
    results: Results, replicate: Replicate, rows: Sequence[SegmentRow], spreads: Mapping[str, MemberSpread]
) -> Figure | None:
    """The primary validation metric per interval: one panel per arm, every member a line, the best lineage purple.

    Above the whole range, below a close-up of where the best lineages are, when that is much narrower.
    """
    task = results.task
    shown = quantity(task.metric(task.primary), task, complement=True)
    data = [
        series.curves(series.of_arm(rows, arm.label), task.primary, shown, results.interval, _every(spreads, arm.label))
        for arm in results.arms
    ]
    everybody = [series.band(spreads.get(arm.label), shown, results.interval) for arm in results.arms]
    values = np.concatenate(
        [c.y for panel in data for c in panel.members.values()]
        + [bound for found in everybody if found is not None for bound in found.outer]
        or [np.empty(0)]
    )
    whole = series.frame(values, bounded=shown.unit == "%")
    if whole is None:
        return None
    close = series.zoom(data, whole, maximize=shown.maximize)
    bands: tuple[tuple[float, float], ...] = (whole, close) if close else (whole,)
    figure, grid = canvas.panels(
        len(data), height=5.2 if close else 3.2, rows_per_panel=(1.0, 1.6) if close else (1.0,)
    )
    for arm, panel, found, column in zip(results.arms, data, everybody, grid, strict=True):
        column[0].set_title(panel_title(arm.label, spreads))
        column[-1].set_xlabel(f"training ({clean(task.unit)})")
        for axes, limits in zip(column, bands, strict=True):
            _draw_curves(axes, panel, results)
            if found is not None:
                for bounds in (found.outer, found.inner):
                    axes.fill_between(found.x, *bounds, color=canvas.COLOURS[4], alpha=0.3, lw=0, zorder=2.5)
            axes.set_ylim(*limits)
        floor = np.full(panel.diverged.shape, 0.03)
        column[0].plot(
            panel.diverged,
            floor,
            "x",
            transform=column[0].get_xaxis_transform(),
            color=canvas.COLOURS[1],
            ms=6,
            mew=1.6,
            zorder=5,
        )
        top = column[0].get_xaxis_transform()
        column[0].plot(panel.shrunk, np.full(panel.shrunk.shape, 0.97), transform=top, zorder=5, **SHRUNK)
    for k, axes in enumerate(grid[0]):
        axes.set_ylabel(f"validation {shown.axis}" + ("\nclose-up" if k else ""))
    figure.suptitle(f"Every member's validation {shown.name}, seed {replicate.seed}", fontsize=12)
    handles: list[Artist] = [_handle(color=canvas.MEMBER, lw=1.2), _handle(color=canvas.PURPLE, lw=2.4)]
    labels = ["a member's slot", "best lineage (follows the weights)"]
    if any(panel.diverged.size for panel in data):
        handles.append(_handle(color=canvas.COLOURS[1], marker="x", ls="", ms=6))
        labels.append("a member diverged")
    if any(panel.shrunk.size for panel in data):
        handles.append(_handle(**SHRUNK))
        labels.append(SHRUNK_WORDS)
    if any(found is not None for found in everybody):
        handles.append(Rectangle((0, 0), 1, 1, color=canvas.COLOURS[4], alpha=0.45, lw=0))
        labels.append("all members: the middle 90% and half")
    canvas.legend(figure, handles, labels)
    return figure


def panel_title(label: str, spreads: Mapping[str, MemberSpread]) -> str:
    """An arm's label, and below it which part of its rows is drawn where not all are."""
    part = spreads[label].words if label in spreads else ""
    return clean(label) + (f"\n{part}" if part else "")


def _every(spreads: Mapping[str, MemberSpread], label: str) -> int:
    return spreads[label].every if label in spreads else 1


def _draw_curves(axes: Axes, panel: series.Curves, results: Results) -> None:
    lines = [np.column_stack([curve.x, curve.y]) for curve in panel.members.values()]
    axes.add_collection(LineCollection(lines, colors=canvas.MEMBER, linewidths=0.8, alpha=0.75))
    alone = [curve for curve in panel.members.values() if len(curve.x) == 1]
    axes.plot([c.x[0] for c in alone], [c.y[0] for c in alone], ".", color=canvas.MEMBER, ms=3)
    axes.plot(panel.best.x, panel.best.y, color=canvas.PURPLE, lw=2.2, marker="o", ms=2.6, zorder=4)
    axes.set_xlim(0, results.intervals * results.interval * 1.02)


def hyperparameters(
    results: Results, replicate: Replicate, rows: Sequence[SegmentRow], spreads: Mapping[str, MemberSpread]
) -> Figure | None:
    """Where each arm looked: the first two hyperparameters, dots growing with the interval, best lineage as stars."""
    axes_of = series.scatter_axes(results.task.space)
    if not axes_of or not rows:
        return None
    figure, grid = canvas.panels(len(results.arms), height=3.7)
    for arm, (axes,) in zip(results.arms, grid, strict=True):
        mine = series.of_arm(rows, arm.label)
        tried = series.dots(mine, axes_of, results.interval)
        best = series.dots(series.lineage(mine), axes_of, results.interval)
        share = 1.0 / max(results.intervals, 1)
        axes.scatter(
            tried.x, tried.y, s=8 + 45 * (tried.interval + 1) * share, c=canvas.MEMBER, alpha=0.45, lw=0.4, ec="white"
        )
        axes.scatter(
            best.x,
            best.y,
            s=22 + 150 * (best.interval + 1) * share,
            c=canvas.PURPLE,
            marker="*",
            lw=0.5,
            ec="white",
            zorder=4,
        )
        axes.set_title(panel_title(arm.label, spreads))
        _space_box(axes, axes_of, results)
    space = results.task.space
    x_name = axis_name(axes_of[0], space) if len(axes_of) == 2 else f"training ({clean(results.task.unit)})"
    for (axes,) in grid:
        axes.set_xlabel(x_name)
    grid[0][0].set_ylabel(axis_name(axes_of[-1], space))
    figure.suptitle(f"Hyperparameters tried, seed {replicate.seed}", fontsize=12)
    handles = [
        _handle(color=canvas.MEMBER, marker="o", ls="", ms=4, alpha=0.7),
        _handle(color=canvas.MEMBER, marker="o", ls="", ms=8, alpha=0.7),
        _handle(color=canvas.PURPLE, marker="*", ls="", ms=12),
        _handle(color=canvas.INK, lw=0.9, ls=(0, (4, 3))),
    ]
    canvas.legend(figure, handles, ["early interval", "late interval", "best lineage", "bounds of the search space"])
    return figure


def axis_name(name: str, space: SearchSpace) -> str:
    """The label of a hyperparameter's axis."""
    parameter = space[name]
    return clean(name) + (" (log scale)" if not isinstance(parameter, Categorical) and parameter.log else "")


def _space_box(axes: Axes, axes_of: Sequence[str], results: Results) -> None:
    """Scale the axes, and draw the search space's bounds."""
    line: dict[str, Any] = {"color": canvas.INK, "lw": 0.9, "ls": (0, (4, 3)), "zorder": 3}
    x, y = (results.task.space[name] for name in (axes_of[0], axes_of[-1]))
    assert not isinstance(x, Categorical)
    assert not isinstance(y, Categorical)
    canvas.scale_axis(axes, y, "y")
    if len(axes_of) == 2:
        canvas.scale_axis(axes, x, "x")
        axes.add_patch(Rectangle((x.low, y.low), x.high - x.low, y.high - y.low, fill=False, **line))
    else:
        axes.set_xlim(0, results.intervals * results.interval * 1.04)
        axes.axhline(y.low, **line)
        axes.axhline(y.high, **line)


def schedule(results: Results, replicate: Replicate) -> Figure | None:
    """The best lineage's hyperparameters over time: one panel per hyperparameter that is active in one, one line per arm."""
    schedules = [replicate.arms[label].schedule for label in results.labels]
    active = {name for schedule in schedules for step in schedule for name in step.hparams}
    space = [name for name in results.task.space if name in active][:MAX_PANELS]
    if not space:
        return None
    columns = min(len(space), 2)
    rows = -(-len(space) // columns)
    figure = canvas.Drawing(figsize=(canvas.WIDTH if columns > 1 else 7.0, 2.9 * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True)
    for axes, name in zip(grid.flat, space, strict=False):
        _draw_schedules(axes, name, schedules, results)
    for axes in list(grid.flat)[len(space) :]:
        axes.set_axis_off()
    for axes in list(grid.flat)[max(0, len(space) - columns) : len(space)]:
        axes.set_xlabel(f"training ({clean(results.task.unit)})")
        axes.tick_params(labelbottom=True)
    figure.suptitle(f"The best schedule of each arm, seed {replicate.seed}", fontsize=12)
    handles = [_handle(color=canvas.style(i)[0], ls=canvas.style(i)[1], lw=2) for i in range(len(schedules))]
    handles.append(_handle(color=canvas.INK, lw=0.8, ls=(0, (4, 3))))
    labels = [*map(clean, results.labels), "bounds of the search space"]
    if any(step.transform is not None for schedule in schedules for step in schedule):
        handles.append(_handle(**SHRUNK))
        labels.append(SHRUNK_WORDS)
    canvas.legend(figure, handles, labels)
    return figure


def _draw_schedules(axes: Axes, name: str, schedules: Sequence[Sequence[Step]], results: Results) -> None:
    parameter = results.task.space[name]
    canvas.scale_axis(axes, parameter, "y")
    axes.set_xlim(0, results.intervals * results.interval * 1.01)
    axes.set_ylabel(axis_name(name, results.task.space))
    if not isinstance(parameter, Categorical):
        for bound in (parameter.low, parameter.high):
            axes.axhline(bound, color=canvas.INK, lw=0.8, ls=(0, (4, 3)))
    for i, schedule in enumerate(schedules):
        colour, line = canvas.style(i)
        steps = series.schedule_steps(schedule, name, parameter, results.interval)
        axes.plot(
            steps.x, steps.y, color=colour, ls=line, lw=max(3.8 - 0.9 * i, 1.6), alpha=0.9, solid_joinstyle="miter"
        )
        shrunk = series.transforms(schedule, name, parameter, results.interval)
        axes.plot(shrunk.x, shrunk.y, zorder=5, **{**SHRUNK, "color": colour})


def pairs(results: Results) -> Figure | None:
    """Plot each arm's test metric, join the arms of each replicate by lines, and mark the mean."""
    shown = test_quantity(results.task.metric(results.metric), results.task)
    table = series.pairs(results, shown)
    values = np.array(list(table.values()), dtype=np.float64).reshape(len(table), len(results.arms))
    if not np.isfinite(values).any():
        return None
    count = len(results.arms)
    figure = canvas.Drawing(figsize=(min(canvas.WIDTH, 3.4 + 1.9 * count), 4.4), layout="constrained")
    axes = figure.subplots()
    positions = np.arange(count)
    for row in values:
        axes.plot(positions, row, color=canvas.MEMBER, lw=1.2, marker="o", ms=4.5, alpha=0.85)
    handles, labels = [_handle(color=canvas.MEMBER, lw=1.2, marker="o", ms=4.5)], ["one replicate (seed)"]
    if len(table) > 1:
        _draw_means(axes, values, shown)
        handles.append(_handle(color=canvas.INK, lw=2.4, marker="D", ms=7))
        labels.append(f"mean of {len(table)}")
    longest = max(len(clean(arm.label)) for arm in results.arms)
    tilt = 20 if longest * count > 70 else 0
    axes.set_xticks(
        positions, [clean(arm.label) for arm in results.arms], rotation=tilt, ha="right" if tilt else "center"
    )
    axes.set_xlim(-0.4, count - 0.4)
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(f"{results.scored} {shown.axis}")
    better = "higher" if shown.maximize else "lower"
    figure.suptitle(f"{results.scored.capitalize()} {shown.name} by replicate ({better} is better)", fontsize=12)
    canvas.legend(figure, handles, labels)
    return figure


def _draw_means(axes: Axes, values: series.Array, shown: Quantity) -> None:
    """Each arm's mean over the replicates that have a value: values is (replicates, arms)."""
    filled = np.isfinite(values)
    means = np.array([values[filled[:, k], k].mean() if filled[:, k].any() else np.nan for k in range(values.shape[1])])
    positions = np.arange(len(means))
    axes.plot(positions, means, color=canvas.INK, lw=2.4, marker="D", ms=7, zorder=4)
    digits = (shown.digits or 0) + 1
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.0}
    for k, mean in zip(positions, means, strict=True):
        if np.isfinite(mean):
            text = f"{mean:.{digits}f}" if shown.digits is not None else f"{mean:.4g}"
            axes.annotate(
                text, (float(k), float(mean)), xytext=(9, 7), textcoords="offset points", weight="bold", bbox=box
            )
