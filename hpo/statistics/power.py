"""How many seeds an effect needs: the power of the paired t-test."""

import math

_MAX_SEEDS = 100_000


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
    if not math.isfinite(d_z):
        raise ValueError(f"d_z must be finite, got {d_z!r}")
    for value, what in ((alpha, "alpha"), (power, "power")):
        if not 0 < value < 1:
            raise ValueError(f"{what} must lie strictly between 0 and 1, got {value!r}")
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
