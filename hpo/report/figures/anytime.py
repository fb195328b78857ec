"""The e-process over the seeds against the value that decides, and the confidence sequence."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hpo.report.figures import canvas
from hpo.report.figures.differences import MAX_COMPARISONS, array, position, short_name
from hpo.report.figures.series import Array
from hpo.report.numbers import MINUS, Quantity, clean, test_quantity
from hpo.results.document import ArmComparison, Results


def anytime(results: Results) -> Figure | None:
    """The e-process over the seeds against what decides, and below it the confidence sequence."""
    drawn = [c for c in results.comparisons if c.anytime and c.anytime.path][:MAX_COMPARISONS]
    if not drawn:
        return None
    shown = test_quantity(results.task.metric(results.metric), results.task)
    figure, grid = canvas.panels(len(drawn), height=5.0, rows_per_panel=(1.0, 1.1))
    limits = _sequence_limits(drawn, shown)
    longest = max(len(c.anytime.path) for c in drawn if c.anytime)
    for c, (above, below) in zip(drawn, grid, strict=True):
        found = c.anytime
        if found is None:
            continue
        colour = canvas.style(position(results, c))[0]
        x = np.arange(1, len(found.path) + 1, dtype=np.float64)
        above.plot(x, array(found.path) / math.log(10), color=colour, lw=2, marker="o", ms=3.5)
        above.axhline(math.log10(found.threshold), color=canvas.COLOURS[1], lw=1.2, ls="--")
        above.set_title(f"{short_name(c)} {MINUS} {clean(c.baseline)[:26]}")
        if found.decided_at is not None:
            for axes in (above, below):
                axes.axvline(found.decided_at, color=canvas.COLOURS[2], lw=1.2, ls=":")
        _draw_sequence(below, c, x, shown, colour, limits)
        below.set_xlabel("seeds")
    unit = f" ({shown.difference_unit})" if shown.difference_unit else ""
    grid[0][0].set_ylabel("log₁₀ e-value")
    grid[0][1].set_ylabel(f"difference{unit}")
    grid[0][1].set_ylim(*limits)
    grid[0][1].set_xlim(0.5, longest + 0.5)
    handles = [
        Line2D([], [], color=canvas.COLOURS[1], lw=1.2, ls="--"),
        Line2D([], [], color=canvas.COLOURS[2], lw=1.2, ls=":"),
        Patch(color=canvas.FAINT),
        Line2D([], [], color=canvas.MEMBER, lw=1.8),
    ]
    canvas.legend(figure, handles, ["needed to decide", "decided", "confidence sequence", "mean so far"])
    return figure


def _draw_sequence(
    axes: Axes, c: ArmComparison, x: Array, shown: Quantity, colour: str, limits: tuple[float, float]
) -> None:
    """The confidence sequence as a band; if it is unbounded it fills the panel."""
    if c.anytime is None:
        return
    low = [np.nan if i is None else limits[0] if i.low is None else shown.scale * i.low for i in c.anytime.intervals]
    high = [np.nan if i is None else limits[1] if i.high is None else shown.scale * i.high for i in c.anytime.intervals]
    axes.fill_between(x, array(low), array(high), color=canvas.FAINT, alpha=0.75, lw=0, step="mid")
    values = array(c.differences)[: len(x)]
    if len(values) == len(x):
        axes.plot(x, shown.scale * np.cumsum(values) / x, color=colour, lw=1.8)
    axes.axhline(0, color=canvas.INK, lw=0.9)


def _sequence_limits(drawn: Sequence[ArmComparison], shown: Quantity) -> tuple[float, float]:
    ends = [0.0]
    for c in drawn:
        running = np.cumsum(array(c.differences)) / np.arange(1, len(c.differences) + 1)
        ends += [float(shown.scale * value) for value in running[np.isfinite(running)]]
        if c.anytime is not None:
            bounded = [i for i in c.anytime.intervals if i is not None]
            half = len(bounded) // 2
            found = [end for i in bounded[half:] for end in (i.low, i.high) if end is not None]
            ends += [shown.scale * end for end in found]
    low, high = min(ends), max(ends)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin
