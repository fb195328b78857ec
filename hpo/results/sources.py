"""Where a difference comes from: seeds, test examples, the search or the training."""

from dataclasses import replace

import numpy as np

from hpo.results.arms import Arms
from hpo.results.document import ExampleNumbers
from hpo.statistics import NestedVariance, PairedComparison, crossed_interval, nested_variance, noise_floor


def images(arms: Arms, label: str, tested: PairedComparison) -> ExampleNumbers | None:
    """Return the comparisons of an arm with the baseline by test example; None if the examples are not counted.

    The intervals have the level of the comparison's own. The interval for new images contains the deciding one, which is for
    this test set alone.
    """
    if arms.metric.counts is None:
        return None
    sides = [[arm.correct for arm in arms.of_arm(name)] for name in (arms.baseline, label)]
    # As a share of an arm's retrains.
    rows = [[correct.rows().mean(axis=0) for correct in side if correct is not None] for side in sides]
    if len(rows[0]) + len(rows[1]) < 2 * len(sides[0]) or len({len(row) for side in rows for row in side}) != 1:
        return None
    a, b = map(np.stack, rows)
    # The difference of the metric: of wrong answers for an error, of right ones for an accuracy.
    first, second = (a, b) if arms.metric.direction == "minimize" else (b, a)
    crossed = crossed_interval(first, second, alpha=1 - tested.confidence)
    if crossed.interval_crossed is not None and tested.sign_flip_interval is not None:
        crossed = replace(crossed, interval_crossed=crossed.interval_crossed.hull(tested.sign_flip_interval))
    return ExampleNumbers(crossed, noise_floor(first, second))


def retraining(arms: Arms, label: str) -> NestedVariance | None:
    """Return how an arm's test metric varies between searches and between the retrains of a search; None with one retrain."""
    rows = [[test[arms.metric.name] for test in arm.tests] for arm in arms.of_arm(label)]
    known = [[value for value in row if value is not None] for row in rows]
    if len(rows[0]) < 2 or list(map(len, known)) != list(map(len, rows)):
        return None
    return nested_variance(known)
