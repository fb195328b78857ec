"""Where a difference comes from: seeds, test examples, the selection, the search or the training."""

import math
from dataclasses import asdict
from typing import Any

import numpy as np

from hpo.comparisons.records import Arms, correctness, unpacked
from hpo.statistics import compare_paired, crossed_interval, mcnemar_test, nested_variance, noise_floor


def images(arms: Arms, label: str) -> dict[str, Any] | None:
    """Return what the correctness of every test example says of an arm and the baseline; None where it means nothing."""
    if arms.metric["counts"] is None:
        return None
    sides = {name: [correctness(arm) for arm in arms.of_arm(name)] for name in (arms.baseline, label)}
    rows = [row for side in sides.values() for row in side]
    if any(row is None for row in rows) or len({len(row) for row in rows if row is not None}) != 1:
        return None
    a, b = (np.stack([row for row in side if row is not None]) for side in sides.values())
    # The difference of the metric: of wrong answers for an error, of right ones for an accuracy.
    first, second = (a, b) if arms.metric["direction"] == "minimize" else (b, a)
    best = {name: _best_replicate(arms, name) for name in sides}
    models = (unpacked(arms.of_arm(name)[at]) for name, at in best.items())
    return {
        "crossed": asdict(crossed_interval(first, second, alpha=arms.alpha)),
        "noise_floor": asdict(noise_floor(first, second)),
        "mcnemar": {
            "seed_baseline": arms.replicates[best[arms.baseline]]["seed"],
            "seed_arm": arms.replicates[best[label]]["seed"],
            **asdict(mcnemar_test(*(rows[0] for rows in models if rows is not None))),
        },
    }


def _best_replicate(arms: Arms, label: str) -> int:
    """Return which replicate of an arm has the best validation score: the model that one would deploy."""
    scores = [arms.score(arm["validation"]) for arm in arms.of_arm(label)]
    return int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))


def winners_curse(arms: Arms, label: str) -> dict[str, Any] | None:
    """Return by how much an arm's selected validation score is better than the test score of the retrained model."""
    pairs = [(arms.score(arm["test"]), arms.score(arm["validation"])) for arm in arms.of_arm(label)]
    known = [pair for pair in pairs if not any(map(math.isnan, pair))]
    if not known:
        return None
    tests, validations = zip(*known, strict=True)
    found = compare_paired(tests, validations, alpha=arms.alpha)
    interval = None if found.ci_low is None else {"low": found.ci_low, "high": found.ci_high}
    return {"n": found.n, "mean": found.mean, "interval": interval}


def retraining(arms: Arms, label: str) -> dict[str, Any] | None:
    """Return how an arm's test metric varies from search to search, and between the retrains of one; None where there is one."""
    name = arms.metric["name"]
    rows = [[test[name] for test in arm["tests"]] for arm in arms.of_arm(label)]
    if len(rows[0]) < 2 or any(value is None for row in rows for value in row):
        return None
    return asdict(nested_variance(rows))
