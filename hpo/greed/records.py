"""What `hpo greed` measures, as records: gains in perturbation intervals, final scores, and their means over seeds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hpo.core.task import Metric
from hpo.statistics import bootstrap_t_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Gains:
    """What was gained within whole perturbation intervals. Scores are oriented: larger is better.

    Args:
        start: the interval of the study at which each of them began, shape (n,).
        gained: the score after it minus the score before it.
        greedy: the most that could have been gained from the same state with constant hyperparameters.
    """

    start: NDArray[np.int64]
    gained: Floats
    greedy: Floats

    @staticmethod
    def of(rows: Sequence[tuple[int, float, float]]) -> "Gains":
        """Return the gains of rows (start, gained, greedy)."""
        columns = np.array(rows, dtype=np.float64).reshape(-1, 3)
        return Gains(columns[:, 0].astype(np.int64), columns[:, 1], columns[:, 2])

    @property
    def missed(self) -> Floats:
        """What was missed of the greedy gain, shape (n,); below 0 where hyperparameters that changed on the way gained more."""
        return self.greedy - self.gained

    @property
    def mean_missed(self) -> float:
        """The mean over all intervals."""
        return float(self.missed.mean())

    @property
    def share_missed(self) -> float | None:
        """What was missed as a share of the greedy gain, over all intervals together; None if there was nothing to gain."""
        total = float(self.greedy.sum())
        return float(self.missed.sum()) / total if total > 0 else None


@dataclass(frozen=True)
class ArmGreed:
    """An arm's gains, and its final scores.

    Args:
        label: of the arm.
        gains: of all members, by replicate.
        finals: the score of each replicate's answer, shape (replicates,).
    """

    label: str
    gains: tuple[Gains, ...]
    finals: Floats

    @property
    def missed(self) -> Floats:
        """The mean gain that members missed in an interval, by replicate."""
        return np.array([gains.mean_missed for gains in self.gains])

    @property
    def shares(self) -> Floats:
        """The share of the greedy gain that they missed, by replicate; NaN if there was nothing to gain."""
        return np.array([np.nan if gains.share_missed is None else gains.share_missed for gains in self.gains])


@dataclass(frozen=True)
class Policy:
    """One member that follows a rule from the initialization to the end of the budget.

    Args:
        label: what the rule does.
        gains: along its training.
        final: its last score.
    """

    label: str
    gains: Gains
    final: float


@dataclass(frozen=True)
class Greed:
    """How greedy the arms of a run are, and what greed costs.

    Args:
        name: of the study.
        metric: the primary metric, in whose unit gains are; scores here are oriented, so that larger is better.
        unit: of training.
        every: the length of a perturbation interval, in this unit.
        interval: the length of an interval of the study, in this unit.
        seeds: the finished replicates.
        arms: in the study's order.
        greedy: the policy that takes the greedy choice at every perturbation interval.
        best: the best known schedule.
    """

    name: str
    metric: Metric
    unit: str
    every: float
    interval: float
    seeds: tuple[int, ...]
    arms: tuple[ArmGreed, ...]
    greedy: Policy
    best: Policy

    @property
    def cost(self) -> float:
        """What following greed costs in the end: the best known schedule's final score minus the greedy policy's."""
        return self.best.final - self.greedy.final


def interval_of(values: Floats) -> tuple[float, float] | None:
    """Return the 95% bootstrap-t interval of the mean of one value per seed; None with fewer than four, or if all are equal."""
    found = bootstrap_t_interval(values)
    return None if found is None or found.low is None or found.high is None else (found.low, found.high)
