"""The power of the sign-flip test for normal differences: in closed form, by quasi-random simulation, or the t-test's.

The test of n pairs rejects at a level if the observed sign pattern is among the k = floor(level 2**(n-1)) pairs of mirrored
patterns with the largest |sum|. Given the sizes a_i = |d_i|, a pattern with sum S and its mirror image have the joint probability
2 cosh(d_z S) / prod 2 cosh(d_z a_i), so only the sizes need to be drawn, not the signs.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from hpo.statistics.arrays import Floats

_SIMULATED_PATTERNS = 1024  # the largest k to simulate; beyond it, the t-test's power is just as good
_SCRAMBLES, _POINTS, _SEED = 8, 128, 20_250_114
_CERTAIN = 40.0  # an effect so large that every difference has the sign of the mean
#: How far the t-test's power was from the simulated power at the smallest n where it is used (the gap shrinks with n), by the
#: smallest level for which this holds; nothing was measured below a millionth.
_T_ERRORS = ((0.0125, 0.002), (0.005, 0.006), (0.0001, 0.025), (1e-6, 0.06), (0.0, 1.0))


@dataclass(frozen=True)
class Power:
    """The probability that the sign-flip test finds an effect.

    Attributes:
        value: the probability.
        method: "exact"; "simulated"; or "t-test", whose power is used for large n.
        error: how far off `value` may be: 0 if it is exact, its Monte Carlo standard error if it is simulated, the largest
            measured difference if it is the t-test's.
    """

    value: float
    method: Literal["exact", "simulated", "t-test"]
    error: float


@lru_cache(maxsize=1024)
def sign_flip_power(d_z: float, n: int, *, alpha: float = 0.05) -> Power:
    """Return the power of the two-sided sign-flip test of n normal differences.

    It is exact while only studies whose signs all agree can reject, Phi(d)**n + Phi(-d)**n; simulated for about 10 pairs more,
    with a standard error below .002; and beyond that the power of the t-test, which differs by at most .002 for levels of .0125
    and above.

    >>> sign_flip_power(1.5, 6).method, round(sign_flip_power(1.5, 6).value, 4)
    ('exact', 0.6605)

    Args:
        d_z: mean / standard deviation of the differences; its sign does not matter.
        n: number of pairs, at least 1.
        alpha: two-sided level of this one test.

    References:
        Lehmann and Romano, Testing Statistical Hypotheses (2005), section 5.9, for the conditional power of a permutation
        test. Owen, Monte Carlo theory, methods and examples, chapter 17, for randomized quasi-Monte Carlo.
    """
    effect = abs(d_z)
    patterns = math.floor(math.ldexp(alpha, min(n, 64) - 1))
    if patterns == 0:
        return Power(0.0, "exact", 0.0)
    if effect == 0:
        return Power(patterns / math.ldexp(1.0, min(n, 64) - 1), "exact", 0.0)
    if effect > _CERTAIN:
        return Power(1.0, "exact", 0.0)
    if patterns == 1:
        from scipy.special import ndtr

        return Power(float(ndtr(effect)) ** n + float(ndtr(-effect)) ** n, "exact", 0.0)
    if patterns <= _SIMULATED_PATTERNS:
        means = [float(_given_sizes(np.abs(noise + effect), effect, patterns).mean()) for noise in _noise(n)]
        return Power(min(1.0, float(np.mean(means))), "simulated", float(np.std(means, ddof=1)) / math.sqrt(_SCRAMBLES))
    return Power(t_test_power(effect, n, alpha=alpha), "t-test", next(e for least, e in _T_ERRORS if alpha >= least))


def t_test_power(d_z: float, n: int, *, alpha: float = 0.05) -> float:
    """Return the power of the two-sided paired t-test of n normal differences, as R's `pwr.t.test(type = "paired")` does.

    SciPy's noncentral t distribution gives NaN for very small probabilities: first for the tail on the wrong side, which does
    not add to the power, and then for the probability of no rejection, when the power is 1.

    References:
        Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), section 2.3.
    """
    from statsmodels.stats.power import TTestPower

    test, effect = TTestPower(), abs(d_z)
    power = float(test.power(effect, n, alpha, alternative="two-sided"))
    if math.isnan(power):
        power = float(test.power(effect, n, alpha / 2, alternative="larger"))
    return 1.0 if math.isnan(power) else power


def _given_sizes(sizes: Floats, effect: float, patterns: int) -> Floats:
    """Return the probability of rejection for each row of sizes."""
    total = sizes.sum(axis=1, keepdims=True)
    sums = total - 2 * _smallest_subset_sums(np.sort(sizes, axis=1), patterns)
    chances = np.exp(_log_2_cosh(effect * sums) - _log_2_cosh(effect * sizes).sum(axis=1, keepdims=True))
    return np.asarray(chances.sum(axis=1))


def _log_2_cosh(x: Floats) -> Floats:
    return np.logaddexp(x, -x)


def _smallest_subset_sums(sizes: Floats, count: int) -> Floats:
    """Return for each row of increasing sizes its `count` smallest subset sums, including the empty subset's."""
    sums = np.zeros((len(sizes), 1))
    for column in sizes.T:
        sums = np.concatenate([sums, sums + column[:, None]], axis=1)
        if sums.shape[1] > count:
            sums = np.partition(sums, count - 1, axis=1)[:, :count]
    return sums


@lru_cache(maxsize=32)
def _noise(n: int) -> tuple[Floats, ...]:
    """Return normal points, shape (points, n), from a Sobol sequence shifted at random, once per scramble."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    points = qmc.Sobol(n, scramble=False).random(_POINTS)
    shifts = np.random.default_rng([_SEED, n]).random((_SCRAMBLES, n))
    return tuple(ndtri((points + shift) % 1.0) for shift in shifts)
