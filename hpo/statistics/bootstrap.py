"""Bootstrap intervals of the mean difference: studentised, percentile and BCa.

Measured coverage of a nominal 95% with normal differences at n = 5, 10, 20: bootstrap-t .941, .944, .950; percentile .852,
.890, .919; BCa .848, .886, .917. So with few pairs only the studentised interval is shown. At n = 3 it also covers only .82,
and is not computed.
"""

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hpo.statistics.arrays import Floats, canonical_interval, check_alpha
from hpo.statistics.interval import Interval
from hpo.statistics.ties import TOLERANCE, settled_differences

MANY_PAIRS = 30
_STUDENTISED_MIN_PAIRS = 4
_RESAMPLES = 9_999
_SEED = 19_790_701
_CHUNK_CELLS = 4_000_000


def bootstrap_t_interval(differences: ArrayLike, *, alpha: float = 0.05) -> Interval | None:
    """Return the studentised bootstrap interval of the mean.

    (mean* - mean) / (s* / sqrt(n)) over 9,999 resamples replaces Student's t; its quantiles are those of rank
    (resamples + 1) alpha / 2. Resamples of equal values, which have no such ratio, are left out.

    Args:
        differences: shape (n,).
        alpha: the level is 1 - alpha.

    Returns:
        None if n < 4, all differences are equal, more than half of the resamples have equal values, or fewer than
        2 / alpha - 1 resamples are left.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; alpha outside (0, 1).

    References:
        Efron and Tibshirani, An Introduction to the Bootstrap (1993), section 12.5. The ranks: Davison and Hinkley,
        Bootstrap Methods and their Application (1997), section 5.2.
    """
    check_alpha(alpha)
    values = settled_differences(differences)
    if len(values) < _STUDENTISED_MIN_PAIRS or values.max() == values.min():
        return None
    return canonical_interval(values, lambda scaled: _bootstrap_t(scaled, alpha))


def percentile_interval(differences: ArrayLike, *, alpha: float = 0.05, resamples: int = _RESAMPLES) -> Interval | None:
    """Return the percentile bootstrap interval of the mean, which covers too little below about 30 pairs.

    Returns:
        None if n < 2 or all differences are equal.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; alpha outside (0, 1).

    References:
        Efron and Tibshirani (1993), section 13.3.
    """
    return _scipy_bootstrap(differences, alpha, resamples, "percentile")


def bca_interval(differences: ArrayLike, *, alpha: float = 0.05, resamples: int = _RESAMPLES) -> Interval | None:
    """Return the bias-corrected and accelerated bootstrap interval of the mean, which also needs about 30 pairs.

    Returns:
        None if n < 2 or all differences are equal.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; alpha outside (0, 1).

    References:
        Efron, Better bootstrap confidence intervals, JASA 82 (1987).
    """
    return _scipy_bootstrap(differences, alpha, resamples, "BCa")


def _bootstrap_t(values: Floats, alpha: float) -> Interval | None:
    n = len(values)
    mean = float(values.mean())
    standard_error = float(values.std(ddof=1)) / n**0.5
    ratios = _ratios(values - mean, equal=TOLERANCE * float(np.abs(values).max()))
    if 2 * len(ratios) < _RESAMPLES or (len(ratios) + 1) * alpha < 2:
        return None
    low, high = np.quantile(ratios, [alpha / 2, 1 - alpha / 2], method="weibull")
    return Interval(float(mean - high * standard_error), float(mean - low * standard_error))


def _ratios(centred: Floats, *, equal: float) -> Floats:
    """Return mean / standard error of every resample whose values spread by more than `equal`."""
    n = len(centred)
    generator = np.random.default_rng(_SEED)
    chunk = max(1, _CHUNK_CELLS // n)
    ratios = []
    for start in range(0, _RESAMPLES, chunk):
        rows = min(chunk, _RESAMPLES - start)
        # One resample per column: sums over the first axis add whole rows, which is several times faster.
        sample = centred[generator.integers(0, n, size=(n, rows))]
        spread = sample.max(axis=0) - sample.min(axis=0) > equal
        sample = sample[:, spread]
        means = sample.sum(axis=0) / n
        sample -= means
        squares = np.einsum("ij,ij->j", sample, sample) / (n - 1)
        ratios.append(means / np.sqrt(squares / n))
    return np.concatenate(ratios)


def _scipy_bootstrap(
    differences: ArrayLike, alpha: float, resamples: int, method: Literal["percentile", "BCa"]
) -> Interval | None:
    check_alpha(alpha)
    values = settled_differences(differences)
    if len(values) < 2 or values.max() == values.min():
        return None

    def estimate(scaled: Floats) -> Interval:
        from scipy import stats

        low, high = stats.bootstrap(
            (scaled,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, _CHUNK_CELLS // len(scaled)),
            confidence_level=1 - alpha,
            method=method,
            random_state=np.random.default_rng(_SEED),
        ).confidence_interval
        return Interval(float(low), float(high))

    return canonical_interval(values, estimate)
