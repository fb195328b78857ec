"""What may be said: of these tasks, by the seeds; of tasks like these, by the tasks. The words carry their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hpo.compare.data import Direction
from hpo.compare.phrases import say
from hpo.statistics.power import least_pairs
from hpo.statistics.tasks import LEAST_TASKS, NewTasks, TaskEffect, TasksComparison

TasksVerdictKind = Literal["better", "worse", "inconclusive", "cannot show a difference", "exploratory", "refused"]


@dataclass(frozen=True)
class TasksVerdict:
    """A verdict and its one or two sentences."""

    kind: TasksVerdictKind
    words: str


@dataclass(frozen=True)
class Family:
    """What all comparisons of one table share.

    Attributes:
        metric: name of the metric compared; None if every task has its own.
        direction: whether small or large differences are good.
        alpha: family-wise two-sided level.
        size: number of comparisons.
        arms: labels and their names in a sentence.
        tasks: the same of the tasks.
        gains: whether differences are turned so that large is good.
        exploratory: why no verdict is given; None if one is.
    """

    metric: str | None
    direction: Direction
    alpha: float
    size: int
    arms: Mapping[str, str]
    tasks: Mapping[str, str]
    gains: bool = False
    exploratory: str | None = None

    def kind(self, p: float, smallest: float, effect: float) -> TasksVerdictKind:
        """The verdict of an adjusted p on an effect of this sign, where p cannot be below `smallest` before adjustment."""
        if self.exploratory is not None:
            return "exploratory"
        if smallest * self.size > self.alpha:
            return "cannot show a difference"
        if p > self.alpha:
            return "inconclusive"
        return "better" if (effect < 0) == (self.direction == "minimize") else "worse"


def verdict_on_these_tasks(
    baseline: str, arm: str, found: TasksComparison, p_holm: float | None, family: Family
) -> TasksVerdict | None:
    """Return the conclusion for these tasks alone; None if there are no seeds.

    Args:
        baseline: label of the one arm.
        arm: label of the other.
        found: their comparison.
        p_holm: the p of `found.fixed`, adjusted for the family; None if there is none.
        family: what the comparisons share.
    """
    fixed = found.fixed
    if fixed is None or p_holm is None:
        return None
    kind = family.kind(p_holm, fixed.smallest_p, fixed.standardized)
    words = say(
        "on_these_tasks",
        kind=kind,
        a=family.arms[baseline],
        b=family.arms[arm],
        f=family,
        found=found,
        p_holm=p_holm,
        least=least_pairs(family.alpha, family.size),
        against=_other_way(found, kind, family),
    )
    return TasksVerdict(kind, words)


def verdict_on_new_tasks(
    baseline: str, arm: str, found: TasksComparison, p_holm: float | None, family: Family
) -> TasksVerdict:
    """Return the conclusion for tasks like these.

    Args:
        baseline: label of the one arm.
        arm: label of the other.
        found: their comparison.
        p_holm: the p of `found.new`, adjusted for the family; None if it is refused.
        family: what the comparisons share.
    """
    new = found.new
    kind: TasksVerdictKind = "refused" if p_holm is None else family.kind(p_holm, new.smallest_p, new.effect)
    words = say(
        "on_new_tasks",
        kind=kind,
        a=family.arms[baseline],
        b=family.arms[arm],
        f=family,
        new=new,
        p_holm=p_holm,
        least=LEAST_TASKS if p_holm is None else least_pairs(family.alpha, family.size),
        scores=scores(new, family.direction),
    )
    return TasksVerdict(kind, words)


def scores(found: NewTasks | TaskEffect, direction: Direction) -> tuple[int, int, int]:
    """Return on how many tasks, or in how many pairs, the arm is better than the other, worse, and equal."""
    better, worse = (found.below, found.above) if direction == "minimize" else (found.above, found.below)
    return better, worse, found.n - better - worse


def _other_way(found: TasksComparison, kind: TasksVerdictKind, family: Family) -> list[str]:
    """Name the tasks whose mean goes against the verdict."""
    if kind not in ("better", "worse"):
        return []
    good_is_negative = family.direction == "minimize"
    return [
        family.tasks[task.task]
        for task in found.tasks
        if task.mean and ((task.mean < 0) == good_is_negative) != (kind == "better")
    ]
