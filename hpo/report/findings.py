"""The statistics of `results.json`, once validated: frozen records, None where something is undefined or not there.

Differences are arm - baseline in the metric's own unit and direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hpo.statistics.interval import Interval

Measurement = float | None


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests against the ROPE."""

    rope: float
    p: Measurement
    p_lower: Measurement
    p_upper: Measurement
    equivalent: bool
    within: bool  # whether the mean difference itself lies inside the ROPE


@dataclass(frozen=True)
class Numbers:
    """What stands beside the test that decides."""

    sign_flip_interval: Interval | None
    bootstrap_t: Interval | None
    bca: Interval | None
    wilcoxon_w: Measurement
    wilcoxon_p: Measurement
    sign_test_p: Measurement
    above: int
    below: int
    ties: int
    hodges_lehmann: Measurement
    hodges_lehmann_interval: Interval | None
    g_z: Measurement
    a12: Measurement
    cliffs_delta: Measurement
    win_share: Measurement
    correlation: Measurement
    unpaired_factor: Measurement
    equivalence: Equivalence | None


@dataclass(frozen=True)
class Power:
    """What so many seeds can show."""

    smallest_p: Measurement
    least_n: int | None
    detectable_d_z: Measurement


@dataclass(frozen=True)
class Crossed:
    """Seeds and test examples as crossed random effects, on the difference of the metric (a rate)."""

    mean: Measurement
    seed_interval: Interval | None  # new seeds, these examples
    image_interval: Interval | None  # new examples, these models
    interval: Interval | None  # new seeds and new examples
    truncated: bool
    df: Measurement


@dataclass(frozen=True)
class Images:
    """What the correctness of every test example says."""

    crossed: Crossed | None
    noise_floor: Measurement


@dataclass(frozen=True)
class IncumbentBand:
    """The difference of the incumbents' validation metric over the budget, with its simultaneous band.

    Its level is 1 - alpha / family: all arms and budgets share alpha.
    """

    budgets: tuple[float, ...]  # intervals charged
    mean: tuple[Measurement, ...]
    low: tuple[Measurement, ...]
    high: tuple[Measurement, ...]
    p: tuple[Measurement, ...]
    better_from: Measurement
    worse_from: Measurement
    alpha: float
    family: int  # arms that are compared with the baseline

    @property
    def confidence(self) -> str:
        """Its level, for example ``97.5%``."""
        return f"{100 * (1 - self.alpha / max(self.family, 1)):.4g}%"


@dataclass(frozen=True)
class BudgetEquivalence:
    """How many times its budget a random search would need, with the interval of that."""

    pool_arm: str
    arm: str
    ratio: float
    interval: Interval
    n: int  # seeds
    population_size: int


@dataclass(frozen=True)
class Anytime:
    """The sign e-process over the pairs in seed order, and its confidence sequence."""

    n: int
    log_e: float
    p: Measurement
    threshold: float
    alpha: float
    family: int  # arms that are tested against the baseline
    decided_at: int | None
    path: tuple[float, ...]
    interval: Interval | None
    intervals: tuple[Interval | None, ...]


@dataclass(frozen=True)
class ArmPair:
    """Two arms of the all-pairs table; the mean is that of b - a."""

    a: str
    b: str
    mean: Measurement
    p_sign_flip: Measurement
    p_holm: Measurement


@dataclass(frozen=True)
class Several:
    """All arms at once."""

    labels: tuple[str, ...]
    n: int
    mean_ranks: tuple[float, ...]
    statistic: Measurement
    p: Measurement
    method: str
    pairs: tuple[ArmPair, ...]


@dataclass(frozen=True)
class Retraining:
    """How one arm's test metric varies: from search to search, and between the retrains of one search."""

    n: int
    retrains: int
    variance_search: Measurement
    variance_training: Measurement
    truncated: bool
    share_search: Measurement


@dataclass(frozen=True)
class Times:
    """When the incumbent of each seed reached the target, in intervals charged; None: not within the budget."""

    reached: int
    n: int
    times: tuple[Measurement, ...]
    median: Measurement


@dataclass(frozen=True)
class TimeToTarget:
    """The target that the plan states, a value of the validation metric, and when each arm reached it."""

    target: Measurement
    arms: Mapping[str, Times]


@dataclass(frozen=True)
class Amendment:
    """A change of the plan, and how many test results had been seen by then."""

    tests_opened: int
    changes: tuple[str, ...]


@dataclass(frozen=True)
class Registration:
    """The plan as it was when the study began."""

    sha256: str
    amendments: tuple[Amendment, ...]


@dataclass(frozen=True)
class Findings:
    """What is said of all arms together."""

    several: Several | None = None
    retraining: Mapping[str, Retraining] | None = None
    target: TimeToTarget | None = None
    ranks: Mapping[str, tuple[Measurement, ...]] | None = None
