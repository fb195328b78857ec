"""Incumbent validation curves over the charged budget: from when on an arm is better, and how soon it is good enough.

A curve array has the shape (S, T): S replicates (seeds), T budgets, oriented so that LARGER IS BETTER. NaN and -inf mean "no
result yet" or "diverged". Both are worse than every result and equal to each other, so that an arm without a result is never
better.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import EPS, Floats, check_alpha
from hpo.statistics.signflip import ENUMERATION_MAX_N, resampled_patterns
from hpo.statistics.ties import midranks, scale_of, settled_sizes, tied, tolerance_of_sums

_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class Band:
    """The difference of two arms along the budget, b - a, with inference simultaneous over all points.

    Attributes:
        n: number of pairs.
        mean: mean difference at each of the T points.
        family: number of arms compared with the same baseline; this band has the level alpha / family.
        p: p of each point, adjusted for all points of this arm: the probability of rejecting any true null hypothesis at
            p <= alpha / family is at most alpha / family. It is not the inversion of the intervals: near the border a point can be
            significant while its interval contains 0, or the other way round.
        low: lower end of the simultaneous interval at each point; None: unbounded, because too few pairs can exclude anything.
        high: upper end, likewise.
        critical_value: half-width of the intervals in standard errors; None: unbounded.
        better_from: first index from which b is better (p <= alpha / family, mean above 0) at every later point too; None if it is
            not better at the last one.
        worse_from: the same for b worse than a.
        replaced: number of values at each point, in a and b together, that meant no result and were replaced.
        exact: whether all 2**n sign patterns were counted; otherwise 100,000 random ones.
        confidence: level of the band, 1 - alpha / family.
    """

    n: int
    family: int
    mean: tuple[float, ...]
    p: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    critical_value: float | None
    better_from: int | None
    worse_from: int | None
    replaced: tuple[int, ...]
    exact: bool
    confidence: float


@dataclass(frozen=True)
class TimeToTarget:
    """The budget that an arm takes to reach a target. Seeds that do not reach it by the end are censored there.

    Attributes:
        n: number of seeds.
        reached: number of seeds that reach the target.
        times: the first budget at which each seed has reached it, in the order of the input; None: censored.
        median: Kaplan-Meier median, the first budget by which half of the seeds have reached it; None if fewer ever do.
        restricted_mean: mean budget until the target or `horizon`, whichever comes first (the area under the Kaplan-Meier curve up
            to `horizon`).
        horizon: the last budget.
    """

    n: int
    reached: int
    times: tuple[float | None, ...]
    median: float | None
    restricted_mean: float
    horizon: float


def max_t_band(a: ArrayLike, b: ArrayLike, *, alpha: float = 0.05, family: int = 1) -> Band:
    """Test b against a at all budgets simultaneously, with the sign-flip max-T band.

    Arms x budgets form one family: with several arms against one baseline, each band has the level alpha / family (Bonferroni).
    Holm's method over the smallest p of each band would be wrong: it shows that an arm differs *somewhere*, and then raises the
    level for all of its budgets, at some of which the arm may not differ. Joint sign flips of all arms would be wrong too:
    their differences share the baseline, and a skewed baseline makes them skewed together, so that such flips are not exact.

    Under the null hypothesis each pair's curve of differences is as likely as its mirror image, so whole curves change sign, which
    preserves the correlation along the budget. The statistic of a point is r = |sum d| / sqrt(n sum d^2), an increasing function of
    |t| in [0, 1] (0 if all d are 0). The adjusted p of the point with the j-th largest r is the share of sign patterns in which the
    largest r of that point and all points ranked below it reaches its own. The intervals are mean -+ c s / sqrt(n), where c is the
    1 - alpha quantile of the largest |t| over the points under sign changes of the *residuals*, d minus their mean. Flipping the
    differences themselves would make the band too narrow for large effects, because a flipped effect looks like spread. The p are
    exact if the differences are symmetric; the intervals are approximate.

    With one budget, p is that of `sign_flip_p`. With n <= 5 no p can reach .05.

    Args:
        a: the baseline's curves, shape (n, T); a[i] and b[i] come from the same replicate.
        b: the arm's curves, the same shape. NaN and -inf count as the smallest finite value of both arrays.
        alpha: family-wise level over the T points of all arms.
        family: number of arms compared with the same baseline.

    Returns:
        The band. It is exact up to n = 20; above that, p = (hits + 1) / (resamples + 1) from 100,000 random patterns with a fixed
        seed, the same for every order of the pairs. Ties are counted as in `compare_paired`.

    Raises:
        ValueError: not two-dimensional, different shapes, empty, +inf among the values, differences that overflow,
            alpha outside (0, 1), or family below 1.

    References:
        Westfall and Young, Resampling-Based Multiple Testing (1993), algorithm 4.1 (step-down max-T). Romano and Wolf,
        Exact and approximate stepdown methods for multiple hypothesis testing, JASA 100 (2005).
    """
    check_alpha(alpha)
    if family < 1:
        raise ValueError(f"family must be 1 or more arms, got {family}")
    level = alpha / family
    difference, size, replaced = _differences(a, b)
    n = len(difference)
    exact = n <= ENUMERATION_MAX_N
    scale = np.abs(difference).max(axis=0)
    scale[scale == 0] = 1.0
    relative = difference / scale
    columns = [column.tolist() for column in relative.T]
    sums = np.array([math.fsum(column) for column in columns])
    allowed = np.array(
        [tolerance_of_sums(column, unscaled) for column, unscaled in zip(relative.T, size / scale, strict=True)]
    )
    sums[np.abs(sums) <= allowed] = 0.0
    length = np.sqrt([n * math.fsum(value * value for value in column) for column in columns])
    length[length == 0] = 1.0
    observed = np.abs(sums) / length
    p = _step_down(_canonical(relative) / length, observed, observed - allowed / length, exact=exact)
    critical = _critical_t(_largest(_residuals(relative), exact=exact), n, level, exact=exact)
    mean = (scale * (sums / n)).tolist()
    half_widths = [
        math.inf if critical is None else critical * _standard_error(column) * unit
        for column, unit in zip(columns, scale.tolist(), strict=True)
    ]
    return Band(
        n=n,
        family=family,
        mean=tuple(mean),
        p=tuple(p.tolist()),
        low=tuple(_finite_or_none(centre - half) for centre, half in zip(mean, half_widths, strict=True)),
        high=tuple(_finite_or_none(centre + half) for centre, half in zip(mean, half_widths, strict=True)),
        critical_value=critical,
        better_from=_from_where_on((p <= level) & (sums > 0)),
        worse_from=_from_where_on((p <= level) & (sums < 0)),
        replaced=replaced,
        exact=exact,
        confidence=1 - level,
    )


def mean_ranks(curves: Mapping[str, ArrayLike]) -> dict[str, tuple[float, ...]]:
    """Rank the arms within each seed at each budget, and average the ranks over the seeds.

    >>> mean_ranks({"a": [[0.5, 0.6]], "b": [[0.5, 0.7]]})
    {'a': (1.5, 2.0), 'b': (1.5, 1.0)}

    Args:
        curves: one array of shape (S, T) for each arm; row s of all of them comes from the same replicate.

    Returns:
        For each arm, T mean ranks: 1 is the best; ties share their mean rank.

    Raises:
        ValueError: no arms, different shapes, not two-dimensional, empty, or +inf among the values.
    """
    if not curves:
        raise ValueError("curves: is empty; at least one arm is needed")
    arrays = {label: _curves(values, f"curves[{label!r}]") for label, values in curves.items()}
    shapes = {label: array.shape for label, array in arrays.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"curves: all arms need equal seeds and equal budgets, got the shapes {shapes}")
    table = np.stack(list(arrays.values()), axis=-1)
    ranks = midranks(table, scale_of(table), larger_is_better=True).mean(axis=0).T
    return {label: tuple(row.tolist()) for label, row in zip(arrays, ranks, strict=True)}


def time_to_target(curve: ArrayLike, target: float, budgets: ArrayLike) -> TimeToTarget:
    """Return the budget that each seed takes until its incumbent reaches the target.

    All seeds are observed up to the same last budget, so the Kaplan-Meier curve is the share of seeds that have not reached the
    target yet.

    >>> time_to_target([[0.5, 0.8, 0.9], [0.4, 0.5, 0.8], [0.3, 0.3, 0.4]], 0.8, [1, 2, 3]).times
    (2.0, 3.0, None)

    Args:
        curve: the arm's curves, shape (S, T).
        target: the wanted validation score.
        budgets: the T budgets of the columns, increasing, 0 or more.

    Raises:
        ValueError: the target is not finite, the budgets are not T increasing finite numbers >= 0, or the curves are invalid (see
            `max_t_band`).

    References:
        Kaplan and Meier, Nonparametric estimation from incomplete observations, JASA 53 (1958).
    """
    values = _curves(curve, "curve")
    axis = np.asarray(budgets, dtype=np.float64)
    if axis.shape != values.shape[1:]:
        raise ValueError(f"budgets: must have the shape {values.shape[1:]} of the columns of curve, got {axis.shape}")
    if not np.isfinite(axis).all() or axis[0] < 0 or not (np.diff(axis) > 0).all():
        raise ValueError(f"budgets: must be finite, 0 or more and increasing, got {axis.tolist()}")
    if not math.isfinite(target):
        raise ValueError(f"target must be finite, got {target!r}")
    good = (values >= target) | tied(values, target, scale_of(values))
    times = tuple(float(axis[row.argmax()]) if row.any() else None for row in good)
    n, horizon = len(times), float(axis[-1])
    reached = sorted(time for time in times if time is not None)
    half = (n + 1) // 2
    return TimeToTarget(
        n=n,
        reached=len(reached),
        times=times,
        median=reached[half - 1] if len(reached) >= half else None,
        restricted_mean=(math.fsum(reached) + (n - len(reached)) * horizon) / n,
        horizon=horizon,
    )


def _differences(a: ArrayLike, b: ArrayLike) -> tuple[Floats, float, tuple[int, ...]]:
    """Return b - a with ties settled, the scale of the values, and the number of replaced values in each column."""
    x, y = _curves(a, "a"), _curves(b, "b")
    if x.shape != y.shape:
        raise ValueError(f"a has the shape {x.shape} and b {y.shape}; pairs need equal seeds and equal budgets")
    absent = np.isneginf(x), np.isneginf(y)
    finite = np.concatenate([x[~absent[0]], y[~absent[1]]])
    worst = float(finite.min()) if finite.size else 0.0
    x, y = np.where(absent[0], worst, x), np.where(absent[1], worst, y)
    with np.errstate(over="ignore"):
        difference = y - x
    if not np.isfinite(difference).all():
        raise ValueError("b - a: a difference is too large for a float; rescale the metric")
    scale = scale_of(finite)
    difference[tied(x, y, scale)] = 0.0
    settled_columns = np.column_stack([settled_sizes(column, scale) for column in difference.T])
    return settled_columns, scale, tuple((absent[0].sum(axis=0) + absent[1].sum(axis=0)).tolist())


def _step_down(unit: Floats, observed: Floats, thresholds: Floats, *, exact: bool) -> Floats:
    """Return the step-down p of each point.

    Args:
        unit: the differences, each column scaled so that |signs @ unit| is r, shape (n, T).
        observed: r of the observed signs, shape (T,).
        thresholds: `observed` minus a tolerance for rounding; a pattern that reaches it is a hit.
        exact: enumerate the patterns instead of drawing them.
    """
    order = np.argsort(-observed, kind="stable")
    columns, needed = unit[:, order], thresholds[order]
    hits = np.zeros(len(order), dtype=np.int64)
    patterns = 0
    for signs in _sign_patterns(*unit.shape, exact=exact):
        r = np.abs(signs @ columns)
        of_the_rest = np.maximum.accumulate(r[:, ::-1], axis=1)[:, ::-1]
        hits += np.count_nonzero(of_the_rest >= needed, axis=0)
        patterns += len(signs)
    shares = hits / patterns if exact else (hits + 1) / (patterns + 1)
    p = np.empty(len(order))
    # A point must not have a smaller p than one with a larger statistic.
    p[order] = np.maximum.accumulate(shares)
    return p


def _residuals(difference: Floats) -> Floats:
    """Return the canonical differences minus their means, each column scaled so that |signs @ column| is r."""
    n = len(difference)
    means = np.array([math.fsum(column) / n for column in difference.T.tolist()])
    residual = difference - means
    residual[tied(difference, means, 0.0)] = 0.0
    residual = _canonical(residual)
    length = np.sqrt(n * (residual**2).sum(axis=0))
    length[length == 0] = 1.0
    scaled: Floats = residual / length
    return scaled


def _largest(unit: Floats, *, exact: bool) -> Floats:
    """Return the largest r over all points for each sign pattern."""
    return np.concatenate([np.abs(signs @ unit).max(axis=1) for signs in _sign_patterns(*unit.shape, exact=exact)])


def _sign_patterns(n: int, points: int, *, exact: bool) -> Iterator[Floats]:
    """Yield, in chunks, all patterns of n signs that begin with + (each also represents its mirror image), or seeded draws.

    The draws are those of `sign_flip_p`, so that a band of one point has the p of that test above n = 20 as well.
    """
    chunk = max(1, _CHUNK_CELLS // max(n, points))
    if not exact:
        for patterns in resampled_patterns(n):
            for start in range(0, len(patterns), chunk):
                yield np.where(patterns[start : start + chunk] == 1, -1.0, 1.0)
        return
    total = 2 ** (n - 1)
    for start in range(0, total, chunk):
        numbers = np.arange(start, min(start + chunk, total))[:, None]
        minus = (numbers << 1 >> np.arange(n)) & 1
        yield np.where(minus == 1, -1.0, 1.0)


def _critical_t(largest: Floats, n: int, alpha: float, *, exact: bool) -> float | None:
    """Return the |t| that the largest of all points exceeds in at most alpha of the patterns; None if no |t| does."""
    patterns = len(largest)
    allowed = math.floor(alpha * patterns) if exact else math.floor(alpha * (patterns + 1)) - 1
    if allowed < 1:
        return None
    # Rounding must not make an interval exclude 0.
    r = float(np.partition(largest, patterns - 1 - allowed)[patterns - 1 - allowed]) + 4 * n * EPS
    if r >= 1:
        return None
    return r * math.sqrt((n - 1) / ((1 - r) * (1 + r)))


def _canonical(difference: Floats) -> Floats:
    """Return the sorted rows or the sorted negatives, whichever is smaller lexicographically, to remove order and direction."""
    both = [rows[np.lexsort(rows.T[::-1])] for rows in (difference, -difference)]
    return min(both, key=lambda rows: rows.ravel().tolist())


def _from_where_on(holds: NDArray[np.bool_]) -> int | None:
    """Return the first index from which `holds` is true to the end; None if it is false at the end."""
    fails = np.flatnonzero(~holds)
    first = int(fails[-1]) + 1 if fails.size else 0
    return first if first < len(holds) else None


def _standard_error(values: list[float]) -> float:
    """Return s / sqrt(n) of at least two values."""
    n = len(values)
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _curves(values: ArrayLike, what: str) -> Floats:
    """Return curves as floats, with -inf for missing results."""
    array: NDArray[np.generic] = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"{what}: must have the shape (seeds, budgets), got {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what}: is empty (shape {array.shape}); at least one seed and one budget are needed")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{what}: must hold real numbers, got dtype {array.dtype}")
    result: Floats = array.astype(np.float64)
    if np.isposinf(result).any():
        place = tuple(int(index) for index in np.argwhere(np.isposinf(result))[0])
        raise ValueError(f"{what}: entry {place} is inf; a score is finite, or NaN or -inf for no result")
    result[np.isnan(result)] = -np.inf
    return result
