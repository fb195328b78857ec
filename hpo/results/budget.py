"""The cost axis: validation scores against the budget charged. The test set plays no part here."""

from dataclasses import asdict
from typing import Any

import numpy as np

from hpo.results.arms import Arms
from hpo.statistics import budget_equivalence, max_t_band, mean_ranks, time_to_target


def incumbent(arms: Arms, label: str, verdict: str) -> dict[str, Any]:
    """Return where along the budget an arm's incumbent differs from the baseline's, over all points and arms at once.

    From where on it is better or worse is said only where the verdict, which is about the test set, says the same.
    """
    family = len(arms.others)
    band = max_t_band(arms.curves(arms.baseline), arms.curves(label), alpha=arms.alpha, family=family)
    sign = 1 if arms.primary["direction"] == "maximize" else -1
    ends = [(band.low, band.high), (band.high, band.low)][sign < 0]
    low, high = ([None if end is None else sign * end for end in side] for side in ends)
    points = _budgets(arms, len(band.mean))
    return {
        "budgets": points,
        "mean": [None if value is None else sign * value for value in band.mean],
        "low": low,
        "high": high,
        "p": list(band.p),
        "better_from": None if band.better_from is None or verdict != "better" else points[band.better_from],
        "worse_from": None if band.worse_from is None or verdict != "worse" else points[band.worse_from],
        "alpha": arms.alpha,
        "family": family,
    }


def equivalent_budget(arms: Arms, label: str) -> dict[str, Any] | None:
    """Return the budget at which random search would do as well; None where neither the arm nor the baseline is one."""
    searches = {
        arm["label"] for arm in arms.document["arms"] if arm["optimizer"] == "random_search" and not arm["replay"]
    }
    pool_arm = next((name for name in (arms.baseline, label) if name in searches), None)
    if pool_arm is None:
        return None
    arm = label if pool_arm == arms.baseline else arms.baseline
    pool = [[arms.oriented(value) for value in found["finals"]] for found in arms.of_arm(pool_arm)]
    values = [arms.score(found["validation"]) for found in arms.of_arm(arm)]
    if not all(pool) or not np.isfinite(values).all() or not np.isfinite(np.concatenate(pool)).any():
        return None
    return {"pool_arm": pool_arm, "arm": arm, **asdict(budget_equivalence(pool, values, alpha=arms.alpha))}


def target_times(arms: Arms) -> dict[str, Any] | None:
    """Return when each arm's incumbent reached the target that the study states; None where it states none."""
    target = arms.document["comparison"]["target"]
    if target is None:
        return None
    found = {}
    for label in arms.labels:
        curves = arms.curves(label)
        found[label] = asdict(time_to_target(curves, arms.oriented(target), _budgets(arms, curves.shape[1])))
    return {"target": target, "arms": found}


def ranks(arms: Arms) -> dict[str, list[float]]:
    """Return the mean rank of every arm's incumbent along the budget; 1 is the best."""
    found = mean_ranks({label: arms.curves(label) for label in arms.labels})
    return {label: list(values) for label, values in found.items()}


def _budgets(arms: Arms, points: int) -> list[int]:
    """Return the intervals charged at each point of the incumbent curves: one more for each member of the population."""
    size = int(arms.document["study"]["study"]["population_size"])
    return [size * (point + 1) for point in range(points)]
