"""How many seeds an effect needs, and what so many seeds can show: the power of the paired t-test."""

import itertools
import math
from dataclasses import dataclass

from hpo.statistics.arrays import check_alpha
from hpo.statistics.signflip import smallest_p

_MAX_SEEDS = 100_000
_BISECTIONS = 60


@dataclass(frozen=True)
class Plan:
    """What a number of paired seeds can show, and what an effect would need.

    The sign-flip test decides, and the power is that of the t-test, which it comes close to from about 8 pairs on; below
    `least_n` pairs the sign-flip test cannot reject at all, whatever the t-test could do.

    Attributes:
        n: number of pairs.
        alpha: family-wise two-sided level.
        family: number of comparisons with the baseline; the level of one is alpha / family, as in Holm's first step.
        wanted_power: the power that `detectable_d_z` and `seeds` are for.
        smallest_p: the smallest two-sided sign-flip p that n pairs can reach, not adjusted.
        least_n: the fewest pairs with which that p can reach alpha / family.
        detectable_d_z: the smallest |d_z| that n pairs find with the wanted power; None below `least_n`.
        d_z: the effect that the rest is about; None where none is given.
        power: power of n pairs for it; 0 below `least_n`; None without an effect.
        seeds: pairs that it needs for the wanted power, at least `least_n`; None where more than 100,000, or no effect.
        seeds_80: the same for a power of .8.
        seeds_90: the same for a power of .9.
    """

    n: int
    alpha: float
    family: int
    wanted_power: float
    smallest_p: float
    least_n: int
    detectable_d_z: float | None
    d_z: float | None
    power: float | None
    seeds: int | None
    seeds_80: int | None
    seeds_90: int | None


def plan(*, n: int, d_z: float | None = None, alpha: float = 0.05, family: int = 1, wanted_power: float = 0.8) -> Plan:
    """Say what n pairs can show, and how many an effect of a given size needs.

    >>> found = plan(n=10, d_z=1.0)
    >>> found.least_n, found.seeds_80, found.seeds_90
    (6, 10, 13)

    Args:
        n: number of pairs, done or planned.
        d_z: mean difference / standard deviation of the differences, from a pilot or from what would matter.
        alpha: family-wise two-sided level.
        family: number of comparisons with the baseline.
        wanted_power: probability of finding the effect.

    Raises:
        ValueError: n below 1, family below 1, d_z not finite, alpha or the power outside (0, 1).
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more pairs, got {n}")
    _check_probability(wanted_power, "wanted_power")
    least = least_pairs(alpha, family)
    level = alpha / family
    enough = n >= least
    power = None
    if d_z is not None:
        _check_effect(d_z)
        power = (_power(abs(d_z), n, level) if d_z else level) if enough else 0.0

    def seeds(wanted: float) -> int | None:
        found = None if d_z is None else seeds_needed(d_z, alpha=level, power=wanted)
        return None if found is None else max(found, least)

    return Plan(
        n=n,
        alpha=alpha,
        family=family,
        wanted_power=wanted_power,
        smallest_p=smallest_p(n),
        least_n=least,
        detectable_d_z=detectable_effect(n, alpha=level, power=wanted_power) if enough else None,
        d_z=d_z,
        power=power,
        seeds=seeds(wanted_power),
        seeds_80=seeds(0.8),
        seeds_90=seeds(0.9),
    )


def least_pairs(alpha: float = 0.05, family: int = 1) -> int:
    """Return the fewest pairs with which a sign-flip p can be significant: the smallest n >= 1 + log2(family / alpha).

    Raises:
        ValueError: alpha outside (0, 1), or family below 1.
    """
    check_alpha(alpha)
    if family < 1:
        raise ValueError(f"family must be 1 or more comparisons, got {family}")
    # Found with the comparison that the decision rule itself makes, so that rounding cannot tell them apart.
    return next(n for n in itertools.count(1) if smallest_p(n) * family <= alpha)


def seeds_needed(d_z: float, *, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Return the smallest number of pairs with which a two-sided paired t-test reaches the given power.

    Args:
        d_z: mean difference / standard deviation of the differences; the sign does not matter.
        alpha: two-sided level.
        power: wanted probability of p <= alpha.

    Returns:
        The number of pairs, at least 2; None when d_z is 0 or more than 100,000 pairs would be needed.

    Raises:
        ValueError: d_z is not finite, or alpha or power lie outside (0, 1).

    References:
        Cohen, Statistical Power Analysis for the Behavioral Sciences (1988), section 2.3. The numbers are those of R's
        `pwr.t.test(type = "paired")`.
    """
    _check_effect(d_z)
    _check_probability(alpha, "alpha")
    _check_probability(power, "power")
    if d_z == 0:
        return None
    effect = abs(d_z)
    enough = 2
    while _power(effect, enough, alpha) < power:
        if enough == _MAX_SEEDS:
            return None
        enough = min(2 * enough, _MAX_SEEDS)
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if _power(effect, middle, alpha) < power:
            too_few = middle
        else:
            enough = middle
    return enough


def detectable_effect(n: int, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Return the smallest |d_z| that a two-sided paired t-test of n pairs finds with the given power.

    The inverse of `seeds_needed`, by bisection to the last digit of a float.

    Returns:
        None for n = 1, which has no t-test, and for a power of at most alpha, which no effect reaches too.

    Raises:
        ValueError: n below 1, or alpha or power outside (0, 1).
    """
    if n < 1:
        raise ValueError(f"n must be 1 or more pairs, got {n}")
    _check_probability(alpha, "alpha")
    _check_probability(power, "power")
    if n == 1 or power <= alpha:
        return None
    high = 1.0
    while _power(high, n, alpha) < power:
        high *= 2
    low = 0.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if _power(middle, n, alpha) < power:
            low = middle
        else:
            high = middle
    return high


def _power(effect: float, n: int, alpha: float) -> float:
    """Return the power of n pairs.

    SciPy's noncentral t distribution gives NaN where a probability is too small for it. First that is the tail on the
    wrong side, which adds nothing to the power; then the probability of no rejection, and the power is 1.
    """
    from statsmodels.stats.power import TTestPower

    test = TTestPower()
    power = float(test.power(effect, n, alpha, alternative="two-sided"))
    if math.isnan(power):
        power = float(test.power(effect, n, alpha / 2, alternative="larger"))
    return 1.0 if math.isnan(power) else power


def _check_effect(d_z: float) -> None:
    if not math.isfinite(d_z):
        raise ValueError(f"d_z must be finite, got {d_z!r}")


def _check_probability(value: float, what: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{what} must lie strictly between 0 and 1, got {value!r}")
