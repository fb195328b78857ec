"""What a running study reports to observers, such as progress bars and trackers.

Each event is a call of one method of `Observer` with one frozen record of plain values. In the order in which they happen::

    started(StudyStarted)                    # all checks have passed
    job_started(JobStarted)                  # a worker begins a segment or a test
    job_ended(JobEnded)                      # ... and has returned it
    segment(SegmentDone)                     # an arm got the result of a segment
    tested(Tested)                           # an arm got the test result of a retrained model
    finished_replicate(ReplicateDone)        # all arms of a seed are done
    warning(text)                            # at any time after `started`
    stopped(StudyStopped)                    # done, out of time, interrupted or failed

A study that continues reports the segments and tests that it knows already once more, with `computed = False`. So a new observer
sees the whole study, and one that keeps what it sees must skip what it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hpo.core.segments import HParams, ShrinkPerturb
from hpo.core.space import SearchSpace
from hpo.core.task import Metric

Place = tuple[int, str, int, int]
"""What identifies a segment of a search in a study: seed, arm, member and interval."""
JobKind = Literal["search", "retraining", "test", "checkpoint"]


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """One arm of a study.

    Args:
        label: its name.
        optimizer: the registered name of its optimizer.
        retrained: the number of intervals that are retrained in each replicate.
        tests: the number of models that are tested in each replicate.
    """

    label: str
    optimizer: str
    retrained: int
    tests: int


@dataclass(frozen=True, slots=True)
class StudyStarted:
    """A study that starts or continues.

    Args:
        name: of the study.
        run_dir: its run directory, as the user gave it.
        arms: in the order of the study file.
        seeds: the seeds that run now, one per replicate.
        planned_seeds: all seeds of the study.
        space: the hyperparameters by name.
        metrics: of the validation part, the primary one first; a segment may have further ones.
        population_size: the number of members, or of trials of a function.
        intervals: the budget of one member.
        interval: the length of an interval, in `unit`.
        unit: of the budget, such as `epochs`.
        is_function: whether members are trials of a function: one interval each.
        is_tested: whether the best models are tested on a test set.
        compared: the metric by which the study compares its arms; None if it compares nothing.
        may_end_early: the study stops as soon as its comparison is decided.
        workers: how many jobs run at a time.
        notes: what is worth knowing before it starts, such as too few seeds to decide anything.
    """

    name: str
    run_dir: Path
    arms: tuple[ArmPlan, ...]
    seeds: tuple[int, ...]
    planned_seeds: tuple[int, ...]
    space: SearchSpace
    metrics: tuple[Metric, ...]
    population_size: int
    intervals: int
    interval: float
    unit: str
    is_function: bool
    is_tested: bool
    compared: str | None
    may_end_early: bool
    workers: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A job that a worker has begun.

    Args:
        number: counts the jobs of this session.
        worker: a number from 0 up to the number of workers - 1, which no other job in flight has. It stands for no particular
            process: executors distribute jobs themselves.
        kind: `search` or `retraining`, a segment of one; `test`, of a retrained model; `checkpoint`, a segment that runs again
            because its checkpoint is gone.
        seed: the replicate's seed.
        arm: the label of the arm that asked for it first.
        member: of the segment.
        interval: of the segment.
    """

    number: int
    worker: int
    kind: JobKind
    seed: int
    arm: str
    member: int
    interval: int


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job that a worker has returned.

    Args:
        job: the job.
        seconds: how long it took on its worker.
        retries: how many workers died on it before.
    """

    job: JobStarted
    seconds: float
    retries: int


@dataclass(frozen=True, slots=True)
class SegmentDone:
    """The result of a segment: a member trained through one interval.

    Args:
        seed: the replicate's seed.
        arm: the label of the arm.
        member: the member.
        interval: 0, 1, 2, ...
        parent_member: the member whose checkpoint it started from, its own or another; None: it started from its initialization.
        parent_interval: the interval after which that checkpoint was saved. Usually the one before; an earlier one if the member
            went back. None at an initialization, and in a tracker, which reads segments.csv.
        hparams: the hyperparameters it trained with.
        metrics: validation metrics by name; empty if it diverged, and in a retraining.
        diverged: a loss, a metric or a parameter was not finite.
        computed: this session computed it, and this arm is the first to get it.
        retraining: it trained on all development data, along the lineage of the best.
        transform: what happened to the weights before it trained.
    """

    seed: int
    arm: str
    member: int
    interval: int
    parent_member: int | None
    parent_interval: int | None
    hparams: HParams
    metrics: Mapping[str, float]
    diverged: bool
    computed: bool
    retraining: bool
    transform: ShrinkPerturb | None = None

    @property
    def place(self) -> Place:
        """What identifies it among the segments of all searches: seed, arm, member and interval."""
        return self.seed, self.arm, self.member, self.interval


@dataclass(frozen=True, slots=True)
class Tested:
    """The test result of one retrained model.

    Args:
        seed: the replicate's seed.
        arm: the label of the arm.
        member: the member that the model's lineage ends with.
        metrics: test metrics by name; those that were not finite are left out.
        diverged: a metric was not finite.
        computed: this session computed it, and this arm is the first to get it.
    """

    __test__ = False  # no test case for pytest

    seed: int
    arm: str
    member: int
    metrics: Mapping[str, float]
    diverged: bool
    computed: bool


@dataclass(frozen=True, slots=True)
class ReplicateDone:
    """All arms of a replicate are done.

    Args:
        seed: the replicate's seed.
        tests: its test metrics by arm, the mean over retrains; None where a model diverged. Of a task without a test set, the
            validation metrics of the best.
        done: the number of finished replicates of the study.
    """

    seed: int
    tests: Mapping[str, Mapping[str, float | None]]
    done: int


@dataclass(frozen=True, slots=True)
class StudyStopped:
    """The end of a session.

    Args:
        reason: `done` (all that was to run has run), `out of time`, `interrupted` or `failed`.
        message: the error of a study that failed, the signal of one that was interrupted; otherwise empty.
    """

    reason: Literal["done", "out of time", "interrupted", "failed"]
    message: str = ""


class Observer:
    """Receives events while a study runs. Override the methods that you need.

    They are called in the process that coordinates the study, one after another: a slow one slows the study. The first exception of
    each kind in each of them becomes a warning.
    """

    def started(self, study: StudyStarted) -> None:
        """All checks have passed; work begins."""

    def job_started(self, job: JobStarted) -> None:
        """A worker begins a job."""

    def job_ended(self, job: JobEnded) -> None:
        """A worker has returned a job."""

    def segment(self, segment: SegmentDone) -> None:
        """An arm got the result of a segment, from a worker or from the store."""

    def tested(self, test: Tested) -> None:
        """An arm got the test result of a retrained model, from a worker or from the store."""

    def finished_replicate(self, replicate: ReplicateDone) -> None:
        """All arms of a replicate are done."""

    def warning(self, text: str) -> None:
        """The study has issued a warning. It goes to the standard error, too."""

    def stopped(self, end: StudyStopped) -> None:
        """The session ends. The final results.json and the report are written after this."""
