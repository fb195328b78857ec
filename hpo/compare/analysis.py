"""Every number of a comparison over tasks: what compare.json holds, and all that is shown."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from hpo.compare.data import Inputs, TaskData
from hpo.compare.names import display_names
from hpo.compare.pairing import Missing, TaskPairs, missing, pairs
from hpo.compare.phrases import say
from hpo.compare.verdicts import Family, TasksVerdict, verdict_on_new_tasks, verdict_on_these_tasks
from hpo.core.errors import InputError
from hpo.statistics.bayesian_signed_ranks import BayesianSignedRanks, bayesian_signed_ranks
from hpo.statistics.decision import holm_adjusted, holm_levels
from hpo.statistics.friedman import Friedman, Nemenyi, friedman, nemenyi
from hpo.statistics.interval import Interval
from hpo.statistics.tasks import (
    FixedTasks,
    NewTasks,
    TaskEffect,
    TasksComparison,
    compare_tasks,
    interval_over_tasks,
)
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
class Contrast:
    """One arm against another over all tasks.

    Attributes:
        baseline: label of the one.
        arm: label of the other.
        tasks: the numbers of each task that both have values for.
        fixed: inference about these tasks; None if each of several tasks has one value per arm.
        fixed_p_holm: its p, adjusted for all comparisons: it decides on these tasks.
        new: inference about tasks like these.
        new_p_holm: its p, adjusted likewise: it decides on tasks like these; None if refused.
        on_these_tasks: the verdict; None if there is none.
        on_new_tasks: the verdict.
        level: the level at which Holm's method decided the first of the two verdicts that there is.
        bayesian: the probabilities of the Bayesian signed-rank test, where the signed-rank test decides and a ROPE is stated.
        interval: the inversion of that test at that level: 0 lies outside exactly where it rejects (see
            `interval_over_tasks`).
    """

    baseline: str
    arm: str
    tasks: tuple[TaskResult, ...]
    fixed: FixedTasks | None
    fixed_p_holm: float | None
    new: NewTasks
    new_p_holm: float | None
    on_these_tasks: TasksVerdict | None
    on_new_tasks: TasksVerdict
    level: float
    interval: Interval | None
    bayesian: BayesianSignedRanks | None

    @property
    def finding(self) -> TasksVerdict:
        """The verdict that stands first."""
        return self.on_these_tasks or self.on_new_tasks


@dataclass(frozen=True)
class Means:
    """The arms' means on one task over the seeds of which every arm has a value.

    Attributes:
        task: its name.
        n: number of these seeds.
        arms: mean of each arm, in the order of the arms; None if n is 0. On a task with one value per arm, the values,
            and None in the place of one that is missing.
        sds: sample standard deviation of each arm over these seeds; None below 2.
    """

    task: str
    n: int
    arms: tuple[float | None, ...] | None
    sds: tuple[float, ...] | None = None


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


@dataclass(frozen=True, kw_only=True)
class Analysis(Inputs):
    """Everything that was read, and what is found.

    Attributes:
        missing: values that pairs lack.
        comparisons: against the baseline, or of all pairs.
        means: of every task.
        ranks: None below three arms, and with two tasks.
    """

    missing: tuple[Missing, ...]
    comparisons: tuple[Contrast, ...]
    means: tuple[Means, ...]
    ranks: Ranks | None


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
    names = display_names([task.name for task in inputs.tasks])
    cautions = (*inputs.cautions, *_unused_rope(inputs, comparisons), *_few_pairs(comparisons, names))
    return Analysis(
        **vars(replace(inputs, cautions=cautions)),
        missing=missing(inputs),
        comparisons=comparisons,
        means=tuple(_means(task, inputs.arms) for task in inputs.tasks),
        ranks=_ranks(inputs),
    )


def _comparisons(inputs: Inputs, contrasts: Sequence[tuple[str, str]]) -> tuple[Contrast, ...]:
    joined = [_joined(inputs, a, b) for a, b in contrasts]
    found = [
        # Differences have no common unit where tasks have metrics of their own.
        compare_tasks(**_arguments(of_pair), alpha=inputs.alpha, common_unit=inputs.metric is not None)
        for of_pair in joined
    ]
    on_these = _Decisions.of([None if r.fixed is None else r.fixed.p_sign_flip for r in found], inputs.alpha)
    on_new = _Decisions.of([r.new.p for r in found], inputs.alpha)
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
    comparisons = []
    for i, ((a, b), of_pair, result) in enumerate(zip(contrasts, joined, found, strict=True)):
        level = (on_new if result.fixed is None else on_these).levels[i]
        comparisons.append(
            Contrast(
                baseline=a,
                arm=b,
                tasks=tuple(_task_result(*both) for both in zip(of_pair.values(), result.tasks, strict=True)),
                fixed=result.fixed,
                fixed_p_holm=on_these.adjusted[i],
                new=result.new,
                new_p_holm=on_new.adjusted[i],
                on_these_tasks=verdict_on_these_tasks(a, b, result, on_these.adjusted[i], family),
                on_new_tasks=verdict_on_new_tasks(a, b, result, on_new.adjusted[i], family),
                level=level,
                interval=_interval(inputs, of_pair, result, level),
                bayesian=_bayesian(inputs, result),
            )
        )
    return tuple(comparisons)


@dataclass(frozen=True)
class _Decisions:
    """Holm's method over all comparisons; one without a p, for lack of tasks or seeds, enters with 1."""

    adjusted: tuple[float | None, ...]
    levels: tuple[float, ...]

    @staticmethod
    def of(tested: Sequence[float | None], alpha: float) -> _Decisions:
        p_values = [1.0 if p is None else p for p in tested]
        adjusted = zip(tested, holm_adjusted(p_values), strict=True)
        return _Decisions(tuple(None if p is None else p_holm for p, p_holm in adjusted), holm_levels(p_values, alpha))


def _arguments(of_pair: Mapping[str, TaskPairs]) -> dict[str, Any]:
    return {
        "differences": {name: t.differences for name, t in of_pair.items()},
        "counts": {name: t.counts for name, t in of_pair.items() if t.counts is not None},
        "magnitudes": {name: np.maximum(np.abs(t.a), np.abs(t.b)) for name, t in of_pair.items()},
    }


def _interval(
    inputs: Inputs, of_pair: Mapping[str, TaskPairs], result: TasksComparison, level: float
) -> Interval | None:
    """Return the interval that is shown; None without a unit, or if nothing is tested."""
    if result.fixed is None and (inputs.metric is None or result.new.p is None):
        return None
    return interval_over_tasks(**_arguments(of_pair), alpha=level)


def _bayesian(inputs: Inputs, result: TasksComparison) -> BayesianSignedRanks | None:
    if inputs.rope is None or result.new.test != "signed-rank" or result.new.p is None:
        return None
    return bayesian_signed_ranks([task.mean for task in result.tasks], inputs.rope)


def _joined(inputs: Inputs, a: str, b: str) -> dict[str, TaskPairs]:
    """Return the pairs of two arms on every task that both have values for."""
    shared = [task for task in inputs.tasks if task.values[a] and task.values[b]]
    if not shared:
        raise InputError(f"{inputs.tasks[0].source}: arms {a!r} and {b!r} have no task in common, so there is no pair")
    return {t.name: pairs(t, a, b, turned=inputs.gains and t.direction == "minimize") for t in shared}


def _task_result(of_task: TaskPairs, effect: TaskEffect) -> TaskResult:
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
    values = [[task.values[arm][seed] for seed in seeds] for arm in arms]
    means = tuple(map(_mean, values)) if seeds else None
    return Means(task.name, len(seeds), means, tuple(map(statistics.stdev, values)) if len(seeds) > 1 else None)


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


def _unused_rope(inputs: Inputs, comparisons: Sequence[Contrast]) -> list[str]:
    """Say that a ROPE on the command line is not used; that of a study was used for the study itself."""
    used = any(comparison.bayesian is not None for comparison in comparisons)
    return [say("unused_rope")] if inputs.rope_given and not used else []


def _few_pairs(comparisons: Sequence[Contrast], names: Mapping[str, str]) -> list[str]:
    """Name tasks of which one pair is all there is, where others have seeds."""
    seeded = [comparison for comparison in comparisons if comparison.fixed is not None and len(comparison.tasks) > 1]
    effects = [result.effect for comparison in seeded for result in comparison.tasks]
    single = {names[effect.task]: None for effect in effects if effect.n == 1}
    if not single:
        return []
    return [say("one_pair", tasks=list(single))]
