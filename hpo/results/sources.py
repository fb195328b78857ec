"""Where a difference comes from: seeds, test examples, the search or the training."""

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from hpo.results.arms import Arms, correctness
from hpo.statistics import PairedComparison, crossed_interval, nested_variance, noise_floor


def images(arms: Arms, label: str, tested: PairedComparison) -> dict[str, Any] | None:
    """Return what the correctness of every test example says of an arm and the baseline; None where it means nothing.

    The intervals have the level of the comparison's. That on new images too holds the one that decides, which is on this test
    set alone.
    """
    if arms.metric["counts"] is None:
        return None
    sides = {name: [correctness(arm) for arm in arms.of_arm(name)] for name in (arms.baseline, label)}
    rows = [row for side in sides.values() for row in side]
    if any(row is None for row in rows) or len({len(row) for row in rows if row is not None}) != 1:
        return None
    a, b = (np.stack([row for row in side if row is not None]) for side in sides.values())
    # The difference of the metric: of wrong answers for an error, of right ones for an accuracy.
    first, second = (a, b) if arms.metric["direction"] == "minimize" else (b, a)
    crossed = crossed_interval(first, second, alpha=1 - tested.confidence)
    if crossed.interval_crossed is not None and tested.sign_flip_interval is not None:
        crossed = replace(crossed, interval_crossed=crossed.interval_crossed.holding(tested.sign_flip_interval))
    return {
        "crossed": asdict(crossed),
        "noise_floor": asdict(noise_floor(first, second)),
    }


def retraining(arms: Arms, label: str) -> dict[str, Any] | None:
    """Return how an arm's test metric varies from search to search, and between the retrains of one; None where there is one."""
    name = arms.metric["name"]
    rows = [[test[name] for test in arm["tests"]] for arm in arms.of_arm(label)]
    if len(rows[0]) < 2 or any(value is None for row in rows for value in row):
        return None
    return asdict(nested_variance(rows))
