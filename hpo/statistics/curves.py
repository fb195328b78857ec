"""Incumbent validation curves over the budget charged: from where on one arm is better, and how soon it is good enough.

A curve array has the shape (S, T): S replicates (seeds), T budgets, oriented so that LARGER IS BETTER. NaN and -inf stand
for "no result yet" or "diverged". Either is worse than every result, and two of them are equal, so that an arm without a
result is never the better one.
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
    """The difference of two arms along the budget, b - a, judged at all points together.

    Attributes:
        n: number of pairs.
        mean: mean difference at each of the T points.
        family: number of arms that are compared with the same baseline: this band has the level alpha / family.
        p: p of each point, adjusted for all points of this arm: the chance that any of the true null hypotheses is rejected at
            p <= alpha / family is at most that. It is no inversion of the intervals: a point near the border can reach the
            level while its interval holds 0, or the other way round.
        low: lower end of the simultaneous interval at each point; None: unbounded, because so few pairs exclude nothing.
        high: upper end, likewise.
        critical_value: half-width of the intervals in standard errors; None: unbounded.
        better_from: first index from which b is better (p <= alpha / family, mean above 0) at every later point too; None if
            it is not at the last one.
        worse_from: the same for b worse than a.
        replaced: number of values at each point, in a and b together, that stood for no result and were replaced.
        exact: whether all 2**n patterns of signs were counted; otherwise 100,000 seeded ones.
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
    """How much budget an arm takes to reach a target; a seed that has not reached it by the end is censored there.

    Attributes:
        n: number of seeds.
        reached: how many of them reach the target.
        times: the first budget at which each seed has reached it, in the order of the input; None: censored.
        median: Kaplan-Meier median, the first budget by which half of the seeds have reached it; None if fewer ever do.
        restricted_mean: mean budget until the target or `horizon`, whichever comes first (the area under the
            Kaplan-Meier curve up to `horizon`).
        horizon: the last budget.
    """

    n: int
    reached: int
    times: tuple[float | None, ...]
    median: float | None
    restricted_mean: float
    horizon: float


def max_t_band(a: ArrayLike, b: ArrayLike, *, alpha: float = 0.05, family: int = 1) -> Band:
    """Test b against a at every budget at once: the simultaneous sign-flip max-T band.

    Arms x budgets are one family: with several arms against one baseline, the band of each has the level alpha / family
    (Bonferroni). Holm's method over the bands' smallest p would not do: it shows that an arm differs *somewhere*, and then
    raises the level for all of its budgets, of which some may not differ. Nor would joint sign flips of all arms: their
    differences share the baseline, and a skewed baseline makes them skewed together, so that such flips are not exact.

    Under the null hypothesis the curve of differences of each pair is as likely as its mirror image, so whole curves change
    sign together and the correlation along the budget is kept. The statistic of a point is r = |sum d| / sqrt(n sum d^2), an
    increasing function of |t| that stays in [0, 1] (0 where all d are 0). The adjusted p of the point with the j-th largest
    r is the share of the patterns in which the largest r of it and of all points below it reaches its own. The intervals are
    mean -+ c s / sqrt(n), where c is the 1 - alpha quantile of the largest |t| over the points when the *residuals*, d less
    their mean, change sign: flipping the differences themselves would make the band too narrow the larger the effect is,
    since a flipped effect looks like spread. The p are exact where the differences are symmetric; the intervals are
    approximate.

    With one budget, p is that of `sign_flip_p`. With n <= 5 no p can reach .05.

    Args:
        a: the baseline's curves, shape (n, T); a[i] and b[i] come from the same replicate.
        b: the arm's curves, the same shape. A value that stands for no result (NaN, -inf) counts as the smallest
            finite value of both arrays.
        alpha: familywise level over the T points of all arms.
        family: number of arms that are compared with the same baseline.

    Returns:
        The band. It is exact to n = 20; above, p = (hits + 1) / (resamples + 1) from 100,000 patterns drawn with a fixed
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
        Under the same labels, T mean ranks: 1 is the best; ties share the mean of their ranks.

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
    """Return how much budget each seed takes until its incumbent is at least as good as the target.

    All seeds are observed to the same last budget, so that the Kaplan-Meier curve is the share of the seeds that have not
    reached the target yet.

    >>> time_to_target([[0.5, 0.8, 0.9], [0.4, 0.5, 0.8], [0.3, 0.3, 0.4]], 0.8, [1, 2, 3]).times
    (2.0, 3.0, None)

    Args:
        curve: the arm's curves, shape (S, T).
        target: the wanted validation score.
        budgets: the T budgets of the columns, increasing, 0 or more.

    Raises:
        ValueError: a target that is not finite, budgets that are not T increasing finite numbers from 0 on, or curves as
            refused by `max_t_band`.

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
    """Return b - a with ties settled, the scale of the values, and how many values of each column were replaced."""
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
        unit: the differences, each column divided so that |signs @ unit| is r, shape (n, T).
        observed: r of the observed signs, shape (T,).
        thresholds: `observed` less what rounding can do: what reaches it counts as a hit.
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
    # No point may have a smaller p than one with a larger statistic.
    p[order] = np.maximum.accumulate(shares)
    return p


def _residuals(difference: Floats) -> Floats:
    """Return the differences less their means, in an order of their own, each column divided so that |signs @ column| is r."""
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
    """Return the largest r over the points under every pattern of signs."""
    return np.concatenate([np.abs(signs @ unit).max(axis=1) for signs in _sign_patterns(*unit.shape, exact=exact)])


def _sign_patterns(n: int, points: int, *, exact: bool) -> Iterator[Floats]:
    """Yield all patterns of n signs whose first is + (each stands for its mirror image too), or seeded draws, in chunks.

    The draws are those of `sign_flip_p`, so that a band of one point has the p of that test above n = 20 too.
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
    """Return the |t| that the largest of the points passes in at most alpha of the patterns; None where that takes none."""
    patterns = len(largest)
    allowed = math.floor(alpha * patterns) if exact else math.floor(alpha * (patterns + 1)) - 1
    if allowed < 1:
        return None
    # An interval must not leave 0 out by rounding.
    r = float(np.partition(largest, patterns - 1 - allowed)[patterns - 1 - allowed]) + 4 * n * EPS
    if r >= 1:
        return None
    return r * math.sqrt((n - 1) / ((1 - r) * (1 + r)))


def _canonical(difference: Floats) -> Floats:
    """Return the pairs sorted, or their negatives sorted, whichever comes first: neither order nor direction matters then."""
    both = [rows[np.lexsort(rows.T[::-1])] for rows in (difference, -difference)]
    return min(both, key=lambda rows: rows.ravel().tolist())


def _from_where_on(holds: NDArray[np.bool_]) -> int | None:
    """Return the first index from which `holds` is true to the end; None if it is false at the end."""
    fails = np.flatnonzero(~holds)
    first = int(fails[-1]) + 1 if fails.size else 0
    return first if first < len(holds) else None


def _standard_error(values: list[float]) -> float:
    """Return s / sqrt(n) of two values or more."""
    n = len(values)
    mean = math.fsum(values) / n
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)


def _finite_or_none(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _curves(values: ArrayLike, what: str) -> Floats:
    """Return curves as floats, -inf where there is no result."""
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
