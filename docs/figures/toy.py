"""Draws Figure 2 of Jaderberg et al. 2017 (Population Based Training of Neural Networks) from a run of the task `toy`.

    hpo run studies/toy_figure2.toml
    python docs/figures/toy.py runs/toy_figure2

It writes toy_score.png and toy_plane.png into this folder, or into the one given as a second argument; they are the same each
time, byte for byte. Two workers climb Q(θ) = 1.2 - θ0² - θ1², each on a surrogate 1.2 - h0·θ0² - h1·θ1² of its own.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from picture import save

from hpo.report.data import load_run
from hpo.report.figures import canvas
from hpo.report.figures.series import of_arm

OPTIMUM = 1.2
START = (0.9, 0.9)


def trajectories(rows, interval):
    """For each worker the points it visited: columns step, score, θ0, θ1, from the common start on.

    Rows without a value (diverged) are NaN, so that lines break there.
    """
    start = [0.0, OPTIMUM - START[0] ** 2 - START[1] ** 2, *START]
    paths = {}
    for row in sorted(rows, key=lambda row: (row.member, row.interval)):
        values = [row.metrics.get(name) for name in ("score", "theta0", "theta1")]
        point = [(row.interval + 1) * interval, *(np.nan if value is None else value for value in values)]
        paths.setdefault(row.member, [start]).append(point)
    return {member: np.array(path, dtype=np.float64) for member, path in paths.items()}


def best_so_far(paths):
    """The best score of any worker at each step: columns step, score."""
    points = np.concatenate([path[:, :2] for path in paths.values()] or [np.empty((0, 2))])
    steps, at = np.unique(points[:, 0], return_inverse=True)
    tops = np.full(len(steps), -np.inf)
    finite = np.isfinite(points[:, 1])
    np.maximum.at(tops, at[finite], points[finite, 1])
    return np.column_stack([steps, np.where(np.isfinite(tops), tops, np.nan)])


def score(results, replicate, rows):
    """Q against step, one panel per arm, one line per worker, the best worker dashed."""
    figure, grid = canvas.panels(len(results.arms), height=2.8)
    workers = sorted({row.member for row in rows})
    for arm, (axes,) in zip(results.arms, grid, strict=True):
        paths = trajectories(of_arm(rows, arm.label), results.interval)
        for i, member in enumerate(workers):
            if member in paths:
                axes.plot(
                    paths[member][:, 0], paths[member][:, 1], color=canvas.style(i)[0], lw=max(4.2 - 2.4 * i, 1.2)
                )
        top = best_so_far(paths)
        axes.plot(top[:, 0], top[:, 1], color=canvas.INK, lw=1.3, ls=(0, (4, 3)), zorder=4)
        axes.axhline(OPTIMUM, color=canvas.INK, lw=0.9, ls=":")
        axes.set_title(arm.label)
        axes.set_xlabel(f"training ({results.task.unit})")
    grid[0][0].set_ylabel("Q")
    grid[0][0].set_ylim(-0.6, 1.3)
    figure.suptitle(f"Objective Q of each worker, seed {replicate.seed}", fontsize=12)
    handles = _worker_handles(workers, marker="")
    handles += [
        Line2D([], [], color=canvas.INK, lw=1.3, ls=(0, (4, 3))),
        Line2D([], [], color=canvas.INK, lw=0.9, ls=":"),
    ]
    canvas.legend(figure, handles, [*_worker_names(workers), "best worker", "optimum of Q, 1.2"])
    return figure


def plane(results, replicate, rows):
    """The θ plane: every point that a worker visited, over the contours of Q, from the start (0.9, 0.9)."""
    figure, grid = canvas.panels(len(results.arms), height=3.0)
    workers = sorted({row.member for row in rows})
    side = np.linspace(-0.15, 1.05, 60)
    height = OPTIMUM - side[None, :] ** 2 - side[:, None] ** 2
    for arm, (axes,) in zip(results.arms, grid, strict=True):
        axes.contour(
            side, side, height, levels=np.arange(-0.8, 1.2, 0.2), colors=canvas.FAINT, linewidths=0.8, linestyles="-"
        )
        paths = trajectories(of_arm(rows, arm.label), results.interval)
        for i, member in enumerate(workers):
            if member in paths:
                axes.scatter(
                    paths[member][1:, 2],
                    paths[member][1:, 3],
                    s=max(20 - 13 * i, 6),
                    color=canvas.style(i)[0],
                    lw=0,
                    alpha=0.8,
                )
        axes.plot(*START, "o", color=canvas.INK, ms=6, mfc="none", mew=1.3)
        axes.plot(0, 0, "+", color=canvas.INK, ms=9, mew=1.5)
        axes.set_title(arm.label)
        axes.set_xlabel("θ0")
        axes.set_aspect("equal")
        axes.grid(visible=False)
        axes.set_xlim(-0.15, 1.05)
        axes.set_ylim(-0.15, 1.05)
    grid[0][0].set_ylabel("θ1")
    figure.suptitle(f"Where each worker went, seed {replicate.seed}", fontsize=12)
    handles = _worker_handles(workers, marker="o")
    handles += [
        Line2D([], [], color=canvas.INK, marker="o", ms=6, mfc="none", ls=""),
        Line2D([], [], color=canvas.INK, marker="+", ms=9, mew=1.5, ls=""),
        Line2D([], [], color=canvas.FAINT, lw=1.2),
    ]
    canvas.legend(figure, handles, [*_worker_names(workers), "start", "optimum", "contours of Q"])
    return figure


def _worker_handles(workers, *, marker):
    return [
        Line2D([], [], color=canvas.style(i)[0], lw=0 if marker else 1.8, marker=marker, ms=5)
        for i in range(min(len(workers), len(canvas.COLOURS)))
    ]


def _worker_names(workers):
    return [f"worker {member}" for member in workers[: len(canvas.COLOURS)]]


def main(run_dir, folder):
    run = load_run(run_dir)
    replicate = run.results.replicates[0]
    with canvas.look():
        for draw in (score, plane):
            figure = draw(run.results, replicate, run.segments[replicate.seed])
            save(figure, f"toy_{draw.__name__}", folder=folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else Path(__file__).parent)
