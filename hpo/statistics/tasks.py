"""One arm against another on several tasks: inference about these tasks, or about tasks like these.

The two questions have different units. For *these tasks* the unit is a pair (task x seed), and more seeds give more certainty. For
*tasks like these* the unit is the task, and no number of seeds compensates for few tasks. If every task has one value per arm there
are no seeds, and only the second question can be answered, by the signed-rank test over the tasks.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats, check_alpha, finite, finite_floats, one_dimensional
from hpo.statistics.departures import Departure, departures
from hpo.statistics.interval import Interval
from hpo.statistics.inversion import inverted, sign_flip_interval
from hpo.statistics.paired import compare_paired
from hpo.statistics.signed_ranks import SignedRanks, hodges_lehmann, interval_of, signed_ranks
from hpo.statistics.signflip import (
    ENUMERATION_MAX_N,
    RESAMPLES,
    SignFlip,
    float_sign_flips,
    integer_sign_flip,
    sign_flip,
    smallest_p,
)
from hpo.statistics.ties import TOLERANCE, scale_of, settled, settled_sizes, tolerance_of_sums

LEAST_TASKS = 6  #: the fewest tasks for inference about other tasks
_COUNTS_AGREE = 1e-6


@dataclass(frozen=True)
class TaskEffect:
    """The statistics of one task's pairs.

    Attributes:
        task: its name.
        n: number of pairs.
        mean: mean of the differences, in the unit of the task's metric.
        ci_low: lower end of their t interval; None for n = 1.
        ci_high: upper end, likewise.
        d_z: mean / standard deviation; None if undefined (n = 1, or all differences equal).
        standardized: mean / root mean square, between -1 and 1; 0 if the mean is 0 up to rounding.
        p_sign_flip: two-sided exact sign-flip p of this task alone, not adjusted for the number of tasks.
        above: number of pairs with a positive difference.
        below: number of pairs with a negative one.
        departures: evidence in the differences against the assumptions of the tests.
    """

    task: str
    n: int
    mean: float
    ci_low: float | None
    ci_high: float | None
    d_z: float | None
    standardized: float
    p_sign_flip: float
    above: int
    below: int
    departures: tuple[Departure, ...]


@dataclass(frozen=True)
class FixedTasks:
    """Inference about these tasks only, for other seeds of them.

    Attributes:
        cells: number of pairs of all tasks together.
        standardized: mean over the cells of difference / root mean square of its task's differences, the test statistic, between
            -1 and 1.
        p_sign_flip: two-sided sign-flip p of `standardized`, with signs flipped per task x seed cell.
        exact: whether that p counts all sign patterns; otherwise it is estimated from 100,000 random ones.
        smallest_p: the smallest p that this number of cells can reach.
    """

    cells: int
    standardized: float
    p_sign_flip: float
    exact: bool
    smallest_p: float


@dataclass(frozen=True)
class NewTasks:
    """Inference about tasks like these, assuming that these are a random sample of them: the unit is the task.

    Attributes:
        n: number of tasks.
        above: number of tasks whose mean difference is positive by more than rounding.
        below: number of tasks whose mean difference is negative by more than rounding.
        test: the test that gives `p`: "signed-rank" of the differences, if each task has one; "sign", if the tasks also have no
            common unit; "sign-flip" of the tasks' scores, if tasks have seeds.
        effect: the test statistic, scaled to [-1, 1]. Signed-rank: the matched-pairs rank-biserial correlation, (sum of positive
            ranks - sum of negative ranks) / sum of all; sign: (above - below) / (above + below); sign-flip: the mean of the tasks'
            standardized means, weighted by the square root of the number of seeds.
        estimate: Hodges-Lehmann estimate of the difference, in the unit of the metric; None except for "signed-rank".
        p: two-sided p of the test; None if refused.
        exact: whether that p counts all sign patterns.
        p_wilcoxon: if tasks have seeds, the exact signed-rank p of their mean differences, zeros dropped, which does not decide;
            None if refused, without a common unit, or if the signed-rank test decides.
        smallest_p: the smallest p that this number of tasks can reach.
        refusal: why there is no p; None if there is one.
        departures: evidence in the tasks' differences against the assumptions of the signed-rank test, if it decides.
    """

    n: int
    above: int
    below: int
    test: Literal["signed-rank", "sign", "sign-flip"]
    effect: float
    estimate: float | None
    p: float | None
    exact: bool
    p_wilcoxon: float | None
    smallest_p: float
    refusal: str | None
    departures: tuple[Departure, ...]


@dataclass(frozen=True)
class TasksComparison:
    """One arm against another on several tasks; differences are arm minus baseline.

    Attributes:
        tasks: every task, in the order given.
        fixed: inference about these tasks; None if each of several tasks has one pair, so that there are no seeds.
        new: inference about tasks like these.
        confidence: level of the intervals of single tasks, 1 - alpha.
    """

    tasks: tuple[TaskEffect, ...]
    fixed: FixedTasks | None
    new: NewTasks
    confidence: float


@dataclass(frozen=True)
class _Cells:
    """One task's pairs in the form that the test needs.

    Attributes:
        integers: the differences as integers, if they are integers; then ties are exact.
        values: the differences, or the integers, as floats with ties settled.
        scale: `ties.scale_of` the values that were subtracted; 0 if integers decide ties.
        slack: means of at most this size tie with 0, in the unit of the task's metric.
    """

    integers: tuple[int, ...] | None
    values: Floats
    scale: float
    slack: float

    @property
    def sign_flip(self) -> SignFlip:
        if self.integers is not None:
            return integer_sign_flip(self.integers)
        return float_sign_flips([self.values], [self.scale])[0]

    @property
    def root_mean_square(self) -> float:
        largest = float(np.abs(self.values).max())
        if largest == 0:
            return 0.0
        return largest * math.sqrt(math.fsum((self.values / largest) ** 2) / len(self.values))

    def standardized(self) -> Floats:
        """Return the values divided by their root mean square; unchanged if all are 0."""
        return self.values / (self.root_mean_square or 1.0)


def compare_tasks(
    differences: Mapping[str, ArrayLike],
    *,
    alpha: float = 0.05,
    counts: Mapping[str, ArrayLike] | None = None,
    magnitudes: Mapping[str, ArrayLike] | None = None,
    common_unit: bool = True,
) -> TasksComparison:
    """Compare two arms over several tasks, given the differences of their pairs.

    **On these tasks.** Each task's differences are divided by their root mean square, to bring the tasks to one scale. Flipping
    signs does not change it, so all sign patterns stay equally likely under the null hypothesis. (The standard deviation does
    change; with it the test would only be approximate.) The sum over all cells is tested, a sign-flip test stratified by task
    in which every seed has the same weight. With equal numbers of seeds every task has, too; with one task it is `sign_flip`.

    Weighting tasks equally instead would let tasks with one or two seeds drown out one with thirty: their root mean square is
    their own |difference|, so each becomes +-1, the most that a task can contribute. In simulations (six tasks, with 1, 1, 30,
    30, 30 and 30 seeds, the same d_z on all, or d_z that varies between tasks) equal weights found .32 and .25 of the effects,
    weights by the square root of the seeds .57 and .52, and weights by seeds .70 and .60. Shrinking the scales for few seeds
    (by a factor of sqrt(n / (n + 1))) changed that by at most .01. Equal weights find more only if the effect is limited to the
    tasks with few seeds. All of them keep the level, which requires only weights that flips do not change.

    **On tasks like these.** Signs are flipped per task. A task's score is the sum of its standardized differences divided by
    the square root of their number, whose variance under the null hypothesis is the same for all tasks, with any number of seeds.
    (In simulations this loses little against equal weights if tasks vary much, and less against weights by seeds if they do
    not.) If each task has one pair, its size counts: the exact signed-rank test of the differences decides, with zeros dropped.

    >>> found = compare_tasks({"digits": [1, 2, 1], "letters": [10, 30, 20]})
    >>> found.fixed.p_sign_flip
    0.03125
    >>> found.new.p is None
    True
    >>> table = compare_tasks({"a": [0.02], "b": [0.01], "c": [0.03], "d": [0.05], "e": [0.04], "f": [-0.005], "g": [0.0]})
    >>> table.fixed is None, table.new.test, table.new.p
    (True, 'signed-rank', 0.0625)

    Args:
        differences: for each task, the differences arm - baseline of its pairs, shape (n_t,); n_t >= 1 may vary between tasks.
            Their dtype decides on ties as in `sign_flip_p`: integers are exact.
        alpha: the intervals of single tasks have level 1 - alpha.
        counts: for tasks whose values are rates of integer counts: the integer differences of the counts, with either sign. They
            are used wherever only signs and relative sizes matter, so that ties are exact.
        magnitudes: for tasks with float differences: the sizes of the subtracted numbers, max(|a|, |b|), shape (n_t,), which
            determine ties (see `hpo.statistics.ties`). The default is |d|.
        common_unit: whether differences of different tasks can be compared, which they cannot if each task has its own metric.

    Raises:
        ValueError: there are no tasks; a task has no differences, or some that are not finite; alpha is outside (0, 1); counts are
            not integers, not as many as the differences, or not proportional to them; magnitudes are not one per difference; or
            either is given for an unknown task.

    References:
        Fisher, The Design of Experiments (1935), section 21, for the test. Demšar, Statistical comparisons of
        classifiers over multiple data sets, JMLR 7 (2006), section 3.1.3, for Wilcoxon's test over data sets. Kerby, The
        simple difference formula, Comprehensive Psychology 3 (2014), for the rank-biserial correlation.
    """
    check_alpha(alpha)
    cells = _every_cell(differences, counts, magnitudes)
    effects = tuple(_effect(task, differences[task], cells[task], alpha) for task in differences)
    one_each = len(effects) > 1 and all(effect.n == 1 for effect in effects)
    return TasksComparison(
        tasks=effects,
        fixed=None if one_each else _fixed(effects, list(cells.values())),
        new=_new(effects, list(cells.values()), one_each=one_each, common_unit=common_unit),
        confidence=1 - alpha,
    )


def interval_over_tasks(
    differences: Mapping[str, ArrayLike],
    *,
    alpha: float = 0.05,
    counts: Mapping[str, ArrayLike] | None = None,
    magnitudes: Mapping[str, ArrayLike] | None = None,
) -> Interval | None:
    """Return the interval that inverts the deciding test: it excludes 0 exactly if the test's p is at most alpha.

    For one task it is the sign-flip interval of the mean difference, in the unit of its metric. For several tasks with seeds it is
    the interval of `FixedTasks.standardized`, taking the root mean squares as given. For several tasks with one pair each it is the
    interval of the signed-rank test, in the unit of the metric.

    Args:
        differences: as in `compare_tasks`.
        alpha: two-sided level.
        counts: likewise.
        magnitudes: likewise.

    Returns:
        None for a single pair.

    Raises:
        ValueError: as `compare_tasks`.
    """
    check_alpha(alpha)
    tasks = list(_every_cell(differences, counts, magnitudes).values())
    if len(tasks) == 1:
        [only], [values] = tasks, differences.values()
        unit = 1.0
        if only.integers is not None:
            unit = math.fsum(np.abs(np.asarray(values, dtype=np.float64))) / (sum(map(abs, only.integers)) or 1)
        p = only.sign_flip.p
        return inverted(only.values * unit, only.scale, alpha, p=p, integers=only.integers, unit=unit)
    if any(len(cells.values) > 1 for cells in tasks):
        found = sign_flip_interval(_pooled(tasks), alpha=alpha) or Interval(None, None)
        # Standardized means lie in [-1, 1].
        low, high = (None if end is None else min(max(end, -1.0), 1.0) for end in (found.low, found.high))
        return Interval(low, high)
    effects = [_effect(task, differences[task], cells, alpha) for task, cells in zip(differences, tasks, strict=True)]
    means = _means(effects, tasks)
    return interval_of(_ranks(means, tasks), means, alpha)


def _every_cell(
    differences: Mapping[str, ArrayLike],
    counts: Mapping[str, ArrayLike] | None,
    magnitudes: Mapping[str, ArrayLike] | None,
) -> dict[str, _Cells]:
    if not differences:
        raise ValueError("differences: is empty; at least one task is required")
    for given, what in ((counts, "counts"), (magnitudes, "magnitudes")):
        for task in given or {}:
            if task not in differences:
                raise ValueError(f"{what}: {task!r} is not one of the tasks: {', '.join(differences)}")
    return {
        task: _cells(task, values, (counts or {}).get(task), (magnitudes or {}).get(task))
        for task, values in differences.items()
    }


def _cells(task: str, values: ArrayLike, counts: ArrayLike | None, magnitudes: ArrayLike | None) -> _Cells:
    what = f"differences of {task!r}"
    array = one_dimensional(values, what)
    floats = finite(array, what)
    sizes = floats
    if magnitudes is not None:
        sizes = finite_floats(magnitudes, f"magnitudes of {task!r}")
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
    """Return the counts with the signs of the differences, after checking that the two are proportional."""
    if counts.dtype.kind not in "iu" or len(counts) != len(differences):
        raise ValueError(
            f"counts of {task!r} must be {len(differences)} integers, got {len(counts)} of dtype {counts.dtype}"
        )
    integers = tuple(int(value) for value in counts.tolist())
    unit = np.array(integers, dtype=np.float64) / max(1, *(abs(value) for value in integers))
    slope = float(unit @ differences) / (float(unit @ unit) or 1.0)
    allowed = _COUNTS_AGREE * float(np.abs(differences).max()) + TOLERANCE * scale
    if float(np.abs(differences - slope * unit).max()) > allowed or (any(integers) and not slope):
        raise ValueError(f"counts of {task!r} are not proportional to the differences of the values")
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
        p_sign_flip=cells.sign_flip.p,
        above=found.above,
        below=found.below,
        departures=found.departures,
    )


def _pooled(tasks: Sequence[_Cells]) -> Floats:
    """Return the standardized differences of all tasks."""
    return np.concatenate([cells.standardized() for cells in tasks])


def _fixed(effects: Sequence[TaskEffect], tasks: Sequence[_Cells]) -> FixedTasks:
    count = sum(effect.n for effect in effects)
    found = tasks[0].sign_flip if len(tasks) == 1 else sign_flip(_pooled(tasks))
    exact = found.exact and (count <= ENUMERATION_MAX_N or (len(tasks) == 1 and tasks[0].integers is not None))
    return FixedTasks(
        cells=count,
        standardized=math.fsum(effect.n * effect.standardized for effect in effects) / count,
        p_sign_flip=found.p,
        exact=exact,
        smallest_p=smallest_p(count) if exact else 1 / (RESAMPLES + 1),
    )


def _means(effects: Sequence[TaskEffect], tasks: Sequence[_Cells]) -> Floats:
    """Return the tasks' mean differences, with exactly 0 for ties with 0."""
    near = [abs(effect.mean) <= cells.slack for effect, cells in zip(effects, tasks, strict=True)]
    return np.where(near, 0.0, [effect.mean for effect in effects])


def _ranks(means: Floats, tasks: Sequence[_Cells]) -> SignedRanks:
    """Return the signed ranks of the tasks' means, where only those that tie with 0 on their own task are 0."""
    places = np.zeros(len(means), dtype=np.int64)
    kept = means != 0
    sizes = settled(np.abs(means[kept]), scale_of([cells.scale for cells in tasks]))
    places[kept] = (1 + np.unique(sizes, return_inverse=True)[1]) * np.sign(means[kept]).astype(np.int64)
    return signed_ranks(places)


def _new(effects: Sequence[TaskEffect], tasks: Sequence[_Cells], *, one_each: bool, common_unit: bool) -> NewTasks:
    n = len(effects)
    means = _means(effects, tasks)
    ranks = _ranks(means, tasks)
    refusal = None
    if n < LEAST_TASKS:
        few = "1 task is" if n == 1 else f"{n} tasks are"
        refusal = (
            f"{few} too few for inference about other tasks: the smallest two-sided p that can be reached is"
            f" {smallest_p(n):.4g}; at least {LEAST_TASKS} tasks are needed"
        )
    estimate, p_wilcoxon = None, None
    test: Literal["signed-rank", "sign", "sign-flip"]
    if one_each and common_unit:
        test, estimate = "signed-rank", hodges_lehmann(means)
        effect = _share(ranks.w_above, ranks.w_below)
        found = SignFlip(ranks.wilcoxon_p, exact=True)
    elif one_each:
        test, effect = "sign", _share(ranks.above, ranks.below)
        found = SignFlip(ranks.sign_test_p, exact=True)
    else:
        weights = np.sqrt([effect.n for effect in effects])
        scores = weights * [effect.standardized for effect in effects]
        test, effect = "sign-flip", math.fsum(scores) / math.fsum(weights)
        found = sign_flip(scores)
        p_wilcoxon = ranks.wilcoxon_p if common_unit else None
    return NewTasks(
        n=n,
        above=ranks.above,
        below=ranks.below,
        test=test,
        effect=effect,
        estimate=estimate,
        p=None if refusal else found.p,
        exact=found.exact,
        p_wilcoxon=None if refusal else p_wilcoxon,
        smallest_p=smallest_p(n),
        refusal=refusal,
        departures=departures(means) if test == "signed-rank" else (),
    )


def _share(above: float, below: float) -> float:
    return (above - below) / (above + below) if above + below else 0.0
