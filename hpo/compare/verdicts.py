"""What may be said: of these tasks, by the seeds; of tasks like these, by the tasks. The words carry their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hpo.compare.data import Direction
from hpo.compare.names import listed
from hpo.report.numbers import MINUS
from hpo.statistics.power import least_pairs
from hpo.statistics.tasks import LEAST_TASKS, FixedTasks, NewTasks, TaskEffect, TasksComparison

_TESTS = {"sign-flip": "sign-flip", "signed-rank": "signed-rank", "sign": "sign-test"}

FindingKind = Literal["better", "worse", "inconclusive", "cannot show a difference", "exploratory", "refused"]


@dataclass(frozen=True)
class Finding:
    """A verdict and its one or two sentences."""

    kind: FindingKind
    words: str


@dataclass(frozen=True)
class Family:
    """What all comparisons of one table share.

    Attributes:
        metric: name of the metric compared; None where every task has its own.
        direction: whether small or large differences are good.
        alpha: family-wise two-sided level.
        size: number of comparisons.
        arms: labels and their names in a sentence.
        tasks: the same of the tasks.
        gains: whether differences are turned so that large is good.
        exploratory: why no verdict is given; None where one is.
    """

    metric: str | None
    direction: Direction
    alpha: float
    size: int
    arms: Mapping[str, str]
    tasks: Mapping[str, str]
    gains: bool = False
    exploratory: str | None = None

    @property
    def level(self) -> str:
        """The level, for a bracket in a sentence."""
        several = f" over {self.size} comparisons" if self.size > 1 else ""
        return f"alpha = {self.alpha:g}{several}"

    @property
    def adjusted(self) -> str:
        """What stands before a p value that is adjusted for several comparisons."""
        return "Holm-adjusted " if self.size > 1 else ""

    def kind(self, p: float, smallest: float, effect: float) -> FindingKind:
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
) -> Finding | None:
    """Return what the pairs say of these tasks and no others; None where there are no seeds to say it by.

    Args:
        baseline: label of the one arm.
        arm: label of the other.
        found: their comparison.
        p_holm: the p of `found.fixed`, adjusted for the family; None where there is none.
        family: what the comparisons share.
    """
    fixed, single = found.fixed, len(found.tasks) == 1
    if fixed is None or p_holm is None:
        return None
    where = "On this task" if single else f"On these {len(found.tasks)} tasks (and no others)"
    kind = family.kind(p_holm, fixed.smallest_p, fixed.standardized)
    if kind == "cannot show a difference":
        return Finding(kind, _cannot(where, baseline, arm, (fixed.cells, "pair"), fixed.smallest_p, family))
    test = "exact sign-flip p" if fixed.exact else "sign-flip p (100,000 patterns)"
    numbers = (
        f"{_effect(baseline, arm, found, fixed, family)}; over {_count(fixed.cells, 'pair')}, {family.adjusted}{test} ="
        f" {p_holm:.4g} ({family.level})"
    )
    other = _other_way(baseline, arm, found, kind, family)
    return Finding(kind, f"{where} {_said(kind, baseline, arm, numbers, family)}.{other}")


def verdict_on_new_tasks(
    baseline: str, arm: str, found: TasksComparison, p_holm: float | None, family: Family
) -> Finding:
    """Return what the tasks say of tasks like these.

    Args:
        baseline: label of the one arm.
        arm: label of the other.
        found: their comparison.
        p_holm: the p of `found.new`, adjusted for the family; None where it is refused.
        family: what the comparisons share.
    """
    new = found.new
    where = "On tasks like these"
    if p_holm is None:
        few = "1 task is too few" if new.n == 1 else f"{new.n} tasks are too few"
        words = (
            f"{where} nothing can be said: {few} (the smallest two-sided p that can be reached is {new.smallest_p:.4g}); at"
            f" least {LEAST_TASKS} are needed, and more seeds do not replace them."
        )
        return Finding("refused", words)
    kind = family.kind(p_holm, new.smallest_p, new.effect)
    if kind == "cannot show a difference":
        words = _cannot(where, baseline, arm, (new.n, "task"), new.smallest_p, family)
        return Finding(kind, words)
    exact, drawn = ("exact ", "") if new.exact else ("", " (100,000 patterns)")
    numbers = (
        f"of {new.n} tasks, {_score(baseline, arm, found, family)};{_estimate(baseline, arm, new, family)}"
        f" {family.adjusted}{exact}{_TESTS[new.test]} p over tasks{drawn} = {p_holm:.4g} ({family.level})"
    )
    sample = (
        "" if kind not in ("better", "worse") else " This takes them as a random sample of the tasks that are meant."
    )
    return Finding(kind, f"{where} {_said(kind, baseline, arm, numbers, family)}.{sample}")


def _said(kind: FindingKind, baseline: str, arm: str, numbers: str, family: Family) -> str:
    """A verdict's sentence after its place and before its full stop; the better arm comes first."""
    a, b = family.arms[baseline], family.arms[arm]
    if kind in ("better", "worse"):
        winner, loser = (b, a) if kind == "better" else (a, b)
        return f"{winner} is better than {loser}: {numbers}"
    if kind == "exploratory":
        return (
            f"there is no verdict on {b} against {a}: {family.exploratory}, so that every p is exploratory; {numbers}"
        )
    return f"{b} against {a} is inconclusive: {numbers}"


def _cannot(where: str, baseline: str, arm: str, units: tuple[int, str], smallest: float, family: Family) -> str:
    least = least_pairs(family.alpha, family.size)
    return (
        f"{where} this design cannot show a difference between {family.arms[arm]} and {family.arms[baseline]}: with"
        f" {_count(*units)} the smallest two-sided p that can be reached is {smallest:.4g}, and it must not exceed"
        f" {family.alpha / family.size:.4g} ({family.level}); at least {least} {units[1]}s are needed."
    )


def _effect(baseline: str, arm: str, found: TasksComparison, fixed: FixedTasks, family: Family) -> str:
    """Name the effect: in the metric's unit on one task, in standardized differences over several."""
    a, b = family.arms[baseline], family.arms[arm]
    metric = family.metric or "each task's metric"
    if len(found.tasks) == 1:
        return f"the mean difference in {metric}, {b} {MINUS} {a}, is {found.tasks[0].mean:+.4g}"
    of = f"gain in {metric} of {b} over {a}" if family.gains else f"difference in {metric}, {b} {MINUS} {a}"
    return f"the mean standardized {of}, is {fixed.standardized:+.3g}"


def scores(found: NewTasks | TaskEffect, direction: Direction) -> tuple[int, int, int]:
    """Return on how many tasks, or in how many pairs, the arm is better than the other, worse, and equal."""
    better, worse = (found.below, found.above) if direction == "minimize" else (found.above, found.below)
    return better, worse, found.n - better - worse


def _score(baseline: str, arm: str, found: TasksComparison, family: Family) -> str:
    ahead, behind, tied = scores(found.new, family.direction)
    return f"{family.arms[arm]} is better on {ahead} and {family.arms[baseline]} on {behind}" + (
        f", and they tie on {tied}" if tied else ""
    )


def _estimate(baseline: str, arm: str, new: NewTasks, family: Family) -> str:
    if new.estimate is None:
        return ""
    return (
        f" the Hodges–Lehmann difference in {family.metric}, {family.arms[arm]} {MINUS} {family.arms[baseline]}, is"
        f" {new.estimate:+.4g};"
    )


def _other_way(baseline: str, arm: str, found: TasksComparison, kind: FindingKind, family: Family) -> str:
    """Name the tasks whose mean goes against the verdict."""
    if kind not in ("better", "worse"):
        return ""
    good_is_negative = family.direction == "minimize"
    against = [
        family.tasks[task.task]
        for task in found.tasks
        if task.mean and ((task.mean < 0) == good_is_negative) != (kind == "better")
    ]
    loser = family.arms[baseline if kind == "better" else arm]
    return f" On {listed(against)} the mean of {loser} is better." if against else ""


def _count(n: int, unit: str) -> str:
    return f"1 {unit}" if n == 1 else f"{n} {unit}s"
