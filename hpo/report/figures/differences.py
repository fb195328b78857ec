"""The figure of the statistics part: every comparison's differences, with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from hpo.report.figures import canvas
from hpo.report.figures.series import Array
from hpo.report.numbers import MINUS, Quantity, clean, test_quantity
from hpo.results.document import ArmComparison, Measurement, Results
from hpo.statistics.interval import Interval

MAX_COMPARISONS = 12  # drawn in one figure; the tables hold them all

SEEDS, IMAGES = canvas.INK, canvas.COLOURS[1]
ROPE = "#dcefe6"


def array(values: Sequence[Measurement]) -> Array:
    """Numbers with NaN for what is undefined."""
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def offsets(values: Array, width: float) -> Array:
    """Where dots of nearly equal values go, in steps to both sides, so that each is seen; values has shape (n,).

    Values within a fiftieth of the spread are one pile; a pile of one stays at 0.
    """
    result = np.zeros(len(values))
    finite = np.flatnonzero(np.isfinite(values))
    if finite.size == 0:
        return result
    spread = float(np.ptp(values[finite])) or 1.0
    piles = np.round((values[finite] - values[finite].min()) / spread * 50).astype(int)
    for pile in np.unique(piles):
        members = finite[piles == pile]
        steps = np.arange(len(members)) - (len(members) - 1) / 2
        result[members] = steps * min(width, 4 * width / max(len(members), 1))
    return result


@dataclass(frozen=True)
class _Drawn:
    """An interval as it is drawn, in displayed units; the name is its key in the legend."""

    name: str
    interval: Interval | None
    colour: str
    width: float


def differences(results: Results) -> Figure | None:
    """Every comparison's differences, one dot per seed, with its mean, its intervals, zero and the ROPE."""
    shown = test_quantity(results.task.metric(results.metric), results.task)
    drawn = [c for c in results.comparisons if any(d is not None for d in c.differences)][:MAX_COMPARISONS]
    if not drawn:
        return None
    tested = not results.in_progress and not results.anytime
    figure = canvas.Drawing(figsize=(canvas.WIDTH * 0.86, 1.3 + 0.95 * len(drawn)), layout="constrained")
    axes = figure.subplots()
    dots = [shown.scale * array(c.differences) for c in drawn]
    intervals = [_intervals(c, shown) if tested else [] for c in drawn]
    _limits(axes, results, shown, dots, intervals)
    handles, labels = _plain_handles(len(drawn[0].differences))
    if results.comparison and results.comparison.rope is not None:
        rope = results.comparison.rope * shown.scale
        axes.axvspan(-rope, rope, color=ROPE, lw=0, zorder=0)
        handles.append(Patch(color=ROPE))
        labels.append("ROPE")
    axes.axvline(0, color=canvas.INK, lw=0.9, zorder=1)
    seen: dict[str, Line2D] = {}
    for row, c in enumerate(drawn):
        y = len(drawn) - 1 - row
        heights = y + 0.2 + offsets(dots[row], 0.05)
        axes.plot(dots[row], heights, "o", color=canvas.MEMBER, ms=4.5, alpha=0.75, mec="white", mew=0.4)
        for k, found in enumerate(intervals[row]):
            if _draw_interval(axes, found, y - 0.04 - 0.14 * k):
                seen.setdefault(found.name, Line2D([], [], color=found.colour, lw=found.width))
        if c.mean is not None:
            axes.plot(c.mean * shown.scale, y - 0.04, "D", color=canvas.INK, ms=6.5, mec="white", mew=0.8, zorder=5)
    axes.set_yticks(range(len(drawn)), [short_name(c) for c in reversed(drawn)])
    axes.set_ylim(-0.62, len(drawn) - 0.38)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    unit = f" ({shown.difference_unit})" if shown.difference_unit else ""
    better = "right" if shown.maximize else "left"
    axes.set_xlabel(
        f"difference in {results.scored} {shown.name}{unit}, arm {MINUS} {clean(drawn[0].baseline)} ({better} is better)"
    )
    canvas.legend(figure, [*handles, *seen.values()], [*labels, *seen])
    return figure


def short_name(c: ArmComparison) -> str:
    """The arm's label, short enough for a row or a panel."""
    name = clean(c.arm)
    return name if len(name) <= 26 else name[:25] + "…"


def position(results: Results, c: ArmComparison) -> int:
    """The arm's place in the study file, which gives its colour."""
    return [arm.label for arm in results.arms].index(c.arm)


def _plain_handles(count: int) -> tuple[list[Any], list[str]]:
    dot = Line2D([], [], color=canvas.MEMBER, marker="o", ls="", ms=4.5)
    if count == 1:
        return [dot], ["one replicate (seed)"]
    return [dot, Line2D([], [], color=canvas.INK, marker="D", ls="", ms=6)], ["one replicate (seed)", "mean"]


def _intervals(c: ArmComparison, shown: Quantity) -> list[_Drawn]:
    """A comparison's intervals, the deciding test's first."""
    over_seeds = c.numbers.sign_flip_interval if c.numbers else None
    found = [_Drawn("sign-flip interval", _scaled(over_seeds, shown.scale), SEEDS, 2.6)]
    if c.images and c.images.crossed:
        found.append(
            _Drawn("on new test examples too", _scaled(c.images.crossed.interval_crossed, shown.scale), IMAGES, 1.8)
        )
    return found


def _scaled(interval: Interval | None, scale: float) -> Interval | None:
    if interval is None:
        return None
    low, high = (None if end is None else end * scale for end in (interval.low, interval.high))
    return Interval(low, high) if scale > 0 else Interval(high, low)


def _limits(
    axes: Axes, results: Results, shown: Quantity, dots: Sequence[Array], intervals: Sequence[Sequence[_Drawn]]
) -> None:
    """Everything finite in view, and zero; the ROPE as far as it does not dwarf the data."""
    ends = [0.0, *(float(value) for row in dots for value in row if math.isfinite(value))]
    found = [drawn.interval for row in intervals for drawn in row if drawn.interval is not None]
    ends += [end for interval in found for end in (interval.low, interval.high) if end is not None]
    low, high = min(ends), max(ends)
    if results.comparison and results.comparison.rope is not None:
        rope = results.comparison.rope * shown.scale
        rope = min(rope, 2 * max(-low, high)) or rope
        low, high = min(low, -rope), max(high, rope)
    margin = 0.06 * (high - low) or 1.0
    axes.set_xlim(low - margin, high + margin)


def _draw_interval(axes: Axes, drawn: _Drawn, y: float) -> bool:
    """Draw an interval as a line, with an arrow at the edge if it is unbounded. Return whether there is an arrow."""
    if drawn.interval is None:
        return False
    left, right = axes.get_xlim()
    low = left if drawn.interval.low is None else drawn.interval.low
    high = right if drawn.interval.high is None else drawn.interval.high
    axes.plot([low, high], [y, y], color=drawn.colour, lw=drawn.width, solid_capstyle="butt", zorder=3)
    for end, at, arrow in ((drawn.interval.low, low, "<"), (drawn.interval.high, high, ">")):
        marker = arrow if end is None else "|"
        axes.plot(at, y, marker, color=drawn.colour, ms=6, mew=drawn.width, zorder=3, clip_on=False)
    return True
