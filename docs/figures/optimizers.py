"""Draws the figures of docs/reference/optimizers.md and prints its table of scores: some minutes on one core.

    python docs/figures/optimizers.py

All of it comes from studies of tasks whose answer is known, and is the same each time, byte for byte.
"""

import math
import tempfile
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from picture import save

import hpo
from hpo.report.figures import canvas
from hpo.tasks.landscapes import GreedLoses, ScheduleWins
from hpo.tasks.toy import OPTIMUM, Toy

SEEDS = 10
LEVELS = colormaps["cividis_r"].resampled(16)
RED = "#d55e00"  # the answer's lineage; Okabe and Ito's, as all other colours of lines
TRUNCATION = {"name": "truncation", "quantile_fraction": 0.25}
MULTIPLY = {"name": "multiply", "factors": [2.0, 0.5]}
Place = tuple[int, int]  # a member and an interval: a segment of an arm


@dataclass
class Arm:
    """What one arm trained in one replicate: its segments and their parents by place, the answer's lineage, the record."""

    segments: dict[Place, hpo.SegmentDone]
    parents: dict[Place, Place]
    best: list[Place]
    record: dict


class Collector(hpo.Observer):
    def __init__(self):
        self.seen = {}

    def segment(self, segment):
        if not segment.retraining:
            self.seen.setdefault((segment.seed, segment.arm), {})[segment.member, segment.interval] = segment


def run(task, arms, *, replicates=1, **study):
    """Run a study of arms by title; return them by (seed, title)."""
    titles = {f"arm{i}": title for i, title in enumerate(arms)}  # a study's labels have fewer letters to choose from
    tables = [{"label": label, **arms[title]} for label, title in titles.items()]
    table = {"name": "figures", "replicates": replicates, **study}
    spec = hpo.parse_study({"study": table, "task": task, "arms": tables})
    observer, found = Collector(), {}
    with tempfile.TemporaryDirectory() as folder:
        results = hpo.run_study(spec, out=folder, executor="serial", report=False, observer=observer).results
    for replicate in results["replicates"]:
        for label, record in replicate["arms"].items():
            segments = observer.seen[replicate["seed"], label]
            parents = {
                at: (segment.parent_member, segment.parent_interval)
                for at, segment in segments.items()
                if segment.parent_member is not None
            }
            best = [(record["selected"]["member"], record["selected"]["interval"])]
            while best[0] in parents:
                best.insert(0, parents[best[0]])
            found[replicate["seed"], titles[label]] = Arm(segments, parents, best, record)
    return found


# --- what grows ------------------------------------------------------------------------------------------------------

PBT = {"optimizer": "pbt", "perturbation_interval": 10, "perturbation": MULTIPLY}
INDEPENDENT = {
    "random_search": {"optimizer": "random_search"},
    "quasi_random": {"optimizer": "quasi_random"},
    "grid": {"optimizer": "grid"},
    "optuna (tpe, median)": {
        "optimizer": "optuna",
        "pruner": {"name": "median", "n_startup_trials": 3, "n_warmup_steps": 1},
    },
    "successive_halving": {"optimizer": "successive_halving"},
    "asha": {"optimizer": "asha", "concurrency": 3},
    "hyperband": {"optimizer": "hyperband"},
    "bohb": {"optimizer": "bohb"},
}
POPULATIONS = {
    "truncation": PBT | {"selection": TRUNCATION},
    "binary_tournament": PBT | {"selection": "binary_tournament"},
    "t_test": PBT | {"selection": {"name": "t_test", "window": 4}},
    "exploit_best": PBT | {"selection": "exploit_best"},
    "backtrack": PBT
    | {
        "selection": {"name": "backtrack", "tolerance": 0.1, "otherwise": "none"},
        "perturbation": {"name": "resample", "probability": 0.4},
        "explore": "all",
    },
    "asynchronous": PBT | {"selection": TRUNCATION, "mode": "asynchronous", "concurrency": 3},
    "inherit weights": PBT | {"selection": TRUNCATION, "inherit": "weights"},
    "standard_deviation": PBT | {"selection": {"name": "standard_deviation", "threshold_abs": 0.005}},
    "none, explore all": PBT | {"selection": "none", "explore": "all"},
}


def loss_of(metrics) -> float:
    """log10 of the loss; on `toy` of what is missing to the optimum."""
    return math.log10(metrics["loss"] if "loss" in metrics else OPTIMUM - metrics["score"])


def cells(axes: Axes, arm: Arm, scale: Normalize) -> None:
    """One row per member, one cell per interval, coloured by the score; lines from what was copied to the copy."""
    squares = [Rectangle((interval, member - 0.5), 1, 1) for member, interval in arm.segments]
    values = [loss_of(segment.metrics) for segment in arm.segments.values()]
    axes.add_collection(
        PatchCollection(squares, array=values, cmap=LEVELS, norm=scale, edgecolor="white", linewidth=0.5)
    )
    copies = [
        [(interval, donor), (at + 0.3, member)]
        for (member, at), (donor, before) in arm.parents.items()
        for interval in [before + 0.7]
        if (donor, before + 1) != (member, at)
    ]
    axes.add_collection(LineCollection(copies, color="white", linewidth=1.8, zorder=3))
    axes.add_collection(LineCollection(copies, color="black", linewidth=0.8, zorder=4))
    axes.plot([copy[1][0] for copy in copies], [copy[1][1] for copy in copies], "k.", markersize=4, zorder=5)
    x, y = [interval + 0.5 for _, interval in arm.best], [member for member, _ in arm.best]
    if len(set(y)) > 1:
        axes.plot(x, y, color="white", linewidth=3.2, zorder=6)
        axes.plot(x, y, color=RED, linewidth=1.8, zorder=7)
    axes.plot(x[-1] + 0.95, y[-1], "*", color=RED, markeredgecolor="white", markersize=13, zorder=8, clip_on=False)


def grown(arms: dict[str, Arm], height: float, scale: Normalize, what: str) -> Figure:
    figure, grid = canvas.panels(len(arms), height=height)
    members = max(member for arm in arms.values() for member, _ in arm.segments)
    intervals = max(interval for arm in arms.values() for _, interval in arm.segments) + 1
    for (label, arm), (axes,) in zip(arms.items(), grid, strict=True):
        cells(axes, arm, scale)
        axes.grid(visible=False)
        axes.set_title(label)
        axes.set_xlim(0, intervals)
        axes.set_ylim(members + 0.5, -0.5)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(7, integer=True))
    label_edges([axes for (axes,) in grid], "training (intervals)", "member (slot)")
    bar = figure.colorbar(
        ScalarMappable(scale, LEVELS), ax=[axes for (axes,) in grid], aspect=40, pad=0.01, extend="both"
    )
    bar.set_label(what)
    bar.ax.invert_yaxis()
    return figure


def label_edges(panels: list[Axes], x: str, y: str) -> None:
    """Label the axes at the bottom and at the left of a figure."""
    for axes in panels:
        place = axes.get_subplotspec()
        axes.set_xlabel(x if place.is_last_row() else "")
        axes.set_ylabel(y if place.is_first_col() else "")


def what_grows():
    arms = run({"name": "toy"}, INDEPENDENT, population_size=9, budget=90, interval=10)
    shown = {title: arm for (_, title), arm in arms.items()}
    figure = grown(shown, 2.6, Normalize(-1.3, 0.2, clip=True), "log10(1.2 - score)")
    save(figure, "optimizers_independent")
    task = {"name": "schedule_wins", "dimensions": 20}
    arms = run(task, POPULATIONS, population_size=8, budget=120, interval=10)
    shown = {title: arm for (_, title), arm in arms.items()}
    figure = grown(shown, 2.1, Normalize(-2.5, -0.5, clip=True), "log10(loss)")
    save(figure, "optimizers_populations", colours=128)


# --- perturbations ---------------------------------------------------------------------------------------------------


def lr_of(arm: Arm, at: Place) -> float:
    return float(arm.segments[at].hparams["lr"])


def steps_of(values: list[float], start: int, length: int) -> tuple[list[float], list[float]]:
    """The corners of a step function that has these values from the interval `start` on."""
    edges = [length * (start + at) for at in range(len(values) + 1)]
    return [edge for at in range(len(values)) for edge in edges[at : at + 2]], [v for v in values for _ in range(2)]


def perturbations():
    rates = [round(10 ** (k / 4), 4) for k in range(-12, 1)]
    ladder = {"type": "categorical", "choices": rates, "ordered": True}
    shown = {
        "none": "none",
        "multiply (1.2, 0.8)": "multiply",
        "multiply (2, 0.5)": MULTIPLY,
        "resample": {"name": "resample", "probability": 0.5},
        "gaussian": "gaussian",
        "neighbour": "neighbour",
        "chain (resample, multiply)": {"name": "chain", "steps": [{"name": "resample"}, MULTIPLY]},
        "pb2": "pb2",
    }
    base = {"optimizer": "pbt", "perturbation_interval": 10, "selection": TRUNCATION}
    arms = {}
    study = {"population_size": 8, "budget": 200, "interval": 10}
    for on_ladder in (False, True):
        chosen = {
            label: base | {"perturbation": table}
            for label, table in shown.items()
            if (label == "neighbour") == on_ladder
        }
        task = {"name": "schedule_wins"} | ({"search_space": {"lr": ladder}} if on_ladder else {})
        arms |= run(task, chosen, replicates=SEEDS, **study)
    figure, grid = canvas.panels(len(shown), height=2.3)
    best = ScheduleWins().averaging_schedule(200)
    for label, (axes,) in zip(shown, grid, strict=True):
        arm = arms[0, label]
        for member in range(8):
            x, y = steps_of([lr_of(arm, (member, at)) for at in range(20)], 0, 10)
            axes.plot(x, y, color=canvas.MEMBER, linewidth=0.8, alpha=0.8)
        x, y = steps_of([lr_of(arm, at) for at in arm.best], 0, 10)
        axes.plot(x, y, color=RED, linewidth=2)
        axes.plot(np.arange(200) + 0.5, best, color="black", linewidth=1.2, linestyle="--")
        axes.set_yscale("log")
        axes.set_ylim(7e-4, 1.4)
        axes.yaxis.set_major_locator(LogLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: canvas.power(value)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_title(label)
        mean = np.mean([loss_of(arms[seed, label].record["test"]) for seed in range(SEEDS)])
        axes.text(0.97, 0.95, f"{mean:.2f}", transform=axes.transAxes, ha="right", va="top", fontsize=11)
    label_edges([axes for (axes,) in grid], "training (steps)", "lr")
    lines = [("member", canvas.MEMBER, "-"), ("the answer", RED, "-"), ("the best schedule", "black", "--")]
    handles = [Line2D([], [], color=colour, linestyle=line) for _, colour, line in lines]
    canvas.legend(figure, handles, [label for label, _, _ in lines])
    save(figure, "optimizers_perturbations")


# --- the incumbent ---------------------------------------------------------------------------------------------------

FAMILIES = {
    "all to the end": {
        "grid": {"optimizer": "grid"},
        "quasi_random": {"optimizer": "quasi_random"},
    },
    "stopping early": {
        "successive_halving": {"optimizer": "successive_halving"},
        "asha": {"optimizer": "asha"},
        "hyperband": {"optimizer": "hyperband"},
        "bohb": {"optimizer": "bohb"},
    },
    "optuna": {
        "tpe": {"optimizer": "optuna"},
        "gp": {"optimizer": "optuna", "sampler": "gp"},
        "tpe, median": {"optimizer": "optuna", "pruner": "median"},
        "tpe, hyperband": {"optimizer": "optuna", "pruner": "hyperband"},
    },
    "pbt": {
        "pbt: truncation": PBT | {"selection": TRUNCATION},
        "pbt: binary_tournament": PBT | {"selection": "binary_tournament"},
        "pbt: backtrack": PBT | {"selection": {"name": "backtrack", "otherwise": TRUNCATION}},
        "pbt: pb2": PBT | {"selection": TRUNCATION, "perturbation": "pb2"},
    },
}
TASKS = {
    "schedule_wins": {"budget": 200, "interval": 10},
    "greed_loses": {"budget": 300, "interval": 15},
    "toy": {"budget": 100, "interval": 5},
}


def best_answers() -> dict[str, list[float]]:
    """The log10 of the loss that theory gives by task: of the best constant hyperparameters, and of the best schedule."""
    found = {}
    for name, task in {"schedule_wins": ScheduleWins(), "greed_loses": GreedLoses()}.items():
        steps = TASKS[name]["budget"]
        constant = min(task.expected_loss([rate] * steps) for rate in np.geomspace(1e-3, 1, 2001).tolist())
        found[name] = [math.log10(constant), math.log10(task.expected_loss(task.averaging_schedule(steps)))]
    toy = Toy()
    left = (1 - 2 * toy.step_size) ** TASKS["toy"]["budget"]  # of θ, with h = (1, 1) throughout
    found["toy"] = [math.log10(sum((start * left) ** 2 for start in toy.start))] * 2
    return found


def logged(task, values):
    return np.log10(OPTIMUM - np.array(values)) if task == "toy" else np.array(values)


def incumbents():
    """Draw the mean incumbent along the budget, and print a table of it and of the answers."""
    curves, answers = {}, {}
    for task, study in TASKS.items():
        pbt = {"perturbation_interval": study["interval"]}
        arms = {"random_search": {"optimizer": "random_search"}}
        for family in FAMILIES.values():
            arms |= {label: arm | (pbt if arm["optimizer"] == "pbt" else {}) for label, arm in family.items()}
        found = run({"name": task}, arms, replicates=SEEDS, population_size=12, **study)
        for label in arms:
            records = [found[seed, label].record for seed in range(SEEDS)]
            curves[task, label] = np.mean([logged(task, record["incumbent"]) for record in records], axis=0)
            answers[task, label] = np.mean([loss_of(record["test"]) for record in records])
    theory = best_answers()
    figure, grid = canvas.panels(len(FAMILIES), height=6.6, rows_per_panel=[1] * len(TASKS))
    for (family, arms), column in zip(FAMILIES.items(), grid, strict=True):
        column[0].set_title(family)
        for task, axes in zip(TASKS, column, strict=True):
            share = np.linspace(0, 100, len(curves[task, "random_search"]) + 1)[1:]
            for value, dots in zip(theory[task], [(1, 2), (5, 2)], strict=True):
                axes.axhline(value, color="#888888", linewidth=1, linestyle=(0, dots))
            axes.plot(share, curves[task, "random_search"], color="black", linewidth=2.4, label="random_search")
            for i, label in enumerate(arms):
                colour, line = canvas.style(i)[0], canvas.LINES[i % 4]
                axes.plot(share, curves[task, label], color=colour, linestyle=line, linewidth=1.7, label=label)
            axes.set_xlim(0, 100)
        column[-1].set_xlabel("budget (%)")
        column[-1].legend(loc="upper center", bbox_to_anchor=(0.5, -0.32), handlelength=2.8)
    for task, axes in zip(TASKS, grid[0], strict=True):
        axes.set_ylabel(f"{task}\nlog10({'1.2 - score' if task == 'toy' else 'loss'})")
    save(figure, "optimizers_incumbents")
    for task in TASKS:
        print(f"\n| {task} | 25% | 50% | 100% | the answer |\n|---|---:|---:|---:|---:|")
        for (of, label), curve in curves.items():
            if of == task:
                points = [curve[len(curve) * part // 4 - 1] for part in (1, 2, 4)]
                print(f"| {label} | {' | '.join(f'{value:.2f}' for value in [*points, answers[task, label]])} |")
        constant, schedule = theory[task]
        print(f"best constant hyperparameters: {constant:.2f}; best schedule: {schedule:.2f}")


if __name__ == "__main__":
    with canvas.look():
        what_grows()
        perturbations()
        incumbents()
