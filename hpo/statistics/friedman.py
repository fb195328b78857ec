"""Friedman's test on ranks within blocks, exact for few blocks, and Nemenyi's comparison of mean ranks.

Ranks are doubled and centred internally, so that midranks are integers and tied statistics compare exactly.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.ties import midranks, scales_of_rows

FriedmanMethod = Literal["exact", "monte carlo", "chi-square"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_EXACT_BELOW = 10
_STATES_MAX = 2_000_000
_ARRANGEMENTS_MAX = 5_040
_RESAMPLES = 100_000
_RESAMPLING_SEED = 20_240_303
_CHUNK = 10_000


@dataclass(frozen=True)
class Friedman:
    """The result of Friedman's test: whether the columns differ in their ranks within blocks.

    Attributes:
        n: number of blocks.
        k: number of columns.
        mean_ranks: mean rank of each column, 1 = best; ties share their mean rank.
        statistic: Friedman's chi-square, corrected for ties; None if every block is completely tied.
        p: the p value by `method`; 1 if every block is completely tied.
        method: "exact": all within-block permutations; "monte carlo": 100,000 random ones with a fixed seed, if there are too
            many; "chi-square": the usual approximation, from 10 blocks on.
        p_chi_square: the chi-square approximation, at any n; None if the statistic is None.
        f: Iman and Davenport's F; None for one block, or if it is infinite (all blocks rank alike).
        p_f: its p, with k - 1 and (k - 1)(n - 1) degrees of freedom; 0 if F is infinite; None for one block.
    """

    n: int
    k: int
    mean_ranks: tuple[float, ...]
    statistic: float | None
    p: float
    method: FriedmanMethod
    p_chi_square: float | None
    f: float | None
    p_f: float | None


@dataclass(frozen=True)
class RankSummary:
    """Friedman's statistics from mean ranks alone, without a correction for ties.

    Attributes:
        statistic: chi-square with k - 1 degrees of freedom.
        p_chi_square: its p.
        f: Iman and Davenport's F; None for one block, or if it is infinite.
        p_f: its p; 0 if F is infinite; None for one block.
    """

    statistic: float
    p_chi_square: float
    f: float | None
    p_f: float | None


@dataclass(frozen=True)
class Nemenyi:
    """All pairs of columns, by the difference of their mean ranks.

    Attributes:
        mean_ranks: mean rank of each column, 1 = best.
        p: matrix of family-wise p values, 1 on the diagonal.
        critical_difference: mean ranks that differ by more than this are significantly different at level `alpha`.
        alpha: the level.
    """

    mean_ranks: tuple[float, ...]
    p: tuple[tuple[float, ...], ...]
    critical_difference: float
    alpha: float


def friedman(values: ArrayLike, *, larger_is_better: bool = False) -> Friedman:
    """Test whether the columns of a table of blocks differ.

    >>> round(friedman([[1, 2, 3], [1, 2, 3], [1, 2, 3], [2, 1, 3]]).p, 6)
    0.041667

    The exact p is the share of all arrangements (each block's ranks permuted independently) whose statistic is at least the
    observed one. The statistic depends only on the sorted vector of rank sums, since the columns are exchangeable, so the
    distribution is built block by block over sorted vectors.

    Args:
        values: shape (n, k): n blocks (rows), k columns to compare. Floats tie as in `hpo.statistics.ties`, with each block as a
            task; integers tie if they are equal.
        larger_is_better: whether rank 1 goes to the largest value of a block.

    Raises:
        ValueError: not a table of finite numbers with n >= 1 rows and k >= 2 columns.

    References:
        Friedman, The use of ranks to avoid the assumption of normality implicit in the analysis of variance, JASA 32
        (1937). F: Iman and Davenport, Approximations of the critical region of the Friedman statistic (1980).
    """
    ranks = doubled_ranks(values, larger_is_better=larger_is_better)
    n, k = ranks.shape
    mean_ranks = tuple(float(total) / (2 * n) for total in ranks.sum(axis=0))
    centred = ranks - (k + 1)
    observed = int(np.sum(centred.sum(axis=0) ** 2))
    spread = int(np.sum(centred**2))
    if spread == 0:
        method: FriedmanMethod = "exact" if n < _EXACT_BELOW else "chi-square"
        return Friedman(n, k, mean_ranks, None, 1.0, method, None, None, None)
    statistic = (k - 1) * observed / spread
    p_chi_square = float(scipy.stats.chi2.sf(statistic, k - 1))
    f, p_f = _iman_davenport(statistic, n, k, complete=observed == n * spread)
    p, method = p_chi_square, "chi-square"
    if n < _EXACT_BELOW:
        exact = _exact_p(centred, observed)
        p, method = (_resampled_p(centred, observed), "monte carlo") if exact is None else (exact, "exact")
    return Friedman(n, k, mean_ranks, statistic, p, method, p_chi_square, f, p_f)


def friedman_from_mean_ranks(mean_ranks: Sequence[float], n: int) -> RankSummary:
    """Return Friedman's chi-square and Iman and Davenport's F from published mean ranks of n blocks, without ties.

    Raises:
        ValueError: fewer than two mean ranks, one outside [1, k], or n below 1.

    References:
        Demšar, Statistical comparisons of classifiers over multiple data sets, JMLR 7 (2006), section 3.2.2.
    """
    k = len(mean_ranks)
    if k < 2:
        raise ValueError(f"mean_ranks must be 2 or more numbers, got {k}")
    if n < 1:
        raise ValueError(f"n must be 1 or more blocks, got {n}")
    if not all(1 <= rank <= k for rank in mean_ranks):
        raise ValueError(f"mean_ranks must lie between 1 and {k}, the number of columns; got {list(mean_ranks)}")
    squares = math.fsum(rank**2 for rank in mean_ranks)
    statistic = 12 * n / (k * (k + 1)) * (squares - k * (k + 1) ** 2 / 4)
    f, p_f = _iman_davenport(statistic, n, k, complete=statistic >= n * (k - 1))
    return RankSummary(statistic, float(scipy.stats.chi2.sf(statistic, k - 1)), f, p_f)


def nemenyi(values: ArrayLike, *, alpha: float = 0.05, larger_is_better: bool = False) -> Nemenyi:
    """Compare all pairs of columns by Nemenyi's test: family-wise p values and the critical difference.

    A block should be a data set: blocks that are seeds of one data set say nothing about other data sets.

    Args:
        values: shape (n, k): n blocks, k columns.
        alpha: level of the critical difference.
        larger_is_better: whether rank 1 goes to the largest value of a block.

    Raises:
        ValueError: not a table of finite numbers with n >= 1 rows and k >= 2 columns, or alpha outside (0, 1).

    References:
        Nemenyi, Distribution-free multiple comparisons (1963); Demšar (2006), section 3.2.2.
    """
    ranks = doubled_ranks(values, larger_is_better=larger_is_better)
    n, k = ranks.shape
    difference = critical_difference(k, n, alpha)
    totals = ranks.sum(axis=0)
    gaps = np.abs(totals[:, None] - totals[None, :]) / (2 * n)
    scaled = gaps / math.sqrt(k * (k + 1) / (6 * n)) * math.sqrt(2)
    p = np.clip(scipy.stats.studentized_range.sf(scaled, k, np.inf), 0.0, 1.0)
    p[gaps == 0] = 1.0
    mean_ranks = tuple(float(total) / (2 * n) for total in totals)
    return Nemenyi(mean_ranks, tuple(tuple(float(value) for value in row) for row in p), difference, alpha)


def critical_difference(k: int, n: int, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks: q_alpha sqrt(k (k + 1) / (6 n)).

    q_alpha is the upper quantile of the studentized range of k columns with infinite degrees of freedom, divided by sqrt(2).

    >>> round(critical_difference(4, 14), 2)
    1.25

    Raises:
        ValueError: k below 2, n below 1, or alpha outside (0, 1).
    """
    if k < 2:
        raise ValueError(f"k must be 2 or more columns, got {k}")
    if n < 1:
        raise ValueError(f"n must be 1 or more blocks, got {n}")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha!r}")
    q = float(scipy.stats.studentized_range.ppf(1 - alpha, k, np.inf)) / math.sqrt(2)
    return q * math.sqrt(k * (k + 1) / (6 * n))


def doubled_ranks(values: ArrayLike, *, larger_is_better: bool) -> Integers:
    """Return twice the midranks within each block, as integers: shape (n, k), 2 = best.

    Raises:
        ValueError: not a table of finite numbers with n >= 1 rows and k >= 2 columns.
    """
    array: NDArray[np.generic] = np.asarray(values)
    if array.ndim != 2:
        raise ValueError(f"values: must be two-dimensional (blocks by columns), got shape {array.shape}")
    n, k = array.shape
    if n < 1 or k < 2:
        raise ValueError(f"values: must have at least 1 block and 2 columns, got shape {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"values: must hold real numbers, got dtype {array.dtype}")
    table: Floats = array.astype(np.float64)
    bad = np.argwhere(~np.isfinite(table))
    if bad.size:
        row, column = (int(at) for at in bad[0])
        raise ValueError(f"values: block {row}, column {column} is {table[row, column]}; all must be finite")
    return np.rint(2 * midranks(array, scales_of_rows(table), larger_is_better=larger_is_better)).astype(np.int64)


def _iman_davenport(statistic: float, n: int, k: int, *, complete: bool) -> tuple[float | None, float | None]:
    """Return F and its p; `complete` means that the statistic has its largest possible value, where F is infinite."""
    if n == 1:
        return None, None
    if complete:
        return None, 0.0
    f = (n - 1) * statistic / (n * (k - 1) - statistic)
    return f, float(scipy.stats.f.sf(f, k - 1, (k - 1) * (n - 1)))


def _exact_p(centred: Integers, observed: int) -> float | None:
    """Return the exact p over all within-block permutations; None if that needs too many vectors."""
    if math.factorial(centred.shape[1]) > _ARRANGEMENTS_MAX:
        return None
    # The first block is not permuted: permuting all columns alike changes nothing. Tied blocks come last: they branch less.
    blocks = sorted(np.sort(centred, axis=1).tolist(), key=lambda block: len(set(block)), reverse=True)
    states: Integers = np.array([blocks[0]], dtype=np.int64)
    shares: Floats = np.ones(1)
    for i, block in enumerate(blocks[1:], start=1):
        arrangements = _arrangements(block)
        if len(states) * len(arrangements) > _STATES_MAX:
            return None
        sums = (states[:, None, :] + arrangements[None, :, :]).reshape(-1, len(block))
        weights = np.repeat(shares / len(arrangements), len(arrangements))
        if i == len(blocks) - 1:
            return _tail(sums, weights, observed)
        states, shares = _merged(np.sort(sums, axis=1), weights, len(blocks) * 2 * len(block))
    return _tail(states, shares, observed)


def _arrangements(block: list[int]) -> Integers:
    """Return the distinct orders of a block's ranks, one per row; with ties they are still equally likely."""
    orders: list[list[int]] = [[]]
    remaining = [dict.fromkeys(block, 0)]
    for value in block:
        remaining[0][value] += 1
    for _ in block:
        grown, left = [], []
        for order, counts in zip(orders, remaining, strict=True):
            for value, count in counts.items():
                if count:
                    grown.append([*order, value])
                    left.append({**counts, value: count - 1})
        orders, remaining = grown, left
    return np.array(orders, dtype=np.int64)


def _merged(states: Integers, weights: Floats, bound: int) -> tuple[Integers, Floats]:
    """Return the distinct rows and their total weights; `bound` exceeds every absolute entry."""
    digits = (2 * bound + 1) ** np.arange(
        states.shape[1] - 1, dtype=np.int64
    )  # rows sum to 0, so the last entry is implied
    _, first, which = np.unique((states[:, :-1] + bound) @ digits, return_index=True, return_inverse=True)
    totals: Floats = np.bincount(which, weights=weights).astype(np.float64)
    return states[first], totals


def _tail(sums: Integers, weights: Floats, observed: int) -> float:
    return min(1.0, math.fsum(weights[np.sum(sums**2, axis=1) >= observed]))


def _resampled_p(centred: Integers, observed: int) -> float:
    """Estimate p from seeded within-block permutations; the observed arrangement counts as one more."""
    generator = np.random.default_rng(_RESAMPLING_SEED)
    blocks = np.array(sorted(np.sort(centred, axis=1).tolist()), dtype=np.int64)
    hits = 0
    for start in range(0, _RESAMPLES, _CHUNK):
        rows = min(_CHUNK, _RESAMPLES - start)
        drawn = generator.permuted(np.broadcast_to(blocks, (rows, *blocks.shape)), axis=2)
        hits += int(np.count_nonzero(np.sum(drawn.sum(axis=1) ** 2, axis=1) >= observed))
    return (hits + 1) / (_RESAMPLES + 1)
