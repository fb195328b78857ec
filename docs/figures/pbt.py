"""Draws the figures of docs/explanation/pbt.md from finished runs; seconds.

hpo run studies/zoo_figure2.toml && hpo run studies/step_size.toml && hpo run studies/long_run.toml
python docs/figures/pbt.py runs
"""

import json
import re
import sys
from pathlib import Path

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator
from picture import save

from hpo.report.figures import canvas
from hpo.tasks.zoo import LOW, OPTIMUM, ZooDeceptive

ZOO = {"zoo_plain": "zoo_figure2_plain", "zoo_deceptive": "zoo_figure2_deceptive"}
STEP_SIZE = {"digits": "step_size_digits", "mnist1d": "step_size_mnist1d"}
TICKS = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1)
LONG = {
    "greed_loses": "long_run_greed_",
    "schedule_wins": "long_run_greed_right_",
    "digits": "long_run_digits_",
}


def results(folder: Path, name: str) -> dict:
    return json.loads((folder / name / "results.json").read_text())


def per_seed(run: dict, label: str, value) -> np.ndarray:
    """Something of an arm's record in each replicate, stacked."""
    return np.array([value(replicate["arms"][label]) for replicate in run["replicates"]], dtype=float)


def band(axes, x, values: np.ndarray, colour: str, line: str) -> None:
    """The mean over the seeds, and two standard errors on each side."""
    mean, error = values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
    axes.plot(x, mean, color=colour, ls=line, lw=1.5)
    axes.fill_between(x, mean - 2 * error, mean + 2 * error, color=colour, alpha=0.18, linewidth=0)


def rates(arm: dict) -> np.ndarray:
    """The learning rate of an answer in each interval that its lineage trained."""
    return np.concatenate([[step["hparams"]["lr"]] * (step["stop"] - step["start"]) for step in arm["schedule"]])


def zoo(folder: Path) -> None:
    """Figure 2 of PBT-Zoo's paper: the distance to the optimum, and the schedules of the answers."""
    figure = canvas.Drawing(figsize=(10.4, 6.4), layout="constrained")
    handles, labels = [], []
    for row, (task, name) in zip(figure.subplots(2, 2), ZOO.items(), strict=True):
        run = results(folder, name)
        steps = run["interval"] * np.arange(1, run["intervals"] + 1)
        for at, arm in enumerate(run["arms"]):
            colour, line = canvas.style(at)
            gaps = np.log10(OPTIMUM - per_seed(run, arm["label"], lambda found: found["incumbent"]))
            band(row[0], steps, gaps, colour, line)
            band(row[1], steps, per_seed(run, arm["label"], rates), colour, line)
            if task == "zoo_plain":
                handles.append(Line2D([], [], color=colour, ls=line))
                labels.append(arm["label"])
        best = [LOW] * 1000 if task == "zoo_plain" else ZooDeceptive().best_rates(1000)
        row[1].plot(range(1000), best, color=canvas.MEMBER, lw=2.5, alpha=0.7, zorder=0)
        low, high = row[0].get_ylim()
        ticks = [tick for tick in TICKS if low <= np.log10(tick) <= high]
        row[0].set_yticks(np.log10(ticks), [f"{tick:g}" for tick in ticks])
        row[0].set_title(f"{task}: best score so far, below the optimum")
        row[1].set_title(f"{task}: lr along the answer")
        for axes in row:
            axes.set_xlabel("steps")
        row[0].set_ylabel("1.2 - score (lower is better)")
    canvas.legend(figure, [*handles, Line2D([], [], color=canvas.MEMBER, lw=2.5)], [*labels, "best schedule"])
    save(figure, "pbt_zoo")


def step_size(folder: Path) -> None:
    """Mean test errors by variant and perturbation interval."""
    figure = canvas.Drawing(figsize=(10.4, 3.6), layout="constrained")
    for axes, (task, name) in zip(figure.subplots(1, 2), STEP_SIZE.items(), strict=True):
        run = results(folder, name)
        cells = {arm["label"]: per_seed(run, arm["label"], lambda found: found["test"]["error"]) for arm in run["arms"]}
        variants = list(dict.fromkeys(label.rpartition(" ")[0] for label in cells))
        intervals = list(dict.fromkeys(label.rpartition(" ")[2] for label in cells))
        means = np.array([[100 * cells[f"{each} {at}"].mean() for at in intervals] for each in variants])
        axes.imshow(means, cmap="Blues", aspect="auto", alpha=0.8)
        for (row, column), mean in np.ndenumerate(means):
            dark = mean > np.quantile(means, 0.75)
            axes.text(column, row, f"{mean:.1f}", ha="center", va="center", color="white" if dark else canvas.INK)
        axes.set_xticks(range(len(intervals)), intervals)
        axes.set_yticks(range(len(variants)), variants)
        axes.grid(visible=False)
        axes.set_title(f"{task}: test error (%), mean of {len(run['replicates'])} seeds")
        axes.set_xlabel("perturbation interval (epochs)")
    save(figure, "pbt_step_size")


def long_run(folder: Path) -> None:
    """Differences to random search, as the budget grows."""
    figure = canvas.Drawing(figsize=(10.4, 3.3), layout="constrained")
    grid = figure.subplots(1, len(LONG))
    for (task, prefix), axes in zip(LONG.items(), grid, strict=True):
        runs = [
            results(folder, path.name) for path in folder.glob(f"{prefix}*") if re.fullmatch(rf"{prefix}\d+", path.name)
        ]
        runs.sort(key=lambda run: run["intervals"] * run["interval"])
        budgets = [run["intervals"] * run["interval"] for run in runs]
        metric = runs[0]["task"]["metrics"][0]["name"]
        labels = [arm["label"] for arm in runs[0]["arms"] if arm["label"] != "random"]
        for at, label in enumerate(labels):
            differences = [
                per_seed(run, label, lambda found, name=metric: found["test"][name])
                - per_seed(run, "random", lambda found, name=metric: found["test"][name])
                for run in runs
            ]
            colour, line = canvas.style(at)
            band(axes, budgets, np.array(differences).T, colour, line)
        axes.axhline(0.0, color=canvas.INK, lw=1.0, ls="--")
        axes.set_xscale("log")
        axes.set_xticks(budgets, [f"{budget:g}" for budget in budgets])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_title(task)
        axes.set_xlabel(f"budget ({runs[0]['task']['unit']})")
        axes.set_ylabel(f"test {metric} - random search's")
    canvas.legend(figure, [Line2D([], [], color=canvas.style(at)[0]) for at in range(len(labels))], labels)
    save(figure, "pbt_long_run")


if __name__ == "__main__":
    with canvas.look():
        for draw in (zoo, step_size, long_run):
            draw(Path(sys.argv[1]))
