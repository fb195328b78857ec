"""The records of a store."""

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
        segment: the segment.
        metrics: validation metrics; empty if it diverged or was not evaluated.
        diverged: whether it diverged; then there is no checkpoint.
        checkpoint: its state; None if it diverged or the checkpoint was evicted.
    """

    segment: Segment
    metrics: Mapping[str, float]
    diverged: bool
    checkpoint: Checkpoint | None


@dataclass(frozen=True)
class TestResult:
    """The test result of one retrained model.

    Args:
        metrics: by name; values that were not finite are left out.
        correct: for each example, in the test set's order; None for metrics without right and wrong.
        fingerprint: of the test set.
        diverged: a metric was not finite.
    """

    __test__ = False  # no test case for pytest

    metrics: Mapping[str, float]
    correct: NDArray[np.bool_] | None
    fingerprint: str
    diverged: bool
