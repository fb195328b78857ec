"""Runs one job: the pure function at the bottom of a study."""

import math
import time
import traceback
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.checkpoints import Checkpoint, CheckpointFiles, CheckpointMissing, decode, encode
from hpo.errors import HpoError
from hpo.execution.jobs import Job, Outcome, SegmentJob, TestJob
from hpo.protocols import Diverged, Evaluation, Examples, Task
from hpo.seeding import Streams, forked_generators
from hpo.segments import HParams, Split
from hpo.splits import DataPlan

Arrays = Mapping[str, NDArray[Any]]


def data_plan(task: Task[Any], interval: Fraction) -> DataPlan:
    """Return what a task's segments train on; its data is loaded here."""
    data = task.development_data()
    if data is None:
        return DataPlan(None, 0, 0, interval)
    return DataPlan(data, task.validation_size, task.batch_size, interval)  # type: ignore[attr-defined]


class Runner:
    """Runs jobs of one study in this process.

    Args:
        task: on its device.
        interval: the length of an interval in the task's unit.
        checkpoints: the folder of checkpoint files.
    """

    def __init__(self, task: Task[Any], interval: Fraction, checkpoints: Path) -> None:
        self._task = task
        self._plan = data_plan(task, interval)
        self._files = CheckpointFiles(checkpoints)

    def __call__(self, job: Job) -> Outcome:
        """Run a job. Never raises for what a task does: an exception is in the outcome."""
        start = time.perf_counter()
        try:
            with self._task.numerics_scope():
                outcome = self._segment(job) if isinstance(job, SegmentJob) else self._test(job)
        except CheckpointMissing:
            outcome = Outcome(job, {}, parent_missing=True)
        except OSError:
            raise  # a full disk, a vanished folder: not the task's doing
        except Exception:
            outcome = Outcome(job, {}, error=traceback.format_exc())
        object.__setattr__(outcome, "seconds", time.perf_counter() - start)
        return outcome

    def _segment(self, job: SegmentJob) -> Outcome:
        task, segment = self._task, job.segment
        streams = Streams(job.seed, job.stream)
        arrays = self._start_arrays(job, streams)
        try:
            with (
                forked_generators(streams.key("noise", member=segment.member, interval=segment.interval)),
                np.errstate(all="ignore"),
            ):
                state = self._restore(arrays, segment.hparams)
                state = task.train(
                    state, segment.hparams, self._plan.batches(job.seed, segment.split, segment.interval)
                )
                metrics: Mapping[str, float] = {}
                if segment.split is Split.SEARCH:
                    metrics = task.evaluate(state, self._plan.validation(job.seed)).metrics
                arrays = task.to_arrays(state)
        except Diverged:
            return Outcome(job, {}, diverged=True)
        if not all(map(math.isfinite, metrics.values())) or not _finite(arrays):
            return Outcome(job, {}, diverged=True)
        return Outcome(job, dict(metrics), checkpoint=self._files.write(encode(arrays)))

    def _test(self, job: TestJob) -> Outcome:
        task = self._task
        data = task.test_data()
        examples = None if data is None else Examples(data, np.arange(len(data)))
        with forked_generators(Streams(job.seed, job.stream).key("test")), np.errstate(all="ignore"):
            arrays = self._nowhere_finite(job) if job.parent is None else self._read(job.parent)
            evaluation: Evaluation = task.evaluate(self._restore(arrays, job.segment.hparams), examples)
        diverged = not all(map(math.isfinite, evaluation.metrics.values()))
        metrics = {name: value for name, value in evaluation.metrics.items() if math.isfinite(value)}
        fingerprint = "none" if data is None else data.fingerprint
        return Outcome(job, metrics, diverged, correct=evaluation.correct, fingerprint=fingerprint)

    def _nowhere_finite(self, job: TestJob) -> Arrays:
        """Return what stands for a model that diverged: its outputs are not finite, so all of them count as wrong."""
        arrays = self._task.to_arrays(self._task.initialize(job.segment.hparams))
        return {
            name: np.full_like(array, np.nan) if array.dtype.kind in "fc" else array for name, array in arrays.items()
        }

    def _start_arrays(self, job: SegmentJob, streams: Streams) -> Arrays:
        if job.parent is not None:
            return self._read(job.parent)
        # Not the arm's stream: all arms of a replicate start from the same initial population.
        with forked_generators(streams.key("initialize", member=job.segment.member, shared=True)):
            return self._task.to_arrays(self._task.initialize(job.segment.hparams))

    def _read(self, checkpoint: Checkpoint) -> Arrays:
        return decode(self._files.read(checkpoint))

    def _restore(self, arrays: Arrays, hparams: HParams) -> Any:
        state = self._task.from_arrays(arrays, hparams)
        for name, value in self._task.applied_hparams(state).items():
            if value != hparams[name]:
                raise HpoError(f"the task was to train with {name} = {hparams[name]!r}, but its state holds {value!r}")
        return state


def _finite(arrays: Arrays) -> bool:
    return all(bool(np.isfinite(array).all()) for array in arrays.values() if array.dtype.kind in "fc")
