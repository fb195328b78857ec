"""The Bayesian signed-rank test over tasks: the probabilities that one arm is better, or that both are practically equivalent."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hpo.statistics.arrays import canonical, exponent, unscale
from hpo.statistics.ties import scale_of, settled_differences, tied

SAMPLES = 50_000
PRIOR_STRENGTH = 0.5
_SEED = 20_170_601
_CHUNK = 5_000


@dataclass(frozen=True)
class BayesianSignedRanks:
    """Posterior probabilities of three statements about a new task, each estimated from 50,000 seeded samples.

    Their Monte Carlo standard error is at most .0022.

    Attributes:
        rope: half-width of the region of practical equivalence, in the unit of the metric.
        below: probability that a difference below -rope is the most likely case.
        within: probability that a difference within the region is.
        above: probability that a difference above rope is.
    """

    rope: float
    below: float
    within: float
    above: float


def bayesian_signed_ranks(differences: ArrayLike, rope: float) -> BayesianSignedRanks:
    """Return the probabilities that differences on similar tasks lie below, within or above the region.

    The prior of the distribution of differences is a Dirichlet process with strength 1/2 and all its mass at 0. In a posterior
    sample, the weights of the prior's 0 and of the n differences are Dirichlet(1/2, 1, ..., 1), and the mass of a region is the
    weight of all pairs whose mean lies in it, which Wilcoxon's statistic estimates. A region's probability is the share of samples
    in which its mass is the largest.

    >>> found = bayesian_signed_ranks([0.02, 0.03, 0.015, 0.04, 0.03, 0.02, 0.05], 0.01)
    >>> found.above > 0.99
    True

    Args:
        differences: shape (n,), one for each task, arm minus baseline.
        rope: half-width of the region, in the unit of the differences.

    Raises:
        ValueError: differences not one-dimensional, empty, not real numbers or not finite; rope not a positive number.

    References:
        Benavoli, Corani, Mangili, Zaffalon and Ruggeri, A Bayesian Wilcoxon signed-rank test based on the Dirichlet process,
        ICML (2014). Benavoli, Corani, Demšar and Zaffalon, Time for a change: a tutorial for comparing multiple classifiers
        through Bayesian analysis, JMLR 18 (2017), section 4.2; the numbers are those of their package `baycomp`.
    """
    if not 0 < rope < math.inf:
        raise ValueError(f"rope must be a positive number in the unit of the metric, got {rope!r}")
    values = settled_differences(differences)
    power = exponent(values)
    # Canonical order and sign, so that neither the order of the tasks nor a swap of the arms changes a digit.
    scaled, sign = canonical(np.ldexp(values, -power))
    bound = unscale(float(rope), -power)
    places = np.concatenate([[0.0], scaled])
    means = (places[:, None] + places[None, :]) / 2
    on_the_bound = tied(np.abs(means), bound, scale_of(scaled)) / 2
    outside = [np.where(on_the_bound > 0, on_the_bound * (way * means > 0), way * means > bound) for way in (-1, 1)]
    generator = np.random.default_rng(_SEED)
    wins = np.zeros(3)
    for _ in range(0, SAMPLES, _CHUNK):
        weights = generator.dirichlet([PRIOR_STRENGTH] + [1.0] * len(scaled), size=_CHUNK)
        below, above = (((weights @ region) * weights).sum(axis=1) for region in outside)
        masses = np.stack([1 - below - above, below, above])
        wins += np.bincount(masses.argmax(axis=0), minlength=3)
    within, below, above = (wins / SAMPLES).tolist()
    if sign == 0:
        below = above = (below + above) / 2
    elif sign < 0:
        below, above = above, below
    return BayesianSignedRanks(float(rope), below, within, above)
