"""Equivalence: a test that the mean difference is too small to matter."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hpo.statistics.arrays import canonical, check_alpha, exponent, unscale
from hpo.statistics.ties import settled_differences, tied


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided t tests against the region of practical equivalence (-rope, +rope).

    Attributes:
        rope: half-width of the region, in the unit of the metric.
        p: the larger of the two p values: the p of the hypothesis that the mean lies outside the region.
        p_lower: one-sided p against a mean of -rope or less.
        p_upper: one-sided p against a mean of +rope or more.
        equivalent: p <= alpha; the t interval of level 1 - 2 alpha then lies inside the region.
        within: whether the observed mean lies inside the region, which shows nothing on its own.
    """

    rope: float
    p: float
    p_lower: float
    p_upper: float
    equivalent: bool
    within: bool


def equivalence_within(differences: ArrayLike, rope: float, *, alpha: float = 0.05) -> Equivalence | None:
    """Test whether the mean difference lies within (-rope, +rope).

    >>> equivalence_within([0.1, -0.2, 0.2, -0.1, 0.1, 0.0], 1.0).equivalent
    True

    Args:
        differences: shape (n,).
        rope: half-width of the region, in the unit of the differences.
        alpha: level of each of the two tests.

    Returns:
        None for n = 1, and if all differences tie: without variance there is no t-test.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; rope not a positive number;
            alpha outside (0, 1).

    References:
        Schuirmann, A comparison of the two one-sided tests procedure and the power approach, Journal of
        Pharmacokinetics and Biopharmaceutics 15 (1987).
    """
    check_alpha(alpha)
    if not (rope > 0 and math.isfinite(rope)):
        raise ValueError(f"rope must be a positive number in the unit of the metric, got {rope!r}")
    values = settled_differences(differences)
    n = len(values)
    if n == 1 or values.max() == values.min():
        return None
    from statsmodels.stats.weightstats import ttost_paired

    power = exponent(values)
    # Sums depend on the order, so canonical order and sign make the result independent of both.
    scaled, sign = canonical(np.ldexp(values, -power))
    bound = unscale(float(rope), -power)
    mean = math.fsum(scaled) / n
    _, (_, p_lower, _), (_, p_upper, _) = ttost_paired(scaled, np.zeros(n), -bound, bound)
    if sign == 0:
        p_lower = p_upper = max(p_lower, p_upper)
    elif sign < 0:
        p_lower, p_upper = p_upper, p_lower
    p = float(max(p_lower, p_upper))
    return Equivalence(
        rope=float(rope),
        p=p,
        p_lower=float(p_lower),
        p_upper=float(p_upper),
        equivalent=p <= alpha,
        within=abs(mean) < bound and not tied(abs(mean), bound, 0.0),
    )
