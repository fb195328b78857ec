"""The figures: every task's difference with its interval, and the critical-difference diagram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from hpo.compare.analysis import Analysis, Contrast
from hpo.compare.data import TaskData
from hpo.compare.names import display_names
from hpo.compare.tables import contrast_name
from hpo.report.figures import canvas
from hpo.report.numbers import clean, percent
from hpo.report.page import Picture
from hpo.statistics.friedman import Nemenyi
from hpo.statistics.interval import Interval
from hpo.statistics.tasks import TaskEffect

MAX_PANELS, MAX_ROWS = 12, 40  # a figure must still be readable; the tables hold the rest

#: What figures can be called: fixed words, never a label.
NAMES = ("tasks", "critical-difference")

_BETTER, _WORSE = "#009e73", "#d55e00"


def pictures(analysis: Analysis, *, pdf: bool = False) -> tuple[Picture, ...]:
    """Draw every figure that the data have.

    Args:
        analysis: every number.
        pdf: also as PDF.
    """
    with canvas.look():
        figures = [("tasks", "Difference on every task", forest(analysis))]
        if analysis.ranks is not None and analysis.ranks.nemenyi is not None:
            figure = critical_difference_diagram(analysis.ranks.nemenyi, analysis.arms, analysis.ranks.friedman.n)
            figures.append(("critical-difference", "Critical-difference diagram", figure))
        # In this order: `save` lays the figure out.
        return tuple(
            Picture(name, title, *canvas.save(figure), pdf=canvas.pdf(figure) if pdf else b"")
            for name, title, figure in figures
        )


def forest(analysis: Analysis) -> Figure:
    """Mean differences with their intervals: over the task's standard deviation, or as they are if they share a scale.

    A panel per comparison with a row per task; for a task that is alone, one panel with a row per comparison.
    """
    arms = display_names(analysis.arms)
    tasks = list(display_names([task.name for task in analysis.tasks]).values())
    names = [contrast_name(comparison, arms, gains=analysis.gains) for comparison in analysis.comparisons]
    plain = _plain(analysis)
    if len(tasks) == 1:
        alone = [comparison.tasks[0].effect for comparison in analysis.comparisons]
        panels = [_Panel("", names, alone, [comparison.interval for comparison in analysis.comparisons])]
    else:
        panels = [
            _over_tasks(name, comparison, analysis.tasks)
            for name, comparison in zip(names, analysis.comparisons, strict=True)
        ]
    shown = panels[:MAX_PANELS]
    rows = min(len(panels[0].names), MAX_ROWS)
    columns = min(len(shown), 3)
    bands = math.ceil(len(shown) / columns)
    width = min(canvas.WIDTH, 3.6 + 3.4 * columns)
    figure = Figure(figsize=(width, bands * (1.1 + 0.28 * (rows + 1)) + 0.7), layout="constrained")
    grid = figure.subplots(bands, columns, squeeze=False, sharex=True, sharey=True)
    for i, axes in enumerate(grid.flat):
        if i >= len(shown):
            axes.set_visible(False)
            continue
        _draw(axes, shown[i], rows, maximize=analysis.direction == "maximize", plain=plain)
        lowest = i + columns >= len(shown)
        axes.tick_params(labelbottom=lowest)
        axes.set_xlabel(_unit(analysis, plain) if lowest else "")
    cut = [
        f"the first {most} of {len(all_of_them)} {what}"
        for most, all_of_them, what in (
            (rows, panels[0].names, "tasks" if len(tasks) > 1 else "comparisons"),
            (len(shown), panels, "comparisons"),
        )
        if most < len(all_of_them)
    ]
    title = "Difference on every task" if len(tasks) > 1 else f"Difference on {tasks[0]}"
    figure.suptitle(f"{title}: {', '.join(cut)}" if cut else title, fontsize=12)
    several = any(effect is not None and effect.n > 1 for panel in shown for effect in panel.effects[:rows])
    handles = [Line2D([], [], color=colour, marker="o", lw=1.8 if several else 0, ms=6) for colour in (_BETTER, _WORSE)]
    level = f", {percent(1 - analysis.alpha)} t interval" if several else ""
    if len(tasks) == 1:
        level = ", with its interval" if several else ""
    labels = [f"mean better{level}", f"mean worse{level}"]
    canvas.legend(figure, handles, labels)
    return figure


@dataclass(frozen=True)
class _Panel:
    """A title, and from the top the names of the rows, their effects (None without a pair) and their intervals."""

    title: str
    names: Sequence[str]
    effects: Sequence[TaskEffect | None]
    intervals: Sequence[Interval | None]


def _over_tasks(name: str, comparison: Contrast, tasks: Sequence[TaskData]) -> _Panel:
    """Return the panel of a comparison: a row for every task, with the t interval."""
    found = {result.effect.task: result.effect for result in comparison.tasks}
    effects = [found.get(task.name) for task in tasks]
    intervals = [None if e is None or e.ci_low is None else Interval(e.ci_low, e.ci_high) for e in effects]
    return _Panel(name, list(display_names([task.name for task in tasks]).values()), effects, intervals)


def _plain(analysis: Analysis) -> bool:
    """Whether to draw the differences as they are: for a single task, and if no d_z exists."""
    effects = [result.effect for comparison in analysis.comparisons for result in comparison.tasks]
    return len(analysis.tasks) == 1 or (analysis.metric is not None and all(effect.n == 1 for effect in effects))


def _unit(analysis: Analysis, plain: bool) -> str:
    if not plain:
        return "d_z: mean / standard deviation"
    return f"{'gain' if analysis.gains else 'difference'} in {clean(analysis.metric or '')}"


def _draw(axes: Axes, panel: _Panel, rows: int, *, maximize: bool, plain: bool) -> None:
    for row, effect in enumerate(panel.effects[:rows]):
        scale = None if effect is None else 1.0 if plain else _scale(effect)
        if effect is None or scale is None:
            why = _why_nothing(effect)
            axes.text(0, row, f" {why}", va="center", fontsize=8, color=canvas.MEMBER)
            axes.plot(0, row, "|", color=canvas.MEMBER, ms=8)
            continue
        colour = _BETTER if (effect.mean > 0) == maximize else _WORSE
        colour = canvas.MEMBER if effect.mean == 0 else colour
        interval = panel.intervals[row]
        if interval is not None and interval.low is not None and interval.high is not None:
            axes.plot([interval.low * scale, interval.high * scale], [row, row], color=colour, lw=1.8)
        axes.plot(effect.mean * scale, row, "o", color=colour, ms=6)
    ticks = list(panel.names[:rows])
    axes.axvline(0, color=canvas.INK, lw=0.9)
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.set_yticks(range(len(ticks)), ticks)
    axes.set_ylim(len(ticks) - 0.3, -0.7)
    axes.set_title(panel.title)
    axes.grid(visible=False, axis="y")


def _why_nothing(effect: TaskEffect | None) -> str:
    if effect is None:
        return "no pair"
    return "1 pair" if effect.n == 1 else "all equal" if effect.mean else "no difference"


def _scale(effect: TaskEffect) -> float | None:
    """What turns a difference into d_z; None if there is no d_z."""
    if effect.d_z is None:
        return None
    return effect.d_z / effect.mean if effect.mean else 0.0


def critical_difference_diagram(found: Nemenyi, labels: Sequence[str], tasks: int) -> Figure:
    """Mean ranks on a line; bars join arms that Nemenyi's test does not tell apart."""
    import pandas as pd
    import scikit_posthocs as posthocs

    names = list(display_names(labels).values())
    figure = Figure(figsize=(canvas.WIDTH, 1.7 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=False)
    artists = posthocs.critical_difference_diagram(
        dict(zip(names, found.mean_ranks, strict=True)),
        pd.DataFrame(found.p, index=names, columns=names),
        alpha=found.alpha,
        ax=axes,
        label_fmt_left="{label} ({rank:.2f})  ",
        label_fmt_right="  ({rank:.2f}) {label}",
        elbow_props={"color": canvas.INK, "lw": 0.9},
        marker_props={"color": canvas.INK, "s": 26},
        crossbar_props={"color": canvas.INK, "linewidth": 3},
    )
    for (bar,) in artists["crossbars"]:
        bar.set_xdata(sorted(bar.get_xdata()))  # they come in the order of a set of names: another in every process
    axes.set_title(
        f"Mean ranks over {tasks} tasks; 1 is best. Bars join arms that Nemenyi's test does not tell apart\n"
        f"(critical difference {found.critical_difference:.3g} at alpha = {found.alpha:g}).",
        fontsize=9.5,
        fontweight="normal",
        pad=14,
    )
    return figure
