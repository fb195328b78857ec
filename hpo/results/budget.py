"""The cost axis: validation scores against the budget charged. The test set plays no part here."""

from collections.abc import Sequence

import numpy as np

from hpo.results.arms import Arms
from hpo.results.document import IncumbentBand, Measurement, PoolEquivalence, TargetTimes
from hpo.statistics import budget_equivalence, max_t_band, mean_ranks, time_to_target


def incumbent(arms: Arms, label: str, verdict: str) -> IncumbentBand:
    """Return where along the budget an arm's incumbent differs from the baseline's, simultaneously over all points and arms.

    The budget from which it is better or worse is given only if the verdict, which is about the test set, agrees.
    """
    alpha, family = arms.rule.alpha, len(arms.others)
    band = max_t_band(arms.curves(arms.baseline), arms.curves(label), alpha=alpha, family=family)
    larger = arms.primary.direction == "maximize"
    sides = (band.mean, band.low, band.high) if larger else (band.mean, band.high, band.low)
    mean, low, high = (_turned(side, 1 if larger else -1) for side in sides)
    points = arms.evidence.budgets
    return IncumbentBand(
        budgets=points,
        mean=mean,
        low=low,
        high=high,
        p=band.p,
        better_from=None if band.better_from is None or verdict != "better" else points[band.better_from],
        worse_from=None if band.worse_from is None or verdict != "worse" else points[band.worse_from],
        alpha=alpha,
        family=family,
    )


def equivalent_budget(arms: Arms, label: str) -> PoolEquivalence | None:
    """Return the budget at which random search would do as well; None if neither arm is a random search."""
    searches = {arm.label for arm in arms.evidence.arms if arm.optimizer == "random_search" and not arm.replay}
    pool_arm = next((name for name in (arms.baseline, label) if name in searches), None)
    if pool_arm is None:
        return None
    arm = label if pool_arm == arms.baseline else arms.baseline
    pool = [[arms.oriented(value) for value in found.finals] for found in arms.of_arm(pool_arm)]
    values = [arms.score(found.validation) for found in arms.of_arm(arm)]
    if not all(pool) or not np.isfinite(values).all() or not np.isfinite(np.concatenate(pool)).any():
        return None
    found = budget_equivalence(pool, values, alpha=arms.rule.alpha)
    return PoolEquivalence(**vars(found), pool_arm=pool_arm, arm=arm)


def target_times(arms: Arms) -> TargetTimes | None:
    """Return when each arm's incumbent reached the study's target; None if it states none."""
    target = arms.rule.target
    if target is None:
        return None
    curves = {label: arms.curves(label) for label in arms.evidence.labels}
    return TargetTimes(
        target,
        {label: time_to_target(curve, arms.oriented(target), arms.evidence.budgets) for label, curve in curves.items()},
    )


def ranks(arms: Arms) -> dict[str, tuple[float, ...]]:
    """Return the mean rank of every arm's incumbent along the budget; 1 is the best."""
    found = mean_ranks({label: arms.curves(label) for label in arms.evidence.labels})
    return {label: tuple(values) for label, values in found.items()}


def _turned(values: Sequence[Measurement], sign: int) -> tuple[Measurement, ...]:
    return tuple(None if value is None else sign * value for value in values)
