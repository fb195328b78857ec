"""The records of results.json side by side: values by arm, in the order of the replicates."""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Arms:
    """A study's arms, side by side.

    Args:
        document: what results.json holds, but for its statistics; it has a comparison.
        replicates: its replicates, in the order of their seeds.
        labels: of all arms.
        baseline: the label of the one that the others are compared with.
        metric: what is compared, as the task declares it.
        primary: the metric that the searches see.
    """

    document: Mapping[str, Any]
    replicates: Sequence[Mapping[str, Any]]
    labels: tuple[str, ...]
    baseline: str
    metric: Mapping[str, Any]
    primary: Mapping[str, Any]

    @staticmethod
    def of(document: Mapping[str, Any]) -> "Arms":
        """Return the arms of a study that has a comparison."""
        metrics = {metric["name"]: metric for metric in document["task"]["metrics"]}
        return Arms(
            document=document,
            replicates=document["replicates"],
            labels=tuple(arm["label"] for arm in document["arms"]),
            baseline=document["comparison"]["baseline"],
            metric=metrics[document["comparison"]["metric"]],
            primary=metrics[document["task"]["primary"]],
        )

    @property
    def others(self) -> tuple[str, ...]:
        """All arms but the baseline."""
        return tuple(label for label in self.labels if label != self.baseline)

    @property
    def alpha(self) -> float:
        """The family-wise level."""
        return float(self.document["comparison"]["alpha"])

    @property
    def rope(self) -> float | None:
        """Half the width of the region of practical equivalence; None where there is none."""
        rope: float | None = self.document["comparison"]["rope"]
        return rope

    @property
    def is_anytime(self) -> bool:
        """Whether replicates are added until it is decided."""
        return bool(self.document["comparison"]["stopping"] == "anytime")

    def of_arm(self, label: str) -> list[Mapping[str, Any]]:
        """Return an arm's entries."""
        return [replicate["arms"][label] for replicate in self.replicates]

    def tests(self, label: str) -> list[Mapping[str, Any]]:
        """Return an arm's test metrics."""
        return [arm["test"] for arm in self.of_arm(label)]

    def values(self, label: str) -> list[float] | None:
        """Return an arm's test values of the compared metric; None where one is missing."""
        found = [test[self.metric["name"]] for test in self.tests(label)]
        return None if None in found else found

    def counts(self, *labels: str) -> tuple[list[int], ...] | None:
        """Return the integers behind the rates of some arms: exact tests are on integers, where ties are exact.

        None where there are none, or not of one number of examples.
        """
        name = self.metric["counts"]
        sides = [self.tests(label) for label in labels]
        totals = {test.get("count") for side in sides for test in side}
        if name is None or len(totals) != 1 or None in totals:
            return None
        return tuple([test[name] for test in side] for side in sides)

    def curves(self, label: str) -> Floats:
        """Return an arm's incumbents, shape (replicates, points), so that larger is better."""
        rows = [[self.oriented(value) for value in arm["incumbent"]] for arm in self.of_arm(label)]
        return np.array(rows, dtype=np.float64)

    def score(self, metrics: Mapping[str, Any]) -> float:
        """Return the primary metric so that larger is better; NaN where it is undefined."""
        return self.oriented(metrics.get(self.primary["name"]))

    def oriented(self, value: float | None) -> float:
        """Return a value of the primary metric so that larger is better; NaN where it is undefined."""
        if value is None:
            return math.nan
        return value if self.primary["direction"] == "maximize" else -value


def correctness(arm: Mapping[str, Any]) -> Floats | None:
    """Return for each test example in how many of an arm's retrains it was right, as a share; None where that means nothing."""
    packed = arm["correct"]
    if packed is None:
        return None
    rows = [np.frombuffer(base64.b64decode(bits), np.uint8) for bits in packed["bits"]]
    return np.asarray(np.unpackbits(np.stack(rows), axis=1, count=packed["count"]).mean(axis=0))
