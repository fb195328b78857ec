"""Values of results.json by arm, in the order of the replicates."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.core.task import Metric
from hpo.results.document import ArmResult, DecisionRule, Evidence, Measurement, Metrics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """The values of a study's arms.

    Args:
        evidence: of the study.
        rule: the study's comparison.
    """

    evidence: Evidence
    rule: DecisionRule

    @property
    def baseline(self) -> str:
        """The label of the arm that the others are compared with."""
        return self.rule.baseline

    @property
    def metric(self) -> Metric:
        """What is compared."""
        return self.evidence.task.metric(self.rule.metric)

    @property
    def primary(self) -> Metric:
        """The primary metric, which the searches optimise."""
        return self.evidence.task.metric(self.evidence.task.primary)

    @property
    def others(self) -> tuple[str, ...]:
        """All arms but the baseline."""
        return tuple(label for label in self.evidence.labels if label != self.baseline)

    def of_arm(self, label: str) -> list[ArmResult]:
        """Return an arm's results."""
        return [replicate.arms[label] for replicate in self.evidence.replicates]

    def tests(self, label: str) -> list[Metrics]:
        """Return an arm's test metrics."""
        return [arm.test for arm in self.of_arm(label)]

    def values(self, label: str) -> list[float] | None:
        """Return an arm's test values of the compared metric; None if one is missing."""
        found = [test[self.metric.name] for test in self.tests(label)]
        known = [value for value in found if value is not None]
        return known if len(known) == len(found) else None

    def counts(self, *labels: str) -> tuple[list[int], ...] | None:
        """Return the integers behind the rates of some arms: exact tests are on integers, where ties are exact.

        None if there are none, or the numbers of examples differ.
        """
        name = self.metric.counts
        sides = [self.tests(label) for label in labels]
        totals = {test.get("count") for side in sides for test in side}
        if name is None or len(totals) != 1 or None in totals:
            return None
        counts = tuple([test.get(name) for test in side] for side in sides)
        known = tuple([count for count in side if isinstance(count, int)] for side in counts)
        return known if list(map(len, known)) == list(map(len, counts)) else None

    def curves(self, label: str) -> Floats:
        """Return an arm's incumbents, shape (replicates, points), so that larger is better."""
        rows = [[self.oriented(value) for value in arm.incumbent] for arm in self.of_arm(label)]
        return np.array(rows, dtype=np.float64)

    def score(self, metrics: Metrics) -> float:
        """Return the primary metric so that larger is better; NaN if it is undefined."""
        return self.oriented(metrics.get(self.primary.name))

    def oriented(self, value: Measurement) -> float:
        """Return a value of the primary metric so that larger is better; NaN if it is undefined."""
        return math.nan if value is None else self.primary.oriented(value)
