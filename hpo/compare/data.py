"""The records that a comparison is made from, for every kind of input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from hpo.statistics.ties import scale_of

Direction = Literal["minimize", "maximize"]
#: What the columns of numbers of a CSV file are: metrics, or one each for an arm, a task or a seed.
Columns = Literal["metrics", "arms", "tasks", "seeds"]
#: What a value belongs to.
Role = Literal["arm", "task", "seed"]


@dataclass(frozen=True)
class TaskData:
    """The test values of one task; `of` makes one.

    Attributes:
        name: its identity in the comparison.
        source: where the values are from, for display.
        metric: name of its metric.
        direction: whether a small or a large one is good.
        values: arm -> seed -> value; a seed is a text that is only ever compared, and empty where the task has one value per
            arm. Seeds are in order.
        counts: arm -> seed -> integer of which the value is a linear function, with the same keys; None without.
        rate: whether the values are rates between 0 and 1.
    """

    name: str
    source: str
    metric: str
    direction: Direction
    values: Mapping[str, Mapping[str, float]]
    counts: Mapping[str, Mapping[str, int]] | None
    rate: bool

    @property
    def seeds(self) -> tuple[str, ...]:
        """All seeds of which an arm has a value, in order."""
        return tuple(sorted({seed for of_arm in self.values.values() for seed in of_arm}, key=natural_order))

    @property
    def scale(self) -> float:
        """The scale of its values, by which `hpo.statistics.ties` decides ties."""
        return scale_of([value for of_arm in self.values.values() for value in of_arm.values()])

    def complete_seeds(self, arms: Sequence[str]) -> tuple[str, ...]:
        """The seeds of which every one of these arms has a value, in order."""
        return tuple(seed for seed in self.seeds if all(seed in self.values[arm] for arm in arms))


@dataclass(frozen=True)
class Request:
    """What the command line asks for; None if the input is to say it.

    Attributes:
        roles: role -> name of the column or attribute that holds it.
        names: pattern by which names of files, studies and folders are read (`hpo.compare.naming`).
        value: which report of a trial of Ray Tune is its value.
        trials: use the first trials of each search only.
    """

    baseline: str | None = None
    metric: str | None = None
    direction: Direction | None = None
    alpha: float | None = None
    rope: float | None = None
    columns: Columns | None = None
    roles: Mapping[Role, str] = field(default_factory=dict)
    names: str | None = None
    value: Literal["last", "best"] | None = None
    trials: int | None = None


@dataclass(frozen=True)
class Inputs:
    """Everything that was read, checked.

    Attributes:
        baseline: the arm that the others are compared with; None: all pairs.
        alpha: family-wise two-sided level.
        arms: labels, in the order in which they are shown.
        tasks: at least one; names all different.
        rope: half-width of the region of practical equivalence, in the unit of the metric; None without one.
        planned: whether baseline, metric and alpha are known to be older than the data.
        exploratory: where a plan is known and this comparison is another one: what differs, in words; then no verdict.
        rope_given: whether the command line gives the rope, rather than the studies.
        layout: how a CSV file is read, in words; None for studies.
        cautions: what a reader must know before believing the numbers.
        origin: what the values are: of finished studies, of a table, the best of searches that they were chosen by, or several.
    """

    baseline: str | None
    alpha: float
    arms: tuple[str, ...]
    tasks: tuple[TaskData, ...]
    rope: float | None = None
    planned: bool = False
    exploratory: str | None = None
    rope_given: bool = False
    layout: str | None = None
    cautions: tuple[str, ...] = ()
    origin: Literal["studies", "table", "searches", "several"] = "table"

    @property
    def gains(self) -> bool:
        """Whether tasks differ in what is good. Then differences are turned so that large is good; else they are arm - baseline."""
        return len({task.direction for task in self.tasks}) > 1

    @property
    def direction(self) -> Direction:
        """Whether small or large differences are good."""
        return "maximize" if self.gains else self.tasks[0].direction

    @property
    def metric(self) -> str | None:
        """The name of the metric; None if tasks have metrics of their own."""
        names = {task.metric for task in self.tasks}
        return names.pop() if len(names) == 1 else None


def natural_order(text: str) -> tuple[int, int, str]:
    """A sort key: whole numbers by size, then everything else by its letters."""
    plain = text.isascii() and text.isdigit() and len(text) <= 19
    return (0, int(text), text) if plain else (1, 0, text)
