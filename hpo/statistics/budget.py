"""How much random search another arm is worth: "its best equals that of random search at 2.3 times the budget".

Budgets are counted in members: random search at k times the budget of one member is the best of k members. Scores are final
validation scores, oriented so that LARGER IS BETTER; NaN and -inf mean a diverged member.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hpo.statistics.arrays import Floats, check_alpha, exponent, unscale
from hpo.statistics.interval import Interval
from hpo.statistics.ties import scale_of, tied

_RESAMPLES = 2_000
_RESAMPLING_SEED = 20_240_301
_CHUNK_CELLS = 4_000_000


@dataclass(frozen=True)
class BudgetEquivalence:
    """The budget at which random search is expected to match another arm, as a multiple of its actual budget.

    Attributes:
        n: number of seeds.
        population_size: members of random search per seed, its actual budget.
        pool: members of all seeds, n * population_size.
        diverged: number of members without a finite score.
        mean_value: mean over seeds of the other arm's selected score.
        limit: the largest k considered, a third of the pool; 0 if there are too few members for any.
        curve: expected best of k members for k = 1 ... limit.
        k: members at which the curve reaches `mean_value`, linear between whole numbers; `limit` with `more_than`, 1 with
            `less_than`; None for a limit of 0.
        ratio: k / population_size.
        more_than: the curve does not reach `mean_value`, so the arm is worth more than `ratio`.
        less_than: one member is already expected to be better, so the arm is worth less than `ratio`.
        interval: percentile bootstrap interval of the ratio; low None: below one member; high None: beyond the limit. The
            interval itself is None for n = 1 or a limit of 0.
        confidence: its nominal level, 1 - alpha. With few seeds a percentile interval is too narrow (10 seeds: about .89 for
            .95).
    """

    n: int
    population_size: int
    pool: int
    diverged: int
    mean_value: float
    limit: int
    curve: tuple[float, ...]
    k: float | None
    ratio: float | None
    more_than: bool
    less_than: bool
    interval: Interval | None
    confidence: float


def expected_best(pool: ArrayLike, k: int) -> float:
    """Return the expected best of k members drawn without replacement from a pool, unbiased for k new members.

    This is the mean of the maximum over all subsets of k: sum over i of x_(i) C(i - 1, k - 1) / C(M, k), with the M scores in
    increasing order. (The common estimate that draws with replacement is biased downwards.)

    >>> expected_best([0.1, 0.2, 0.4], 2)
    0.3333333333333333

    Args:
        pool: scores of any shape, all pooled; a diverged member counts as the smallest finite score.
        k: number of members drawn, 1 to M. Near M the estimate rests on few distinct subsets, so `budget_equivalence` stops at
            M / 3.

    Raises:
        ValueError: k outside 1 ... M, no finite score, or a score of +inf.

    References:
        Tang et al., Showing your work doesn't always work, ACL (2020), on the bias of the estimate of Dodge et al., Show
        your work, EMNLP (2019), and the unbiased one.
    """
    members = np.sort(_finite_scores(np.ravel(np.asarray(pool, dtype=np.float64)), "pool"))
    if not 1 <= k <= len(members):
        raise ValueError(f"k must lie between 1 and the {len(members)} members of the pool, got {k!r}")
    return float(_best_of_weights(len(members), k)[-1] @ members)


def budget_equivalence(
    pool: Sequence[Sequence[float]], values: Sequence[float], *, alpha: float = 0.05
) -> BudgetEquivalence:
    """Return the budget at which random search is expected to select as good a score as another arm did.

    The members of all seeds are pooled, and the expected best of k is estimated for k up to a third of them. The result is the k
    at which it equals the mean of `values`. Both sides are selected validation scores, with the same kind of selection bias.
    Pooling assumes that the seeds' validation sets are equally hard.

    Args:
        pool: for each seed, the final scores of random search's members, equally many per seed. A diverged member (NaN, -inf)
            counts as the smallest finite score of the pool.
        values: for each seed, the other arm's selected final score, in the same order; diverged ones likewise.
        alpha: the interval has the nominal level 1 - alpha. Whole seeds, members and value together, are resampled 2,000 times
            with a fixed seed; their order does not matter.

    Raises:
        ValueError: there are no seeds, rows are empty or of different lengths, the number of values differs, the pool has no
            finite score, a score is +inf, or alpha is outside (0, 1).

    References:
        As for `expected_best`. The percentile bootstrap: Efron and Tibshirani, An Introduction to the Bootstrap (1993),
        chapter 13.
    """
    check_alpha(alpha)
    rows, selected, diverged = _seeds(pool, values)
    power = exponent(np.append(rows, selected))  # sums of the largest floats would overflow
    rows, selected = np.ldexp(rows, -power), np.ldexp(selected, -power)
    n, size = rows.shape
    limit = rows.size // 3
    mean_value = math.fsum(selected) / n
    k: float | None = None
    curve: Floats = np.empty(0)
    interval: Interval | None = None
    more_than = less_than = False
    if limit:
        weights = _best_of_weights(rows.size, limit)
        curve = weights @ np.sort(rows, axis=None)
        scale = scale_of(rows, selected)
        found = float(_crossings(curve[None], np.array([mean_value]), scale)[0])
        more_than, less_than = found == math.inf, found == -math.inf
        k = min(max(found, 1.0), float(limit))
        if n > 1:
            interval = _bootstrap_interval(rows, selected, weights, scale, alpha)
    return BudgetEquivalence(
        n=n,
        population_size=size,
        pool=rows.size,
        diverged=diverged,
        mean_value=unscale(mean_value, power),
        limit=limit,
        curve=tuple(np.ldexp(curve, power).tolist()),
        k=k,
        ratio=None if k is None else k / size,
        more_than=more_than,
        less_than=less_than,
        interval=interval,
        confidence=1 - alpha,
    )


def _best_of_weights(members: int, limit: int) -> Floats:
    """Return C(i - 1, k - 1) / C(M, k) for k = 1 ... limit (rows) and i = 1 ... M (columns).

    Each row is the one above times (i - k)(k + 1) / (k (M - k)), so that no factorials are needed and every row sums to 1 up to
    rounding.
    """
    rank = np.arange(1, members + 1, dtype=np.float64)
    weights = np.empty((limit, members))
    weights[0] = 1.0 / members
    for k in range(1, limit):
        weights[k] = weights[k - 1] * np.maximum(rank - k, 0.0) * ((k + 1) / (k * (members - k)))
    return weights


def _crossings(curves: Floats, targets: Floats, scale: float) -> Floats:
    """Return the smallest k at which each curve (row) reaches its target; -inf if k = 1 exceeds it, inf if no k reaches it."""
    limit = curves.shape[1]
    equal = tied(curves, targets[:, None], scale)
    reached = (curves >= targets[:, None]) | equal
    after = reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    row = np.arange(len(curves))
    low, high = curves[row, before], curves[row, after]
    rise = np.where(high > low, high - low, 1.0)
    crossing = np.where(after > 0, before + 1 + np.clip((targets - low) / rise, 0.0, 1.0), 1.0)
    crossing = np.where(reached.any(axis=1), np.minimum(crossing, limit), np.inf)
    return np.where((targets < curves[:, 0]) & ~equal[:, 0], -np.inf, crossing)


def _bootstrap_interval(rows: Floats, selected: Floats, weights: Floats, scale: float, alpha: float) -> Interval:
    """Return the bootstrap interval over seeds, sorted first so that their order does not matter. Ends beyond limits are None."""
    n, size = rows.shape
    members = np.sort(rows, axis=1)
    order = np.lexsort((*members.T[::-1], selected))
    members, selected = members[order], selected[order]
    drawn = np.random.default_rng(_RESAMPLING_SEED).integers(0, n, size=(_RESAMPLES, n))
    chunk = max(1, _CHUNK_CELLS // rows.size)
    crossings = []
    for start in range(0, _RESAMPLES, chunk):
        seeds = drawn[start : start + chunk]
        pooled = np.sort(members[seeds].reshape(len(seeds), -1), axis=1)
        crossings.append(_crossings(pooled @ weights.T, selected[seeds].mean(axis=1), scale))
    # Order statistics rather than values in between, because some are infinite.
    ends = np.quantile(np.concatenate(crossings), [alpha / 2, 1 - alpha / 2], method="inverted_cdf") / size
    low, high = (float(end) if math.isfinite(end) else None for end in ends)
    return Interval(low, high)


def _seeds(pool: Sequence[Sequence[float]], values: Sequence[float]) -> tuple[Floats, Floats, int]:
    """Return the pool (n, population size), the values (n,), both finite, and the number of diverged members."""
    lengths = [len(row) for row in pool]
    if not lengths:
        raise ValueError("pool: is empty; at least one seed is required")
    if len(set(lengths)) > 1 or lengths[0] == 0:
        raise ValueError(
            f"pool: every seed needs the same number of members, 1 or more (diverged ones as NaN), got {lengths}"
        )
    if len(values) != len(lengths):
        raise ValueError(f"values: {len(values)} values for the {len(lengths)} seeds of pool")
    raw = np.array([list(row) for row in pool], dtype=np.float64)
    rows = _finite_scores(raw, "pool")
    chosen = np.array(list(values), dtype=np.float64)
    if np.isposinf(chosen).any():
        raise ValueError(f"values: entry {int(np.isposinf(chosen).argmax())} is inf; a score is finite, or NaN or -inf")
    selected = np.where(np.isfinite(chosen), chosen, rows.min())
    return rows, selected, int(np.count_nonzero(~np.isfinite(raw)))


def _finite_scores(scores: Floats, what: str) -> Floats:
    """Replace the scores of diverged members with the smallest finite one."""
    if np.isposinf(scores).any():
        raise ValueError(f"{what}: holds inf; a score is finite, or NaN or -inf for a diverged member")
    finite = np.isfinite(scores)
    if not finite.any():
        raise ValueError(f"{what}: holds no finite score among {scores.size} members; all have diverged")
    return np.where(finite, scores, scores[finite].min())
