"""Pairs by explicit key (task, seed), never by row position; values without a partner are named and left out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.compare.data import Inputs, TaskData
from hpo.core.errors import InputError
from hpo.statistics.ties import tied

_LARGEST = 1e300  # sums and differences of what is no larger are finite
_COUNTS_MAX = 2**26  # bits that the exact distribution of integers may take; larger ones are tested as floats


@dataclass(frozen=True)
class Missing:
    """A value that an arm lacks while others have one of the same key."""

    task: str
    seed: str
    arm: str


@dataclass(frozen=True)
class TaskPairs:
    """The complete pairs of two arms on one task.

    Attributes:
        seeds: their keys, in order.
        a: values of the one arm.
        b: values of the other.
        differences: b - a, 0 for ties; a - b if they are turned.
        counts: the same of the integers behind the values; None without counts, or if they are very large.
    """

    seeds: tuple[str, ...]
    a: NDArray[np.float64]
    b: NDArray[np.float64]
    differences: NDArray[np.float64]
    counts: NDArray[np.int64] | None


def missing(inputs: Inputs) -> tuple[Missing, ...]:
    """Return every value that a pair lacks, in the order of tasks, seeds and arms."""
    return tuple(
        Missing(task.name, seed, arm)
        for task in inputs.tasks
        for seed in task.seeds
        for arm in inputs.arms
        if seed not in task.values[arm]
    )


def pairs(task: TaskData, a: str, b: str, *, turned: bool = False) -> TaskPairs:
    """Return the pairs of two arms.

    Args:
        task: where.
        a: label of the one arm.
        b: label of the other.
        turned: change the sign of the differences.

    Raises:
        InputError: not one is complete, or a value is too large to be computed with.
    """
    seeds = task.complete_seeds((a, b))
    if not seeds:
        raise InputError(
            f"{task.source}: task {task.name!r}: arms {a!r} and {b!r} have no seed in common, so there is no pair; pairs"
            " are joined by seed"
        )
    first, second = (np.array([task.values[arm][seed] for seed in seeds]) for arm in (a, b))
    for arm, values in ((a, first), (b, second)):
        if (large := np.abs(values) > _LARGEST).any():
            at = int(np.argmax(large))
            raise InputError(
                f"{task.source}: task {task.name!r}, arm {arm!r}, seed {seeds[at]!r}: {task.metric} = {values[at]:g}:"
                f" allowed: sizes up to {_LARGEST:g}"
            )
    less, more = (b, a) if turned else (a, b)
    equal, counts = tied(first, second, task.scale), None
    if task.counts is not None:
        gaps = [task.counts[more][seed] - task.counts[less][seed] for seed in seeds]
        if (len(seeds) + 1) * sum(map(abs, gaps)) <= _COUNTS_MAX:
            counts = np.array(gaps, dtype=np.int64)
            equal = counts == 0
    differences = np.where(equal, 0.0, first - second if turned else second - first)
    return TaskPairs(seeds, first, second, differences, counts)
