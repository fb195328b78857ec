"""Luck of the search versus noise of the training, from several retrains of each search."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hpo.statistics.arrays import Floats
from hpo.statistics.ties import TOLERANCE, scale_of, tied


@dataclass(frozen=True)
class NestedVariance:
    """How one arm's test values vary between searches, and between retrains of one search.

    Attributes:
        n: number of searches (seeds).
        retrains: number of retrains of each.
        mean: mean of all values.
        variance_search: variance component of the searches; a negative estimate is set to 0. None for n = 1.
        variance_training: variance between the retrains of one search. None for one retrain.
        truncated: whether the component of the searches was negative: the retrains alone explain the spread.
        share_search: variance_search / (variance_search + variance_training), the intraclass correlation; None if either is None
            or both are 0.
    """

    n: int
    retrains: int
    mean: float
    variance_search: float | None
    variance_training: float | None
    truncated: bool
    share_search: float | None


def nested_variance(values: ArrayLike) -> NestedVariance:
    """Split the variance of test values between searches and retrains: a balanced one-way layout with random effects.

    With the mean squares between and within searches, MS_between = variance_training + k variance_search for k retrains.

    >>> found = nested_variance([[1.0, 3.0], [5.0, 7.0]])
    >>> found.variance_training, found.variance_search
    (2.0, 7.0)

    Args:
        values: shape (n, k): n searches, k retrains of each.

    Raises:
        ValueError: not a table of finite numbers with at least one row and column.

    References:
        Searle, Casella and McCulloch, Variance Components (1992), section 3.5 (ANOVA estimation, the one-way random model).
    """
    array: NDArray[np.generic] = np.asarray(values)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"values: must have the shape (searches, retrains), got {array.shape}")
    if array.dtype.kind not in "biuf":
        raise ValueError(f"values: must hold real numbers, got dtype {array.dtype}")
    table: Floats = array.astype(np.float64)
    if not np.isfinite(table).all():
        row, column = (int(at) for at in np.argwhere(~np.isfinite(table))[0])
        raise ValueError(f"values: search {row}, retrain {column} is {table[row, column]}; all must be finite")
    n, k = table.shape
    means = table.mean(axis=1)
    mean = float(means.mean())
    # Values that tie have no variance.
    noise = (TOLERANCE * scale_of(table)) ** 2
    within = float(np.square(table - means[:, None]).sum()) / (n * (k - 1)) if k > 1 else None
    between = k * float(np.square(means - mean).sum()) / (n - 1) if n > 1 else None
    within = 0.0 if within is not None and within <= noise else within
    between = 0.0 if between is not None and between <= k * noise else between
    search = None
    if between is not None:
        search = 0.0 if tied(between, within or 0.0, 0.0) else (between - (within or 0.0)) / k
    truncated = search is not None and search < 0
    search = None if search is None else max(search, 0.0)
    total = None if search is None or within is None else search + within
    return NestedVariance(
        n=n,
        retrains=k,
        mean=mean,
        variance_search=search,
        variance_training=within,
        truncated=truncated,
        share_search=search / total if search is not None and total else None,
    )
