"""What a store keeps, as records."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.core.checkpoints import Checkpoint
from hpo.core.segments import Segment


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished segment.

    Args:
        segment: what was asked.
        metrics: validation metrics; empty when diverged or not evaluated.
        diverged: whether it diverged; then there is no checkpoint.
        checkpoint: its state; None when diverged, or when the checkpoint was evicted.
    """

    segment: Segment
    metrics: Mapping[str, float]
    diverged: bool
    checkpoint: Checkpoint | None


@dataclass(frozen=True)
class TestResult:
    """What the test set said of one retrained model.

    Args:
        metrics: numbers by name; those that were not finite are left out.
        correct: per example, in the test set's order; None where that means nothing.
        fingerprint: of the test set.
        diverged: a metric was not finite.
    """

    __test__ = False  # no test case for pytest

    metrics: Mapping[str, float]
    correct: NDArray[np.bool_] | None
    fingerprint: str
    diverged: bool
