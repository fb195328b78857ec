"""What travels between a coordinator and its workers: plain records, never objects of the user's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hpo.core.checkpoints import Checkpoint
from hpo.core.layout import CHECKPOINTS
from hpo.core.segments import Key, Segment
from hpo.study.bound import BoundTask, TaskDescription
from hpo.study.importing import own_path


@dataclass(frozen=True)
class Context:
    """What all jobs of a run share; sent to each worker once.

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
class SegmentJob:
    """Run one segment.

    Args:
        key: its content key.
        segment: what to do.
        seed: the replicate's seed.
        stream: the arm's stream.
        parent: the state to start from; None: from the slot's initialization.
    """

    key: Key
    segment: Segment
    seed: int
    stream: int
    parent: Checkpoint | None

    def __str__(self) -> str:
        segment = self.segment
        return (
            f"segment {self.key[:12]} (seed {self.seed}, member {segment.member}, interval {segment.interval},"
            f" {segment.split} split, {dict(segment.hparams)})"
        )


@dataclass(frozen=True, slots=True)
class TestJob:
    """Evaluate a retrained model on the test set.

    Args:
        key: the content key of the segment it was retrained to.
        segment: that segment.
        seed: the replicate's seed.
        stream: the arm's stream.
        parent: its state; None: it diverged.
    """

    __test__ = False  # no test case for pytest

    key: Key
    segment: Segment
    seed: int
    stream: int
    parent: Checkpoint | None

    def __str__(self) -> str:
        return f"the test of the model retrained to segment {self.key[:12]} (seed {self.seed})"


Job = SegmentJob | TestJob


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a job.

    Args:
        job: the job.
        metrics: what the evaluation gave; empty when diverged or not evaluated.
        diverged: something was not finite.
        checkpoint: the new state; None when diverged, and for tests.
        correct: per example of the test set; None for segments.
        fingerprint: of the test set; empty for segments.
        parent_missing: the parent's checkpoint was not there, or damaged; nothing was done.
        error: the traceback of an exception in the task.
        seconds: how long it took on its worker.
        retries: how many workers died on it before.
        peak_memory: the most bytes of memory that its worker has held so far; 0 where nobody looked.
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

    `slots` says how many jobs it takes at a time. A caller submits while fewer are in flight, then waits::

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
        """Return the outcomes that are there; wait for one if there is none.

        Args:
            seconds: how long to wait at most; then there may be none. None: as long as it takes. An executor that cannot
                stop waiting may take longer.
        """

    def close(self) -> None:
        """Stop everything at once; jobs in flight are lost."""
