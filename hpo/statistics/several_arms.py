"""Several arms on one task: mean ranks, Friedman's test over the seeds, and the sign-flip test of every pair."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import check_alpha
from hpo.statistics.decision import holm_adjusted
from hpo.statistics.differences import Pairs, sign_flips
from hpo.statistics.friedman import Friedman, friedman
from hpo.statistics.ties import comparable, scale_of

_Columns = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class PairOfArms:
    """Two of several arms.

    Attributes:
        a: label of the first arm.
        b: label of the second.
        mean: mean of the differences b - a.
        p_sign_flip: two-sided sign-flip p of that mean, not adjusted.
        exact: whether it counts all sign patterns rather than random ones.
        p_holm: the same p, adjusted by Holm's method for all pairs.
    """

    a: str
    b: str
    mean: float
    p_sign_flip: float
    exact: bool
    p_holm: float


@dataclass(frozen=True)
class ManyComparison:
    """Several arms, compared on the seeds of one task that all of them have.

    Attributes:
        labels: the arms, in the given order.
        n: number of blocks: seeds for which every arm has a value.
        mean_ranks: mean rank of each arm over the blocks, 1 = best.
        friedman: whether the arms differ at all.
        pairs: all pairs, in the order of the labels, with Holm's adjustment over all k (k - 1) / 2 of them.
        alpha: level at which to judge the p values.
    """

    labels: tuple[str, ...]
    n: int
    mean_ranks: tuple[float, ...]
    friedman: Friedman
    pairs: tuple[PairOfArms, ...]
    alpha: float


def compare_many(
    values: Mapping[str, ArrayLike],
    *,
    alpha: float = 0.05,
    larger_is_better: bool = False,
    counts: Mapping[str, ArrayLike] | None = None,
) -> ManyComparison:
    """Compare several arms on the same seeds.

    Friedman's test over the seeds of one task says something about other seeds of that task, but nothing about other tasks. So
    Nemenyi's test and the critical-difference diagram, whose blocks should be tasks, are not part of it.

    >>> compare_many({"a": [3, 4, 5], "b": [2, 4, 4], "c": [1, 1, 1]}).mean_ranks
    (2.8333333333333335, 2.1666666666666665, 1.0)

    Args:
        values: for each arm its n values, with the seeds in the same order.
        alpha: level at which to judge the p values, which do not depend on it.
        larger_is_better: whether rank 1 goes to the largest value.
        counts: for each arm the integers of which its values are linear functions. The ranks and the sign-flip p values are then
            computed from them, and ties are exact (see `compare_paired`).

    Raises:
        ValueError: alpha is outside (0, 1), there are fewer than two arms or no seeds, lengths differ, values are not finite, or
            counts are given for other arms.
    """
    check_alpha(alpha)
    columns = _columns(values, "values")
    names = tuple(columns)
    if len(names) < 2:
        raise ValueError(f"values must hold 2 or more arms, got {len(names)}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"values: every arm needs one value per seed, got unequal numbers: {lengths}")
    count_columns = None if counts is None else _columns(counts, "counts")
    if count_columns is not None and set(count_columns) != set(names):
        raise ValueError(f"counts: must be given for the arms {', '.join(names)}; got {', '.join(count_columns)}")
    ranks = friedman(_ranked(columns, count_columns), larger_is_better=larger_is_better)
    compared = list(itertools.combinations(names, 2))
    pairs = [
        Pairs.of(columns[a], columns[b], None if count_columns is None else (count_columns[a], count_columns[b]))
        for a, b in compared
    ]
    flips = sign_flips(pairs)
    tested = tuple(
        PairOfArms(a, b, found.mean, flip.p, flip.exact, p_holm)
        for (a, b), found, flip, p_holm in zip(
            compared, pairs, flips, holm_adjusted([flip.p for flip in flips]), strict=True
        )
    )
    return ManyComparison(names, ranks.n, ranks.mean_ranks, ranks, tested, alpha)


def _columns(values: Mapping[str, ArrayLike], what: str) -> _Columns:
    """Return the values of each arm as a one-dimensional array."""
    columns = {str(name): np.asarray(column) for name, column in values.items()}
    for name, column in columns.items():
        if column.ndim != 1 or column.dtype.kind not in "biuf":
            raise ValueError(
                f"{what} of {name!r}: must be real numbers in one dimension, got {column.dtype}, shape {column.shape}"
            )
    return columns


def _ranked(columns: _Columns, counts: _Columns | None) -> NDArray[np.generic]:
    """Return the table to rank, with ties settled over the whole table: friedman() would settle them per block."""
    table = np.column_stack([column.astype(np.float64) for column in columns.values()])
    integers = [(counts or columns)[name] for name in columns]
    if not np.isfinite(table).all():
        return table  # friedman() raises the error
    if any(column.dtype.kind not in "iu" or len(column) != len(table) for column in integers):
        return comparable(table, None, scale_of(table))
    return comparable(table, np.array([column.tolist() for column in integers], dtype=object).T, 0.0)
