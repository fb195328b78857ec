"""Several arms on one task: mean ranks, Friedman's test over the seeds, and every pair by the sign-flip test."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import check_alpha
from hpo.statistics.decision import holm_adjusted
from hpo.statistics.friedman import (
    Friedman,
    Nemenyi,
    RankSummary,
    critical_difference,
    friedman,
    friedman_from_mean_ranks,
    nemenyi,
)
from hpo.statistics.pairs import Pairs, sign_flips
from hpo.statistics.ties import comparable, scale_of

__all__ = [
    "Friedman",
    "ManyComparison",
    "Nemenyi",
    "PairOfArms",
    "RankSummary",
    "compare_many",
    "critical_difference",
    "friedman",
    "friedman_from_mean_ranks",
    "nemenyi",
]

_Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class PairOfArms:
    """Two of several arms.

    Attributes:
        a: label of the one, the baseline where there is one.
        b: label of the other.
        mean: mean of the differences b - a.
        p_sign_flip: two-sided sign-flip p of that mean, not adjusted.
        exact: whether it counts all patterns of signs, and is not estimated from drawn ones.
        p_holm: the same, adjusted by Holm's method for all pairs of the table that it stands in.
    """

    a: str
    b: str
    mean: float
    p_sign_flip: float
    exact: bool
    p_holm: float


@dataclass(frozen=True)
class ManyComparison:
    """What the complete blocks (seeds) of one task say of several arms.

    Attributes:
        labels: of the arms, in the order given.
        n: number of blocks: seeds of which every arm has a value.
        mean_ranks: of the arms over the blocks, 1 = best.
        friedman: whether the arms differ at all.
        pairs: all pairs, in the order of the labels; Holm over all k (k - 1) / 2 of them.
        alpha: level at which the p values are to be judged.
        against_baseline: every other arm against the baseline, Holm over these k - 1; None without a baseline.
    """

    labels: tuple[str, ...]
    n: int
    mean_ranks: tuple[float, ...]
    friedman: Friedman
    pairs: tuple[PairOfArms, ...]
    alpha: float
    against_baseline: tuple[PairOfArms, ...] | None


def compare_many(
    values: Mapping[str, ArrayLike] | ArrayLike,
    *,
    labels: Sequence[str] | None = None,
    baseline: str | None = None,
    alpha: float = 0.05,
    larger_is_better: bool = False,
    counts: Mapping[str, ArrayLike] | ArrayLike | None = None,
) -> ManyComparison:
    """Compare several arms on the same seeds.

    Friedman's test over the seeds of one task says something about other seeds of that task, nothing about other tasks.
    Nemenyi's test and the critical-difference diagram are therefore not part of it: their blocks should be tasks.

    >>> compare_many({"a": [3, 4, 5], "b": [2, 4, 4], "c": [1, 1, 1]}).mean_ranks
    (2.8333333333333335, 2.1666666666666665, 1.0)

    Args:
        values: for each arm its n values, in one order of the seeds; or a table of shape (n, k) with `labels`.
        labels: of the columns of a table; not allowed with a mapping.
        baseline: label of the arm to compare the others with.
        alpha: level at which the p values are to be judged; they do not depend on it.
        larger_is_better: whether rank 1 goes to the largest value.
        counts: integers of which the values are linear functions, in the same form: the ranks and the sign-flip p values
            are then computed from them, and ties are exact (see `compare_paired`).

    Raises:
        ValueError: alpha outside (0, 1); fewer than two arms, unequal lengths, no seeds, values not finite, a label given
            twice or unknown.
    """
    check_alpha(alpha)
    columns = _columns(values, labels, "values")
    names = tuple(columns)
    if len(names) < 2:
        raise ValueError(f"values must hold 2 or more arms, got {len(names)}")
    if baseline is not None and baseline not in columns:
        raise ValueError(f"baseline {baseline!r} is not one of the arms: {', '.join(names)}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"values: every arm needs one value per seed, got unequal numbers: {lengths}")
    count_columns = None if counts is None else _columns(counts, labels, "counts")
    if count_columns is not None and set(count_columns) != set(names):
        raise ValueError(f"counts: must be of the arms {', '.join(names)}; got {', '.join(count_columns)}")
    ranks = friedman(_ranked(columns, count_columns), larger_is_better=larger_is_better)
    pairs = {
        (a, b): Pairs.of(
            columns[a], columns[b], None if count_columns is None else (count_columns[a], count_columns[b])
        )
        for a, b in itertools.combinations(names, 2)
    }
    tested = {
        (a, b): PairOfArms(a, b, found.mean, flips.p, flips.exact, flips.p)
        for ((a, b), found), flips in zip(pairs.items(), sign_flips(list(pairs.values())), strict=True)
    }
    against = None
    if baseline is not None:
        others = [name for name in names if name != baseline]
        against = _adjusted([_oriented(tested, baseline, name) for name in others])
    return ManyComparison(names, ranks.n, ranks.mean_ranks, ranks, _adjusted(list(tested.values())), alpha, against)


def _columns(values: Mapping[str, ArrayLike] | ArrayLike, labels: Sequence[str] | None, what: str) -> _Columns:
    """Return the values of each arm as an array of one dimension."""
    if isinstance(values, Mapping):
        if labels is not None and what == "values":
            raise ValueError("labels: a mapping names its arms itself; give labels with a table only")
        columns = {str(name): np.asarray(column) for name, column in values.items()}
    else:
        table: NDArray[np.generic] = np.asarray(values)
        if table.ndim != 2:
            raise ValueError(f"{what}: must be two-dimensional (seeds by arms), got shape {table.shape}")
        if labels is None or len(labels) != table.shape[1]:
            given = "none" if labels is None else str(len(labels))
            raise ValueError(f"labels: a table of {table.shape[1]} columns needs as many labels, got {given}")
        if len(set(labels)) != len(labels):
            raise ValueError(f"labels: must all be different, got {list(labels)}")
        columns = {label: table[:, i] for i, label in enumerate(labels)}
    for name, column in columns.items():
        if column.ndim != 1 or column.dtype.kind not in "biuf":
            raise ValueError(
                f"{what} of {name!r}: must be real numbers in one dimension, got {column.dtype}, shape {column.shape}"
            )
    return columns


def _ranked(columns: _Columns, counts: _Columns | None) -> NDArray[np.generic]:
    """Return the table that the ranks are taken from: all of it is one task, though friedman() takes each block for one."""
    table = np.column_stack([column.astype(np.float64) for column in columns.values()])
    integers = [(counts or columns)[name] for name in columns]
    if not np.isfinite(table).all():
        return table  # which friedman() refuses
    if any(column.dtype.kind not in "iu" or len(column) != len(table) for column in integers):
        return comparable(table, None, scale_of(table))
    return comparable(table, np.array([column.tolist() for column in integers], dtype=object).T, 0.0)


def _oriented(tested: Mapping[tuple[str, str], PairOfArms], a: str, b: str) -> PairOfArms:
    """Return a pair as b against a: the p of a pair is the same both ways."""
    if (a, b) in tested:
        return tested[a, b]
    pair = tested[b, a]
    return replace(pair, a=a, b=b, mean=-pair.mean if pair.mean else pair.mean)


def _adjusted(pairs: Sequence[PairOfArms]) -> tuple[PairOfArms, ...]:
    """Return the pairs with Holm's adjustment over all of them."""
    adjusted = holm_adjusted([pair.p_sign_flip for pair in pairs])
    return tuple(replace(pair, p_holm=p) for pair, p in zip(pairs, adjusted, strict=True))
