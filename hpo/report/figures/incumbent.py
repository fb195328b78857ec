"""The incumbents' validation metric over the budget, and each difference with its simultaneous band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hpo.report.comparison import per_member
from hpo.report.figures import canvas
from hpo.report.figures.differences import MAX_COMPARISONS, array, position, short_name
from hpo.report.numbers import MINUS, Quantity, clean, quantity
from hpo.results.document import ArmComparison, IncumbentBand, Measurement, Results

MAX_SEED_LINES = 40  # per arm, behind the means
_MARKS = {"better": canvas.COLOURS[2], "worse": canvas.COLOURS[1]}


def incumbent(results: Results) -> Figure | None:
    """The incumbents' validation metric over the budget, and below it each difference with its simultaneous band."""
    bands = [] if results.anytime else [c for c in results.comparisons if c.incumbent and c.incumbent.budgets]
    bands = bands[:MAX_COMPARISONS]
    if not results.replicates:
        return None
    task = results.task
    shown = quantity(task.metric(task.primary), task, count=task.examples("validation"))
    columns = min(max(len(bands), 1), 3)
    below = -(-len(bands) // columns)
    figure = canvas.Drawing(figsize=(canvas.WIDTH * 0.92, 3.3 + 2.7 * below), layout="constrained")
    grid = figure.add_gridspec(1 + below, columns, height_ratios=[1.25] + [1.0] * below)
    top = figure.add_subplot(grid[0, :])
    handles = _draw_incumbents(top, results, shown)
    unit = clean(task.unit)
    charged = f"training charged ({unit} per member)" if not results.is_function else unit
    top.set_ylabel(f"{results.validated}{shown.axis}")
    best = "Best model so far" if not results.is_function else "Best trial so far"
    top.set_title(best + (", mean over seeds" if len(results.replicates) > 1 else ""))
    top.set_xlim(0, per_member(results, results.budgets[-1]) * 1.01)
    leader: Axes | None = None
    for k, c in enumerate(bands):
        axes = figure.add_subplot(grid[1 + k // columns, k % columns], sharex=top, sharey=leader)
        leader = leader or axes
        _draw_band(axes, results, c, shown)
        axes.tick_params(labelleft=k % columns == 0)
        axes.set_xlabel(charged)
        if k % columns == 0:
            axes.set_ylabel(f"difference ({shown.difference_unit})" if shown.difference_unit else "difference")
    if leader is not None:
        leader.set_ylim(*_band_limits(bands, shown))
    else:
        top.set_xlabel(charged)
    labels = list(map(clean, results.labels))
    if bands:
        handles.append(Patch(color=canvas.FAINT))
        labels.append("simultaneous band")
    for word, colour in _MARKS.items():
        if any(c.incumbent and _starts(c.incumbent)[word] is not None for c in bands):
            handles.append(Line2D([], [], color=colour, lw=1.4, ls="--"))
            labels.append(f"{word} from here on")
    canvas.legend(figure, handles, labels)
    return figure


def _draw_incumbents(axes: Axes, results: Results, shown: Quantity) -> list[Any]:
    handles = []
    everything = []
    x = array([per_member(results, budget) for budget in results.budgets])
    for i, label in enumerate(results.labels):
        colour, line = canvas.style(i)
        curves = np.array([array(replicate.arms[label].incumbent) for replicate in results.replicates])
        y = shown.offset + shown.scale * curves
        everything.append(y[np.isfinite(y)])
        axes.plot(x, y[:MAX_SEED_LINES].T, color=colour, lw=0.6, alpha=0.22)
        axes.plot(x, y.mean(axis=0), color=colour, ls=line, lw=2.2)
        handles.append(Line2D([], [], color=colour, ls=line, lw=2.2))
    values = np.concatenate(everything)
    canvas.scale_values(axes, values, maximize=shown.maximize)
    return handles


def _draw_band(axes: Axes, results: Results, c: ArmComparison, shown: Quantity) -> None:
    band = c.incumbent
    if band is None:
        return
    x = array([per_member(results, budget) for budget in band.budgets])
    mean, low, high = (shown.scale * array(column) for column in (band.mean, band.low, band.high))
    colour, line = canvas.style(position(results, c))
    axes.fill_between(x, low, high, color=canvas.FAINT, alpha=0.75, lw=0)
    axes.axhline(0, color=canvas.INK, lw=0.9)
    axes.plot(x, mean, color=colour, ls=line, lw=2)
    for word, start in _starts(band).items():
        if start is not None:
            axes.axvline(per_member(results, start), color=_MARKS[word], lw=1.4, ls="--")
    axes.set_title(f"{short_name(c)} {MINUS} {clean(c.baseline)[:26]}")


def _starts(band: IncumbentBand) -> dict[str, Measurement]:
    return {"better": band.better_from, "worse": band.worse_from}


def _band_limits(bands: Sequence[ArmComparison], shown: Quantity) -> tuple[float, float]:
    """Limits that show where the curves settle: the last two thirds of the budget, which the start would dwarf."""
    ends = [0.0]
    for c in bands:
        if c.incumbent is None:
            continue
        for column in (c.incumbent.mean, c.incumbent.low, c.incumbent.high):
            values = shown.scale * array(column)[len(column) // 3 :]
            ends += [float(value) for value in values[np.isfinite(values)]]
    low, high = min(ends), max(ends)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
