"""One arm against another on several tasks: on these tasks and no others, or on tasks like these.

The two questions have different units. For *these tasks* every pair (task x seed) is a unit, and more seeds give more
certainty. For *tasks like these* the task is the unit: no number of seeds makes up for few tasks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hpo.statistics.arrays import Floats, check_alpha, finite, one_dimensional
from hpo.statistics.interval import Interval
from hpo.statistics.paired import compare_paired
from hpo.statistics.signed_ranks import signed_ranks
from hpo.statistics.signflip import (
    ENUMERATION_MAX_N,
    RESAMPLES,
    float_sign_flips,
    integer_sign_flip,
    sign_flip_p,
    smallest_p,
)
from hpo.statistics.ties import TOLERANCE, scale_of, settled_sizes, tolerance_of_sums

LEAST_TASKS = 6  #: the fewest tasks from which anything is inferred about others
_COUNTS_AGREE = 1e-6


@dataclass(frozen=True)
class TaskEffect:
    """What the pairs of one task say.

    Attributes:
        task: its name.
        n: number of pairs.
        mean: mean of the differences, in the unit of the task's metric.
        ci_low: lower end of their t interval; None for n = 1.
        ci_high: upper end, likewise.
        d_z: mean / standard deviation; None when undefined (n = 1, or all differences equal).
        standardized: mean / root mean square, between -1 and 1; 0 when the mean is, but for rounding.
        p_sign_flip: two-sided exact sign-flip p of this task alone, not adjusted for the number of tasks.
    """

    task: str
    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    d_z: float | None
    standardized: float
    p_sign_flip: float


@dataclass(frozen=True)
class FixedTasks:
    """Inference about these tasks and no others: other seeds of them.

    Attributes:
        cells: number of pairs of all tasks together.
        standardized: mean over the tasks of mean / root mean square of their differences: the statistic tested.
        mean_d_z: mean over the tasks of d_z: the effect reported; None when the d_z of a task is undefined.
        p_sign_flip: two-sided sign-flip p of `standardized`, signs flipped per task x seed cell.
        method: "exact", or "monte carlo": (hits + 1) / (100,001) from 100,000 patterns drawn with a fixed seed.
        smallest_p: the smallest p that so many cells can reach.
    """

    cells: int
    standardized: float
    mean_d_z: float | None
    p_sign_flip: float
    method: Literal["exact", "monte carlo"]
    smallest_p: float


@dataclass(frozen=True)
class NewTasks:
    """Inference about tasks like these, of which these are taken to be a random sample: the task is the unit.

    Attributes:
        n: number of tasks.
        above: tasks whose mean difference is positive, by more than rounding can make it.
        below: tasks whose mean difference is negative, likewise.
        mean: mean over the tasks of their standardized means.
        interval: its t interval, shown beside the p; None when refused.
        p_sign_flip: two-sided exact sign-flip p of `mean`, signs flipped per task; None when refused.
        p_wilcoxon: two-sided exact Wilcoxon signed-rank p of the tasks' mean differences, not standardized, zeros
            dropped, as is custom; None when refused.
        smallest_p: the smallest p that so many tasks can reach.
        refusal: why there is no p; None when there is one.
    """

    n: int
    above: int
    below: int
    mean: float
    interval: Interval | None
    p_sign_flip: float | None
    p_wilcoxon: float | None
    smallest_p: float
    refusal: str | None


@dataclass(frozen=True)
class TasksComparison:
    """One arm against another on several tasks; differences are arm minus baseline.

    Attributes:
        tasks: every task, in the order given.
        fixed: what is said about these tasks.
        new: what is said about tasks like these.
        confidence: level of the intervals, 1 - alpha.
    """

    tasks: tuple[TaskEffect, ...]
    fixed: FixedTasks
    new: NewTasks
    confidence: float


@dataclass(frozen=True)
class _Cells:
    """One task's pairs as the test sees them.

    Attributes:
        integers: the differences as integers, where they are; then ties are exact.
        values: the differences, or the integers, as floats with ties settled.
        scale: `ties.scale_of` the values that were subtracted; 0 where integers decide.
        slack: how near to 0 the mean ties with 0, in the unit of the task's metric.
    """

    integers: tuple[int, ...] | None
    values: Floats
    scale: float
    slack: float

    @property
    def p(self) -> float:
        if self.integers is not None:
            return integer_sign_flip(self.integers).p
        return float_sign_flips([self.values], [self.scale])[0].p

    @property
    def root_mean_square(self) -> float:
        largest = float(np.abs(self.values).max())
        if largest == 0:
            return 0.0
        return largest * math.sqrt(math.fsum((self.values / largest) ** 2) / len(self.values))

    def standardized(self) -> Floats:
        """Return the values over their root mean square; unchanged where all are 0."""
        return self.values / (self.root_mean_square or 1.0)


def compare_tasks(
    differences: Mapping[str, ArrayLike],
    *,
    alpha: float = 0.05,
    counts: Mapping[str, ArrayLike] | None = None,
    magnitudes: Mapping[str, ArrayLike] | None = None,
) -> TasksComparison:
    """Compare two arms over several tasks from the differences of their pairs.

    The tasks' differences are brought to one scale by dividing each task's by their root mean square: flipping signs
    leaves it as it is, so every pattern of signs stays equally likely under the null hypothesis. (The standard
    deviation changes under flips; dividing by it would make the test only approximate.) Each task weighs the same,
    however many seeds it has. With one task the p is that of `sign_flip_p`.

    >>> found = compare_tasks({"digits": [1, 2, 1], "letters": [10, 30, 20]})
    >>> found.fixed.p_sign_flip
    0.03125
    >>> found.new.p_sign_flip is None
    True

    Args:
        differences: for each task the differences arm - baseline of its pairs, shape (n_t,); n_t >= 1 may differ from
            task to task. Their dtype decides on ties as in `sign_flip_p`: integers are exact.
        alpha: the intervals have level 1 - alpha.
        counts: for tasks whose differences are those of rates of integer counts: the integer differences of the
            counts, with either sign. They stand in for the differences wherever only signs and relative sizes matter,
            so that ties are exact.
        magnitudes: for tasks of float differences: the sizes of the numbers that were subtracted, max(|a|, |b|), shape
            (n_t,), by which `hpo.statistics.ties` says what ties. By default |d|.

    Raises:
        ValueError: no task; a task without differences, or with ones that are not finite; alpha outside (0, 1); counts
            that are not integers, not as many as the differences, or not proportional to them; other magnitudes than
            one per difference; either for a task that is not there.

    References:
        Fisher, The Design of Experiments (1935), section 21, for the test. Demšar, Statistical comparisons of
        classifiers over multiple data sets, JMLR 7 (2006), section 3.1.3, for Wilcoxon's test over data sets.
    """
    check_alpha(alpha)
    if not differences:
        raise ValueError("differences: is empty; at least one task is needed")
    for given, what in ((counts, "counts"), (magnitudes, "magnitudes")):
        for task in given or {}:
            if task not in differences:
                raise ValueError(f"{what}: {task!r} is not one of the tasks: {', '.join(differences)}")
    cells = {
        task: _cells(task, values, (counts or {}).get(task), (magnitudes or {}).get(task))
        for task, values in differences.items()
    }
    effects = tuple(_effect(task, differences[task], cells[task], alpha) for task in differences)
    return TasksComparison(
        effects, _fixed(effects, list(cells.values())), _new(effects, list(cells.values()), alpha), 1 - alpha
    )


def _cells(task: str, values: ArrayLike, counts: ArrayLike | None, magnitudes: ArrayLike | None) -> _Cells:
    what = f"differences of {task!r}"
    array = one_dimensional(values, what)
    floats = finite(array, what)
    sizes = floats
    if magnitudes is not None:
        sizes = finite(one_dimensional(magnitudes, f"magnitudes of {task!r}"), f"magnitudes of {task!r}")
        if len(sizes) != len(floats):
            raise ValueError(f"magnitudes of {task!r}: {len(sizes)} for {len(floats)} differences")
    scale = scale_of(sizes)
    slack = tolerance_of_sums(floats, scale) / len(floats)
    integers: tuple[int, ...] | None = None
    if counts is not None:
        integers = _oriented_counts(task, floats, scale, one_dimensional(counts, f"counts of {task!r}"))
    elif array.dtype.kind in "iu":
        integers = tuple(int(value) for value in array.tolist())
    if integers is None:
        return _Cells(None, settled_sizes(floats, scale), scale, slack)
    return _Cells(integers, np.array(integers, dtype=np.float64), 0.0, slack)


def _oriented_counts(task: str, differences: Floats, scale: float, counts: NDArray[np.generic]) -> tuple[int, ...]:
    """Return the counts with the differences' signs, after checking that they are proportional to them."""
    if counts.dtype.kind not in "iu" or len(counts) != len(differences):
        raise ValueError(
            f"counts of {task!r}: must be {len(differences)} integers, got {len(counts)} of dtype {counts.dtype}"
        )
    integers = tuple(int(value) for value in counts.tolist())
    unit = np.array(integers, dtype=np.float64) / max(1, *(abs(value) for value in integers))
    slope = float(unit @ differences) / (float(unit @ unit) or 1.0)
    allowed = _COUNTS_AGREE * float(np.abs(differences).max()) + TOLERANCE * scale
    if float(np.abs(differences - slope * unit).max()) > allowed or (any(integers) and not slope):
        raise ValueError(f"counts of {task!r}: are not proportional to the differences of the values")
    return tuple(-value for value in integers) if slope < 0 else integers


def _effect(task: str, values: ArrayLike, cells: _Cells, alpha: float) -> TaskEffect:
    floats: Floats = cells.values if cells.integers is None else np.asarray(values).astype(np.float64)
    found = compare_paired(np.zeros(len(floats)), floats, alpha=alpha)
    return TaskEffect(
        task=task,
        n=found.n,
        mean=found.mean,
        ci_low=found.ci_low,
        ci_high=found.ci_high,
        d_z=found.d_z,
        standardized=math.fsum(cells.standardized()) / found.n if abs(found.mean) > cells.slack else 0.0,
        p_sign_flip=cells.p,
    )


def _fixed(effects: Sequence[TaskEffect], tasks: Sequence[_Cells]) -> FixedTasks:
    count = sum(effect.n for effect in effects)
    exact = count <= ENUMERATION_MAX_N
    if len(effects) == 1:
        p = effects[0].p_sign_flip
        exact = exact or tasks[0].integers is not None
    else:
        pooled = np.concatenate([cells.standardized() / len(cells.values) for cells in tasks])
        p = float_sign_flips([settled_sizes(pooled, 0.0)], [0.0])[0].p
    sizes = [effect.d_z for effect in effects if effect.d_z is not None]
    return FixedTasks(
        cells=count,
        standardized=math.fsum(effect.standardized for effect in effects) / len(effects),
        mean_d_z=math.fsum(sizes) / len(sizes) if len(sizes) == len(effects) else None,
        p_sign_flip=p,
        method="exact" if exact else "monte carlo",
        smallest_p=smallest_p(count) if exact else 1 / (RESAMPLES + 1),
    )


def _new(effects: Sequence[TaskEffect], tasks: Sequence[_Cells], alpha: float) -> NewTasks:
    n = len(effects)
    near = [abs(effect.mean) <= cells.slack for effect, cells in zip(effects, tasks, strict=True)]
    raw = np.where(near, 0.0, [effect.mean for effect in effects])
    means = np.array([effect.standardized for effect in effects], dtype=np.float64)
    mean = math.fsum(means) / n
    refusal = None
    if n < LEAST_TASKS:
        few = "1 task is" if n == 1 else f"{n} tasks are"
        refusal = (
            f"{few} too few to say anything about others: the smallest two-sided p that can be reached is"
            f" {smallest_p(n):.4g}; at least {LEAST_TASKS} tasks are needed"
        )
    return NewTasks(
        n=n,
        above=int(np.count_nonzero(raw > 0)),
        below=int(np.count_nonzero(raw < 0)),
        mean=mean,
        interval=None if refusal else _t_interval(means, mean, alpha),
        p_sign_flip=None if refusal else sign_flip_p(means),
        p_wilcoxon=None if refusal else signed_ranks(raw).wilcoxon_p,
        smallest_p=smallest_p(n),
        refusal=refusal,
    )


def _t_interval(values: Floats, mean: float, alpha: float) -> Interval:
    n = len(values)
    deviation = math.sqrt(math.fsum((values - mean) ** 2) / (n - 1))
    half = float(special.stdtrit(n - 1, 1 - alpha / 2)) * deviation / math.sqrt(n)
    return Interval(mean - half, mean + half)
