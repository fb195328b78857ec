"""Draws the figure of docs/reference/optimizers.md on the family of population based training: some minutes on one core.

    python docs/figures/family.py

It comes from one study of a task whose best schedule is known, and is the same each time, byte for byte.
"""

from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from optimizers import RED, TRUNCATION, Arm, label_edges, run
from picture import save

from hpo.optimizers import bg_pbt
from hpo.report.figures import canvas
from hpo.report.figures.members import SHRUNK, SHRUNK_WORDS
from hpo.tasks.zoo import HIGH, ZooDeceptive

BUDGET, INTERVAL, EXPLOIT, MEMBERS = 1000, 2, 20, 24
BASE = {"perturbation_interval": EXPLOIT}
PBT = BASE | {"optimizer": "pbt", "selection": TRUNCATION}
VARIANTS = {
    "pbt (multiply)": PBT | {"perturbation": {"name": "multiply", "factors": [2.0, 0.5]}},
    "pbt (pb2)": PBT | {"perturbation": "pb2"},
    "bg_pbt": BASE | {"optimizer": "bg_pbt"},
    "fire_pbt": BASE | {"optimizer": "fire_pbt"},
    "mf_pbt": BASE | {"optimizer": "mf_pbt"},
    "ipbt": BASE | {"optimizer": "ipbt"},
}
GROUPS = {
    "fire_pbt": {9: "P1", 18: "P2", 24: "evaluators"},
    "mf_pbt": {8: "every 20 steps", 16: "every 200", 24: "every 500"},
}
"""By panel, the first slot after each sub-population."""
COLOURS = (canvas.COLOURS[0], canvas.COLOURS[2], canvas.COLOURS[3])


@dataclass
class Regions:
    """The trust regions of a search: at each exploit its time, the best member's rate, and the side of the box."""

    found: list[tuple[float, float, float]] = field(default_factory=list)

    def watch(self) -> None:
        """Note the regions of searches that start from now on."""
        noted = self.found

        class Watched(bg_pbt.BGPBTRun):
            def evolve(self, members):
                generation = super().evolve(members)
                best = max(members, key=lambda member: member.score)
                at = INTERVAL * (1 + members[0].history[-1].segment.interval)
                noted.append((at, best.hparams["lr"], self._state.region.length))
                return generation

        bg_pbt.BGPBTRun = Watched


def times(arm: Arm) -> dict[tuple[int, int], float]:
    """When each segment began, in steps per member charged before it: that is the training of a member that never restarts."""
    return {place: INTERVAL * (number // MEMBERS) for number, place in enumerate(arm.segments)}


def line(arm: Arm, places: list[tuple[int, int]], at: dict[tuple[int, int], float]) -> np.ndarray:
    """The corners of the learning rate along segments, shape (n, 2), broken where nothing was trained for long."""
    points, before = [], 0.0
    for place in places:
        if points and at[place] > before + 2 * INTERVAL:
            points.append((before, np.nan))
        before = at[place] + INTERVAL
        points += [(x, arm.segments[place].hparams["lr"]) for x in (at[place], before)]
    return np.array(points)


def panel(axes: Axes, title: str, arm: Arm) -> None:
    at, groups = times(arm), GROUPS.get(title, {})
    members = sorted({member for member, _ in arm.segments})
    groups_of = np.searchsorted(list(groups), members, side="right")
    colours = [COLOURS[group] if groups else canvas.MEMBER for group in groups_of]
    lines = [line(arm, sorted(place for place in arm.segments if place[0] == member), at) for member in members]
    axes.add_collection(LineCollection(lines, colors=colours, linewidths=0.8, alpha=0.8))
    axes.plot(*line(arm, arm.best, at).T, color=RED, linewidth=2)
    if title != "ipbt":
        axes.plot(ZooDeceptive().best_rates(BUDGET), color="black", linewidth=1.2, linestyle="--")
    shrunk = [place for place, segment in arm.segments.items() if segment.transform is not None]
    axes.plot([at[place] for place in shrunk], [arm.segments[place].hparams["lr"] for place in shrunk], **SHRUNK)
    if groups:
        handles = [Line2D([], [], color=colour, linewidth=1.5) for colour in COLOURS]
        axes.legend(
            handles, groups.values(), loc="upper right", fontsize=7, frameon=True, framealpha=0.9, edgecolor="none"
        )
    axes.set_title(f"{title}: {arm.record['validation']['score']:.3f}")


def family() -> None:
    regions = Regions()
    regions.watch()
    study = {"population_size": MEMBERS, "budget": BUDGET, "interval": INTERVAL}
    arms = {title: arm for (_, title), arm in run({"name": "zoo_deceptive"}, VARIANTS, **study).items()}
    figure, grid = canvas.panels(len(arms), height=2.5)
    for (title, arm), (axes,) in zip(arms.items(), grid, strict=True):
        panel(axes, title, arm)
        if title == "bg_pbt":
            x, rate, side = np.array(regions.found).T
            half = side / 2 * HIGH
            axes.fill_between(x, rate - half, rate + half, step="post", color=canvas.COLOURS[4], alpha=0.3, linewidth=0)
        axes.set_xlim(0, BUDGET)
        axes.set_ylim(0, 1.15)
    label_edges([axes for (axes,) in grid], "training charged (steps per member)", "lr")
    handles = [
        Line2D([], [], color=canvas.MEMBER),
        Line2D([], [], color=RED, linewidth=2),
        Line2D([], [], color="black", linestyle="--"),
        Patch(color=canvas.COLOURS[4], alpha=0.3),
        Line2D([], [], **SHRUNK),
    ]
    words = ["a member", "the answer", "the best schedule", "trust region", SHRUNK_WORDS]
    canvas.legend(figure, handles, words)
    save(figure, "optimizers_family", colours=128)


if __name__ == "__main__":
    with canvas.look():
        family()
