"""The number of seeds that an effect needs, and what a number of seeds can show: the power of the sign-flip test."""

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from hpo.statistics.arrays import check_alpha
from hpo.statistics.signflip import smallest_p
from hpo.statistics.signflip_power import sign_flip_power

_MAX_SEEDS = 100_000


@dataclass(frozen=True)
class Reach:
    """What a number of paired seeds can show, for any effect.

    Attributes:
        n: number of pairs.
        alpha: family-wise two-sided level.
        family: number of comparisons with the baseline; a single one has the level alpha / family, as in Holm's first step.
        wanted_power: the power to which `detectable_d_z` and `seeds` refer.
        smallest_p: the smallest unadjusted two-sided sign-flip p that n pairs can reach.
        least_n: the fewest pairs with which that p can reach alpha / family.
        detectable_d_z: the smallest |d_z| that n pairs find with the wanted power; None below `least_n`.
    """

    n: int
    alpha: float
    family: int
    wanted_power: float
    smallest_p: float
    least_n: int
    detectable_d_z: float | None


@dataclass(frozen=True)
class Plan(Reach):
    """What a number of paired seeds can show, and how many an effect needs.

    The power is that of the sign-flip test for normal differences; it is 0 below `least_n` pairs. With several comparisons it is
    that of Holm's first step: the power if no other arm differs.

    Attributes:
        d_z: the effect; None if none was given.
        power: the power of n pairs for this effect; 0 below `least_n`; None without an effect.
        power_method: how the power was computed: "exact", "simulated", or "t-test" (see `sign_flip_power`).
        power_error: how far off it may be: 0, a Monte Carlo standard error, or the t-test's largest measured difference.
        seeds: pairs that the effect needs for the wanted power, at least `least_n`; None if more than 100,000, or no effect.
        seeds_80: the same for a power of .8.
        seeds_90: the same for a power of .9.
    """

    d_z: float | None
    power: float | None
    power_method: Literal["exact", "simulated", "t-test"] | None
    power_error: float | None
    seeds: int | None
    seeds_80: int | None
    seeds_90: int | None


def reach(*, n: int, alpha: float = 0.05, family: int = 1, wanted_power: float = 0.8) -> Reach:
    """Return what n pairs can show, for any effect; for arguments and errors see `plan`."""
    if n < 1:
        raise ValueError(f"n must be 1 or more pairs, got {n}")
    _check_probability(wanted_power, "wanted_power")
    least = least_pairs(alpha, family)
    detectable = detectable_effect(n, alpha=alpha / family, power=wanted_power)
    return Reach(n, alpha, family, wanted_power, smallest_p(n), least, detectable)


def plan(*, n: int, d_z: float | None = None, alpha: float = 0.05, family: int = 1, wanted_power: float = 0.8) -> Plan:
    """Return what n pairs can show, and how many pairs an effect of a given size needs.

    >>> found = plan(n=10, d_z=1.0)
    >>> found.least_n, found.seeds_80, found.seeds_90
    (6, 11, 13)

    Args:
        n: number of pairs, done or planned.
        d_z: the smallest effect that would matter: mean difference / standard deviation of the differences. A pilot's observed
            effect is too uncertain to plan with: take its standard deviation, and the difference that would matter.
        alpha: family-wise two-sided level.
        family: number of comparisons with the baseline.
        wanted_power: probability of finding the effect.

    Raises:
        ValueError: n below 1, family below 1, d_z not finite, alpha or the power outside (0, 1).
    """
    within = reach(n=n, alpha=alpha, family=family, wanted_power=wanted_power)
    level = alpha / family
    found = None
    if d_z is not None:
        _check_effect(d_z)
        found = sign_flip_power(d_z, n, alpha=level)

    def seeds(wanted: float) -> int | None:
        return None if d_z is None else seeds_needed(d_z, alpha=level, power=wanted)

    return Plan(
        **vars(within),
        d_z=d_z,
        power=None if found is None else found.value,
        power_method=None if found is None else found.method,
        power_error=None if found is None else found.error,
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
    # The same comparison as in the decision rule, so that rounding cannot make the two disagree.
    return next(n for n in itertools.count(1) if smallest_p(n) * family <= alpha)


def seeds_needed(d_z: float, *, alpha: float = 0.05, power: float = 0.8) -> int | None:
    """Return the smallest number of pairs with which the two-sided sign-flip test reaches the given power.

    Args:
        d_z: mean difference / standard deviation of normal differences; its sign does not matter.
        alpha: two-sided level of this one test.
        power: wanted probability of p <= alpha.

    Returns:
        The number of pairs, at least `least_pairs(alpha)`; None if d_z is 0 or more than 100,000 pairs are needed.

    Raises:
        ValueError: d_z is not finite, or alpha or power lie outside (0, 1).
    """
    _check_effect(d_z)
    _check_probability(power, "power")
    enough = least_pairs(alpha)
    if d_z == 0:
        return None
    too_few = enough - 1
    while sign_flip_power(d_z, enough, alpha=alpha).value < power:
        if enough == _MAX_SEEDS:
            return None
        too_few, enough = enough, min(2 * enough, _MAX_SEEDS)
    while enough - too_few > 1:
        middle = (enough + too_few) // 2
        if sign_flip_power(d_z, middle, alpha=alpha).value < power:
            too_few = middle
        else:
            enough = middle
    return enough


def detectable_effect(n: int, *, alpha: float = 0.05, power: float = 0.8) -> float | None:
    """Return the smallest |d_z| that the two-sided sign-flip test of n pairs finds with the given power, to three digits.

    Returns:
        None if n pairs can never reject, or if the power is at most alpha, which even no effect reaches.

    Raises:
        ValueError: n below 1, or alpha or power outside (0, 1).
    """
    from scipy.optimize import brentq

    if n < 1:
        raise ValueError(f"n must be 1 or more pairs, got {n}")
    _check_probability(alpha, "alpha")
    _check_probability(power, "power")
    if n < least_pairs(alpha) or power <= alpha:
        return None

    def lacking(d_z: float) -> float:
        return sign_flip_power(d_z, n, alpha=alpha).value - power

    high = 4 / math.sqrt(n)
    while lacking(high) < 0:
        high *= 2
    return float(brentq(lacking, 0.0, high, xtol=1e-4 * high, rtol=1e-4))


def _check_effect(d_z: float) -> None:
    if not math.isfinite(d_z):
        raise ValueError(f"d_z must be finite, got {d_z!r}")


def _check_probability(value: float, what: str) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{what} must lie strictly between 0 and 1, got {value!r}")
