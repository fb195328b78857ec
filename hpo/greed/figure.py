"""The figure of `hpo greed`: what arms miss along the budget, and how that goes with their final scores."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from hpo.greed.records import ArmGreed, Floats, Greed, interval_of
from hpo.report.figures import canvas

_HEIGHT = 3.2  # inches per run
_WIDTH = 9.0


def drawn(found: Sequence[Greed], suffix: str) -> bytes:
    """Return the figure as a file: a row for each run.

    Args:
        found: the runs.
        suffix: .png, .svg or .pdf.
    """
    with canvas.look():
        figure = figure_of(found)
        png, svg = canvas.save(figure)
        return {".png": png, ".svg": svg}[suffix] if suffix != ".pdf" else canvas.pdf(figure)


def figure_of(found: Sequence[Greed]) -> canvas.Drawing:
    """Return the figure; call it within `canvas.look`."""
    figure = canvas.Drawing(figsize=(_WIDTH, _HEIGHT * len(found) + 0.5), layout="constrained")
    grid = figure.subplots(len(found), 2, squeeze=False)
    labels = list(dict.fromkeys(arm.label for greed in found for arm in greed.arms))
    styles = {label: canvas.style(at) for at, label in enumerate(labels)}
    for greed, (along, end) in zip(found, grid, strict=True):
        _along(along, greed, styles)
        _end(end, greed, styles)
    handles = [Line2D([], [], color=colour, ls=line, marker="o", ms=4) for colour, line in styles.values()]
    handles += [Line2D([], [], color=canvas.INK, ls=line) for line in (":", "--")]
    canvas.legend(figure, handles, [*labels, "best known schedule", "greedy policy"])
    return figure


def _along(axes: Axes, greed: Greed, styles: dict[str, tuple[str, str]]) -> None:
    """Draw the mean gain that members missed, by the start of the perturbation interval."""
    for arm in greed.arms:
        starts = np.unique(np.concatenate([gains.start for gains in arm.gains]))
        means = [_mean_at(arm, start) for start in starts]
        colour, line = styles[arm.label]
        axes.plot(starts * greed.interval, means, color=colour, ls=line, lw=1.4)
    axes.plot(greed.best.gains.start * greed.interval, greed.best.gains.missed, color=canvas.INK, ls=":", lw=1.0)
    axes.axhline(0.0, color=canvas.INK, ls="--", lw=1.0)
    axes.set_title(f"{greed.name}:\ngain missed within {greed.every:g} {greed.unit}")
    axes.set_xlabel(f"training ({greed.unit})")
    axes.set_ylabel(f"missed {greed.metric.name}")


def _mean_at(arm: ArmGreed, start: int) -> float:
    """Return the mean over replicates of the members' mean."""
    return float(np.mean([gains.missed[gains.start == start].mean() for gains in arm.gains if start in gains.start]))


def _end(axes: Axes, greed: Greed, styles: dict[str, tuple[str, str]]) -> None:
    """Draw how far each arm ends below the best known schedule, by the share of the greedy gain that it missed.

    Means over the seeds, with their 95% intervals.
    """
    for arm in greed.arms:
        colour, _ = styles[arm.label]
        below = greed.best.final - arm.finals
        axes.errorbar(
            100 * arm.shares.mean(),
            below.mean(),
            xerr=_bars(100 * arm.shares),
            yerr=_bars(below),
            color=colour,
            marker="o",
            ms=5,
            lw=1.2,
        )
    axes.axhline(greed.cost, color=canvas.INK, ls="--", lw=1.0)
    if min((greed.best.final - arm.finals).mean() for arm in greed.arms) > 0:
        axes.set_yscale("log", nonpositive="clip")
        axes.yaxis.set_major_formatter(lambda value, _: canvas.power(value))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_title(f"{greed.name}:\nwhat greed is worth in the end")
    axes.set_xlabel("missed of the greedy gain (%); greedy: 0")
    axes.set_ylabel("below the best (lower is better)")


def _bars(values: Floats) -> Floats | None:
    """Return the lengths of an error bar, shape (2, 1)."""
    ends = interval_of(values)
    return None if ends is None else np.abs(np.array([[ends[0]], [ends[1]]]) - values.mean())
