"""The records between a coordinator and its workers: names and values, no objects of the user's.

- `Context` goes to each worker once: what the task is built from, and what all jobs of the run share.
- `Job` goes out: a segment to train or a model to test. The scheduler makes one for each request of an arm.
- `Outcome` comes back: the result of the job, or why there is none.

The store keeps outcomes as `Stored` (a segment) and `TestResult` (a test); an optimizer gets a segment's `Result`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpo.core.checkpoints import Checkpoint
from hpo.core.run_files import CHECKPOINTS
from hpo.core.segments import Key, Segment
from hpo.study.bound import BoundTask, TaskDescription
from hpo.study.importing import own_path

JobId = tuple[Key, bool]
"""A segment's key, and whether the job is the model's test."""


@dataclass(frozen=True)
class Context:
    """Everything that all jobs of a run share; sent to each worker once.

    Args:
        task: what the worker builds the task from.
        numerics: a worker with other numerics is refused.
        interval: the length of an interval in the task's unit.
        intervals: the budget of one member, in intervals.
        checkpoints: the folder of checkpoint files.
        python_path: the coordinator's `sys.path`, without the folders of studies.
    """

    task: TaskDescription
    numerics: Mapping[str, str]
    interval: Fraction
    intervals: int
    checkpoints: str
    python_path: tuple[str, ...]

    @staticmethod
    def of(
        bound: BoundTask, numerics: Mapping[str, str], interval: Fraction, intervals: int, folder: Path
    ) -> "Context":
        """Return the context of a run whose checkpoints are in the folder `checkpoints` of a folder."""
        files = folder.resolve() / CHECKPOINTS
        return Context(bound.description(), numerics, interval, intervals, str(files), own_path())


@dataclass(frozen=True, slots=True)
class Job:
    """Something to compute: a segment, or the test of the model at a segment.

    Args:
        key: the segment's content key.
        segment: what to train.
        seed: the replicate's seed.
        stream: the arm's stream.
        parent: the state to start from, set when the job is submitted. None: the slot's initialization; for a test, the model
            diverged.
        test: evaluate the segment's model on the test set, instead of training.
        state: the segment's checkpoint is needed, too: compute a lost one again.
    """

    key: Key
    segment: Segment
    seed: int
    stream: int
    parent: Checkpoint | None = None
    test: bool = False
    state: bool = False

    @property
    def id(self) -> JobId:
        """The job's identity."""
        return self.key, self.test

    @property
    def starts_from(self) -> Key | None:
        """The segment whose state it starts from; None for a root."""
        return self.key if self.test else self.segment.parent

    def __str__(self) -> str:
        if self.test:
            return f"the test of the model retrained to segment {self.key[:12]} (seed {self.seed})"
        segment = self.segment
        return (
            f"segment {self.key[:12]} (seed {self.seed}, member {segment.member}, interval {segment.interval},"
            f" {segment.split} split, {dict(segment.hparams)})"
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a job.

    Args:
        job: the job.
        metrics: from the evaluation; empty if the model diverged or was not evaluated.
        diverged: a metric or a parameter was not finite.
        checkpoint: the new state; None for a test, or if the model diverged.
        correct: per example of the test set; None for segments.
        fingerprint: of the test set; empty for segments.
        parent_missing: the parent's checkpoint was missing or damaged; nothing was computed.
        error: the traceback of an exception in the task.
        seconds: how long it took on its worker.
        retries: how many workers died on the job before.
        peak_memory: its worker's peak memory so far, in bytes; 0 if unknown.
    """

    job: Job
    metrics: Mapping[str, float]
    diverged: bool = False
    checkpoint: Checkpoint | None = None
    correct: NDArray[np.bool_] | None = None
    fingerprint: str = ""
    parent_missing: bool = False
    error: str | None = None
    seconds: float = 0.0
    retries: int = 0
    peak_memory: int = 0


class Executor(Protocol):
    """Runs jobs, some at once, in any order.

    `slots` is the number of jobs that it takes at a time. A caller submits while fewer are in flight, then waits::

        submit(a); submit(b)     # slots = 2
        wait()                   -> [outcome of b]
        submit(c)
        wait()                   -> [outcome of a, outcome of c]
    """

    @property
    def slots(self) -> int:
        """How many jobs it takes at a time."""

    def submit(self, job: Job) -> None:
        """Start a job."""

    def wait(self, seconds: float | None = None) -> Sequence[Outcome]:
        """Return the outcomes so far, or wait for one.

        Args:
            seconds: wait no longer than this, and possibly return nothing. None: no limit. An executor in this process may take
                longer.
        """

    def close(self) -> None:
        """Stop everything at once; jobs in flight are lost."""
