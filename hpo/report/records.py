"""The frozen records that a report is made from: `results.json`, `segments.csv` and `execution.json` once validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hpo.report.findings import (
    Anytime,
    BudgetEquivalence,
    Findings,
    Images,
    IncumbentBand,
    Measurement,
    Numbers,
    Power,
    Registration,
)

#: A hyperparameter's value: a number for floats and ints, the text of a choice for categoricals, None where absent.
Value = float | str | None
Kind = Literal["float", "int", "categorical"]


@dataclass(frozen=True)
class Metric:
    """One of a task's metrics. `complement` and `counts` mark a rate between 0 and 1."""

    name: str
    direction: Literal["minimize", "maximize"]
    complement: str | None
    counts: str | None

    @property
    def is_rate(self) -> bool:
        """Whether it is shown as percent."""
        return self.complement is not None or self.counts is not None


@dataclass(frozen=True)
class Parameter:
    """One hyperparameter's range."""

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    choices: tuple[str, ...] = ()
    conditional: bool = False  # active only with some values of others


@dataclass(frozen=True)
class Task:
    """What was trained: its unit of budget, metrics and search space."""

    name: str
    unit: str
    primary: str
    metrics: tuple[Metric, ...]
    space: tuple[Parameter, ...]
    data: tuple[tuple[str, int], ...]  # ("train", 48000), ...; empty without data

    def metric(self, name: str) -> Metric:
        """A metric by name; one that the task did not declare is taken as a plain number."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        return Metric(name, "minimize", None, None)


@dataclass(frozen=True)
class Arm:
    """One configured optimizer. `options` is shown, never interpreted, but for `select` and `selection`."""

    label: str
    optimizer: str
    options: Mapping[str, object]
    stream: int
    derived_from: str | None = None  # whose answer it replays
    replay: str | None = None  # and how
    without: tuple[str, ...] = ()  # optional hyperparameters that it does not search


@dataclass(frozen=True)
class Step:
    """Equal hyperparameters over intervals [start, stop) of the best lineage."""

    member: int
    start: int
    stop: int
    hparams: Mapping[str, Value]


@dataclass(frozen=True)
class Outcome:
    """What one arm came to in one replicate."""

    validation: Mapping[str, Measurement]
    test: Mapping[str, Measurement]
    test_diverged: bool
    selected: tuple[int, int] | None  # member, interval
    schedule: tuple[Step, ...]
    ledger: Mapping[str, int]  # charged_intervals, computed_intervals, diverged, ...
    incumbent: tuple[Measurement, ...] = ()  # validation, the primary metric; entry j: after j + 1 intervals per member


@dataclass(frozen=True)
class Replicate:
    """One finished seed."""

    seed: int
    arms: Mapping[str, Outcome]


@dataclass(frozen=True)
class Comparison:
    """One arm against the baseline on the test set; differences are arm - baseline. None: undefined."""

    baseline: str
    arm: str
    metric: str
    n: int
    differences: tuple[Measurement, ...]
    mean: Measurement
    variance: Measurement
    p_sign_flip: Measurement
    p_holm: Measurement
    ci_low: Measurement
    ci_high: Measurement
    p_t: Measurement
    verdict: str  # its kind, for example "better"
    words: str
    d_z: Measurement = None
    level: Measurement = None  # at which the verdict was decided, and of every interval; None where nothing was tested
    p_tost_holm: Measurement = None
    numbers: Numbers | None = None
    power: Power | None = None
    images: Images | None = None
    incumbent: IncumbentBand | None = None
    budget: BudgetEquivalence | None = None
    anytime: Anytime | None = None

    @property
    def exploratory(self) -> bool:
        """Whether the plan was extended or changed after looking: its p values decide nothing."""
        return self.verdict.replace("_", " ").endswith("after looking")


@dataclass(frozen=True)
class Plan:
    """What the study is to decide."""

    baseline: str
    metric: str
    direction: Literal["minimize", "maximize"]
    alpha: float
    rope: Measurement
    target: Measurement
    stopping: Literal["fixed", "anytime"]


@dataclass(frozen=True)
class Results:
    """The whole of `results.json`."""

    name: str
    task: Task
    study: Mapping[str, object]  # the study file as run, for display
    environment: Mapping[str, object]
    planned_seeds: tuple[int, ...]
    intervals: int  # per member
    interval: float  # in the task's unit
    arms: tuple[Arm, ...]
    replicates: tuple[Replicate, ...]
    comparisons: tuple[Comparison, ...]
    metric: str  # what is compared: the comparison's metric, else the task's primary one
    plan: Plan | None  # None: nothing is compared
    registration: Registration | None
    retrains: int
    findings: Findings

    @property
    def baseline(self) -> str | None:
        """What the arms are compared with."""
        return self.plan.baseline if self.plan else None

    @property
    def anytime(self) -> bool:
        """Whether replicates are added until the anytime-valid test decides."""
        return self.plan is not None and self.plan.stopping == "anytime"

    @property
    def exploratory(self) -> bool:
        """Whether some comparison was extended or changed after looking."""
        return any(comparison.exploratory for comparison in self.comparisons)

    @property
    def confidence(self) -> str:
        """The level of the intervals, for example ``95%``."""
        return f"{100 * (1 - (self.plan.alpha if self.plan else 0.05)):.6g}%"

    @property
    def finished(self) -> int:
        """How many of the planned replicates are done."""
        done = {replicate.seed for replicate in self.replicates}
        return sum(seed in done for seed in self.planned_seeds)

    @property
    def in_progress(self) -> bool:
        """Whether planned replicates are missing: then no fixed-n test may be shown.

        A study that stops when it is decided is complete as soon as it is, with fewer replicates than its most.
        """
        missing = self.finished < len(self.planned_seeds)
        if self.anytime and self.comparisons:
            return missing and any(c.verdict.replace("_", " ") == "in progress" for c in self.comparisons)
        return missing


@dataclass(frozen=True)
class SegmentRow:
    """One line of `segments.csv`: a member after one interval of the search. `parent` is None at a root."""

    arm: str
    member: int
    interval: int
    parent: int | None
    best: bool
    diverged: bool
    hparams: Mapping[str, Value]
    metrics: Mapping[str, Measurement]


@dataclass(frozen=True)
class Spread:
    """How all members of an arm in a replicate are spread, where only some of their rows are there."""

    members: int  # all of them
    shown: int  # whose rows are there
    every: int  # rows are there, and quantiles, of every so many intervals
    quantiles: Mapping[int, tuple[float, ...]]  # by interval: of the primary metric, at 5, 25, 50, 75 and 95%


@dataclass(frozen=True)
class Sitting:
    """One run of the program over this run directory (`execution.json`), each entry shown as written."""

    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Run:
    """Everything a report is made from.

    `segments` holds the rows of each seed, in the file's order; `spreads`, by seed and arm, the whole where they are a part.
    """

    results: Results
    segments: Mapping[int, tuple[SegmentRow, ...]]
    has_segments: bool
    sittings: tuple[Sitting, ...]
    spreads: Mapping[int, Mapping[str, Spread]] = field(default_factory=dict)
