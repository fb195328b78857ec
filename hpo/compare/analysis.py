"""Every number of a comparison over tasks: what compare.json holds, and all that is shown."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hpo.compare.data import Direction, Inputs, TaskData
from hpo.compare.joining import Missing, Pairs, missing, pairs
from hpo.compare.names import display_names, listed
from hpo.compare.verdicts import Family, Finding, verdict_on_new_tasks, verdict_on_these_tasks
from hpo.errors import InputError
from hpo.statistics.decision import holm_adjusted
from hpo.statistics.friedman import Friedman, Nemenyi, friedman, nemenyi
from hpo.statistics.tasks import FixedTasks, NewTasks, TaskEffect, compare_tasks
from hpo.statistics.ties import comparable, midranks

#: The fewest tasks whose ranks are compared, and the fewest arms.
LEAST_RANKED_TASKS, LEAST_RANKED_ARMS = 3, 3


@dataclass(frozen=True)
class TaskResult:
    """One arm against another on one task.

    Attributes:
        mean_baseline: mean of the one arm over the pairs.
        mean_arm: mean of the other.
        effect: the numbers of the differences.
        differences: by seed.
    """

    mean_baseline: float
    mean_arm: float
    effect: TaskEffect
    differences: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """One arm against another over all tasks.

    Attributes:
        baseline: label of the one.
        arm: label of the other.
        tasks: the numbers of each task that both have values for.
        fixed: inference about these tasks.
        fixed_p_holm: its p, adjusted for all comparisons: it decides on these tasks.
        new: inference about tasks like these.
        new_p_holm: its p, adjusted likewise: it decides on tasks like these; None where refused.
        on_these_tasks: the verdict.
        on_new_tasks: the verdict.
    """

    baseline: str
    arm: str
    tasks: tuple[TaskResult, ...]
    fixed: FixedTasks
    fixed_p_holm: float
    new: NewTasks
    new_p_holm: float | None
    on_these_tasks: Finding
    on_new_tasks: Finding


@dataclass(frozen=True)
class Means:
    """The arms' means on one task over the seeds of which every arm has a value.

    Attributes:
        task: its name.
        n: number of these seeds.
        arms: mean of each arm, in the order of the arms; None where n is 0. On a task with one value per arm, the values,
            and None in the place of one that is missing.
    """

    task: str
    n: int
    arms: tuple[float | None, ...] | None


@dataclass(frozen=True)
class Ranks:
    """The arms' ranks: over tasks, each ranking them by its means; over the seeds of a task that is alone.

    Attributes:
        blocks: what ranks the arms.
        friedman: whether the arms differ at all.
        nemenyi: all pairs of arms; None over seeds, which say nothing of other tasks.
    """

    blocks: Literal["tasks", "seeds"]
    friedman: Friedman
    nemenyi: Nemenyi | None


@dataclass(frozen=True)
class Analysis:
    """Everything that is found.

    Attributes:
        metric: its name; None where tasks have metrics of their own.
        direction: whether small or large differences are good.
        gains: whether differences are turned so that large is good, because tasks differ in what is good; otherwise they
            are arm - baseline.
        alpha, baseline, arms, planned, exploratory, layout: as read; `baseline` is None where all pairs are compared.
        tasks: names, sources and test values: task -> arm -> seed.
        missing: values that pairs lack.
        comparisons: against the baseline, or of all pairs.
        means: of every task.
        ranks: None below three arms, and with two tasks.
        cautions: what a reader must know before believing the numbers.
    """

    metric: str | None
    direction: Direction
    gains: bool
    alpha: float
    baseline: str | None
    arms: tuple[str, ...]
    planned: bool
    exploratory: str | None
    layout: str | None
    tasks: tuple[TaskData, ...]
    missing: tuple[Missing, ...]
    comparisons: tuple[Comparison, ...]
    means: tuple[Means, ...]
    ranks: Ranks | None
    cautions: tuple[str, ...]


def analyse(inputs: Inputs) -> Analysis:
    """Compute every number.

    Raises:
        InputError: two arms have no pair, or values on a task and none of a common seed there; or a value is too large to
            be computed with.
    """
    if inputs.baseline is None:
        contrasts = list(itertools.combinations(inputs.arms, 2))
    else:
        contrasts = [(inputs.baseline, arm) for arm in inputs.arms if arm != inputs.baseline]
    comparisons = _comparisons(inputs, contrasts)
    means = tuple(_means(task, inputs.arms) for task in inputs.tasks)
    return Analysis(
        metric=inputs.metric,
        direction=inputs.direction,
        gains=inputs.gains,
        alpha=inputs.alpha,
        baseline=inputs.baseline,
        arms=inputs.arms,
        planned=inputs.planned,
        exploratory=inputs.exploratory,
        layout=inputs.layout,
        tasks=inputs.tasks,
        missing=missing(inputs),
        comparisons=comparisons,
        means=means,
        ranks=_ranks(inputs),
        cautions=(*inputs.cautions, *_few_pairs(comparisons, display_names([task.name for task in inputs.tasks]))),
    )


def _comparisons(inputs: Inputs, contrasts: Sequence[tuple[str, str]]) -> tuple[Comparison, ...]:
    joined = [_joined(inputs, a, b) for a, b in contrasts]
    found = [
        compare_tasks(
            {name: t.differences for name, t in of_pair.items()},
            alpha=inputs.alpha,
            counts={name: t.counts for name, t in of_pair.items() if t.counts is not None},
            magnitudes={name: np.maximum(np.abs(t.a), np.abs(t.b)) for name, t in of_pair.items()},
        )
        for of_pair in joined
    ]
    fixed = holm_adjusted([result.fixed.p_sign_flip for result in found])
    tested = [result.new.p_sign_flip for result in found]
    # Where values are missing, some comparisons may have too few tasks for a p: they enter with 1.
    adjusted = holm_adjusted([1.0 if p is None else p for p in tested])
    new = tuple(None if p is None else p_holm for p, p_holm in zip(tested, adjusted, strict=True))
    family = Family(
        metric=inputs.metric,
        direction=inputs.direction,
        alpha=inputs.alpha,
        size=len(contrasts),
        arms=display_names(inputs.arms),
        tasks=display_names([task.name for task in inputs.tasks]),
        gains=inputs.gains,
        exploratory=inputs.exploratory,
    )
    return tuple(
        Comparison(
            baseline=a,
            arm=b,
            tasks=tuple(_task_result(*both) for both in zip(of_pair.values(), result.tasks, strict=True)),
            fixed=result.fixed,
            fixed_p_holm=fixed_p,
            # Wilcoxon's test ranks the means themselves, which have no common unit then.
            new=result.new if inputs.metric is not None else replace(result.new, p_wilcoxon=None),
            new_p_holm=new_p,
            on_these_tasks=verdict_on_these_tasks(a, b, result, fixed_p, family),
            on_new_tasks=verdict_on_new_tasks(a, b, result, new_p, family),
        )
        for (a, b), of_pair, result, fixed_p, new_p in zip(contrasts, joined, found, fixed, new, strict=True)
    )


def _joined(inputs: Inputs, a: str, b: str) -> dict[str, Pairs]:
    """Return the pairs of two arms on every task that both have values for."""
    shared = [task for task in inputs.tasks if task.values[a] and task.values[b]]
    if not shared:
        raise InputError(f"{inputs.tasks[0].source}: arms {a!r} and {b!r} have no task in common, so there is no pair")
    return {t.name: pairs(t, a, b, turned=inputs.gains and t.direction == "minimize") for t in shared}


def _task_result(of_task: Pairs, effect: TaskEffect) -> TaskResult:
    return TaskResult(
        mean_baseline=_mean(of_task.a),
        mean_arm=_mean(of_task.b),
        effect=effect,
        differences=dict(zip(of_task.seeds, of_task.differences.tolist(), strict=True)),
    )


def _means(task: TaskData, arms: Sequence[str]) -> Means:
    seeds = task.complete_seeds(arms)
    if not seeds and len(task.seeds) == 1:
        return Means(task.name, 0, tuple(task.values[arm].get(task.seeds[0]) for arm in arms))
    means = tuple(_mean([task.values[arm][seed] for seed in seeds]) for arm in arms) if seeds else None
    return Means(task.name, len(seeds), means)


def _mean(values: Iterable[float]) -> float:
    known = list(values)
    return math.fsum(known) / len(known)


def _ranks(inputs: Inputs) -> Ranks | None:
    if len(inputs.arms) < LEAST_RANKED_ARMS:
        return None
    if len(inputs.tasks) == 1:
        task = inputs.tasks[0]
        rows = [_doubled_ranks(task, inputs.arms, [seed]) for seed in task.complete_seeds(inputs.arms)]
        return Ranks("seeds", friedman(rows), None) if len(rows) > 1 else None
    complete = [(task, task.complete_seeds(inputs.arms)) for task in inputs.tasks]
    table = [_doubled_ranks(task, inputs.arms, seeds) for task, seeds in complete if seeds]
    if len(table) < LEAST_RANKED_TASKS:
        return None
    return Ranks("tasks", friedman(table), nemenyi(table, alpha=inputs.alpha))


def _doubled_ranks(task: TaskData, arms: Sequence[str], seeds: Sequence[str]) -> list[int]:
    """Return twice the ranks of the arms' means over these seeds: means tie by the task's own scale, or by its counts."""
    means = np.array([_mean([task.values[arm][seed] for seed in seeds]) for arm in arms])
    counts = None
    if task.counts is not None:
        counts = np.array([sum(task.counts[arm][seed] for seed in seeds) for arm in arms], dtype=object)
    ranked = comparable(means, counts, task.scale)
    ranks = midranks(ranked, task.scale, larger_is_better=task.direction == "maximize")
    return [round(2 * rank) for rank in ranks.tolist()]


def _few_pairs(comparisons: Sequence[Comparison], names: Mapping[str, str]) -> list[str]:
    """Name tasks of which one pair is all there is: they say which arm is ahead, and not by how much."""
    effects = [result.effect for comparison in comparisons for result in comparison.tasks]
    single = {names[effect.task]: None for effect in effects if effect.n == 1}
    if not single:
        return []
    everywhere = len(single) > 1 and all(effect.n == 1 for effect in effects)
    where = "every task" if everywhere else listed(list(single))
    return [
        f"One pair only on {where}: each has a sign, but no spread to measure its size by, so that it counts as won or lost,"
        " no matter by how much."
    ]
