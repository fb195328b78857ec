"""Runs one job: the pure function at the bottom of a study."""

import math
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hpo.core.checkpoints import Checkpoint, CheckpointFiles, CheckpointMissing, Checkpoints, decode, encode
from hpo.core.errors import HpoError, Interrupted, StoreError
from hpo.core.seeding import Seed, Streams, forked_generators
from hpo.core.segments import HParams, Split
from hpo.core.splits import DataPlan
from hpo.core.task import Batches, Dataset, Diverged, Evaluation, Examples, Metric, Task, evaluation_view
from hpo.execution.evaluation import checked
from hpo.execution.jobs import Job, Outcome

Arrays = Mapping[str, NDArray[Any]]
T = TypeVar("T")


def data_plan(task: Task[Any], interval: Fraction, intervals: int | None = None) -> DataPlan:
    """Load a task's data, and return the plan of what its segments train on.

    Args:
        task: the task.
        interval: the length of an interval in the task's unit.
        intervals: the budget of one member, in intervals; None if no segment depends on it.
    """
    budget = None if intervals is None else interval * intervals
    data = task.development_data()
    if data is None:
        return DataPlan(None, 0, 0, interval, budget)
    return DataPlan(data, task.validation_size, task.batch_size, interval, budget, task.drop_last)


class Runner:
    """Runs jobs of one study in this process.

    Args:
        task: on its device.
        interval: the length of an interval in the task's unit.
        checkpoints: the folder of checkpoint files, or another place for states.
        intervals: the budget of one member, in intervals; None if no segment depends on it.
        generators: seeds the global generators for each job; `seeded_generators` if somebody else restores them afterwards.
    """

    def __init__(
        self,
        task: Task[Any],
        interval: Fraction,
        checkpoints: Path | Checkpoints,
        intervals: int | None = None,
        generators: Callable[[int], AbstractContextManager[Seed]] = forked_generators,
    ) -> None:
        self._task = task
        self._generators = generators
        self._plan = data_plan(task, interval, intervals)
        self._files = CheckpointFiles(checkpoints) if isinstance(checkpoints, Path) else checkpoints

    @property
    def threads(self) -> int:
        """How many threads a member may use."""
        return self._task.threads

    def __call__(self, job: Job) -> Outcome:
        """Run a job. An exception in the task, of any class, is returned in the outcome.

        Raises:
            Interrupted: a signal ends this process.
            StoreError: a checkpoint cannot be written or read: a full disk, a vanished folder.
        """
        start = time.perf_counter()
        outcome = self._guarded(job, lambda: self._test(job) if job.test else self._segment(job))
        return replace(outcome, seconds=time.perf_counter() - start)

    def _guarded(self, job: Job, do: Callable[[], T]) -> T | Outcome:
        """Return the result of a part of a job, or an outcome with its exception."""
        try:
            with self._task.numerics_scope():
                return do()
        except CheckpointMissing:
            return Outcome(job, {}, parent_missing=True)
        except StoreError:
            raise
        except Diverged:
            return Outcome(job, {}, diverged=True)
        except Interrupted:
            raise
        except BaseException as error:
            return Outcome(job, {}, error=_traceback(error))

    def _segment(self, job: Job) -> Outcome:
        segment = job.segment
        initializes = job.parent is None and not self._task.is_function
        with self._generators(initialization(job) if initializes else noise(job)) as seed:
            arrays = self._start_arrays(job)
            with np.errstate(all="ignore"):
                state, at_start = self._started(job, arrays, seed, reseed=initializes)
                state = self._task.train(state, segment.hparams, self._batches_of(job))
                return self._finished(job, state, at_start)

    def _started(self, job: Job, arrays: Arrays, seed: Seed, *, reseed: bool) -> tuple[Any, Mapping[str, float]]:
        """Return the state that a segment trains, and its metrics before that if the segment is `scored_at_start`.

        Args:
            job: the job.
            arrays: the state of its parent, or a new one.
            seed: seeds the global generators.
            reseed: whether to start the stream of the training's noise again; always done after other draws.
        """
        segment = job.segment
        at_start: Mapping[str, float] = {}
        if segment.transform is not None:
            seed(Streams(job.seed).key("initialize", member=segment.member, interval=segment.interval, shared=True))
            fresh = self._task.initialize(segment.hparams)
            state = self._task.shrink_perturb(self._restore(arrays, segment.hparams), fresh, segment.transform)
            arrays = self._task.to_arrays(state)
            reseed = True
        if segment.scored_at_start and segment.split is Split.SEARCH:
            seed(noise(job, "evaluation_at_start"))
            at_start = self._score_at_start(job, self._restore(arrays, segment.hparams))
            reseed = True
        if reseed:
            seed(noise(job))
        return self._restore(arrays, segment.hparams), at_start

    def _score_at_start(self, job: Job, state: Any) -> Mapping[str, float]:
        primary = self._task.metrics[0]
        value = self._evaluated(state, self._plan.validation(job.seed)).metrics[primary.name]
        return {primary.at_start: value} if math.isfinite(value) else {}

    def _finished(self, job: Job, state: Any, at_start: Mapping[str, float]) -> Outcome:
        """Evaluate a state that was trained, and keep it."""
        metrics: Mapping[str, float] = {}
        if job.segment.split is Split.SEARCH:
            metrics = {**self._evaluated(state, self._plan.validation(job.seed)).metrics, **at_start}
        arrays = self._task.to_arrays(state)
        if not all(map(math.isfinite, metrics.values())) or not self._task.is_finite(arrays):
            return Outcome(job, {}, diverged=True)
        return Outcome(job, metrics, checkpoint=self._files.write(encode(arrays)))

    def _test(self, job: Job) -> Outcome:
        task = self._task
        data = task.test_data()
        fingerprint = "none" if data is None else data.fingerprint
        if job.parent is None:
            return self._all_wrong(job, data, fingerprint)
        examples = None if data is None else Examples(evaluation_view(data), np.arange(len(data)))
        try:
            with self._generators(Streams(job.seed, job.stream).key("test")), np.errstate(all="ignore"):
                state = self._restore(self._read(job.parent), job.segment.hparams)
                evaluation = self._evaluated(state, examples)
        except Diverged:
            return self._all_wrong(job, data, fingerprint)
        diverged = not all(map(math.isfinite, evaluation.metrics.values()))
        metrics = {name: value for name, value in evaluation.metrics.items() if math.isfinite(value)}
        metrics |= self._worst([metric for metric in task.metrics if metric.name not in metrics], data)
        return Outcome(job, metrics, diverged, correct=evaluation.correct, fingerprint=fingerprint)

    def _all_wrong(self, job: Job, data: Dataset | None, fingerprint: str) -> Outcome:
        """Return the test of a model that diverged: no output is finite, so each counts as wrong."""
        correct = None if data is None else np.zeros(len(data), dtype=np.bool_)
        metrics = self._worst(self._task.metrics, data)
        return Outcome(job, metrics, True, correct=correct, fingerprint=fingerprint)

    @staticmethod
    def _worst(metrics: Sequence[Metric], data: Dataset | None) -> dict[str, float]:
        """Return the worst values of the metrics that have one, with the counts behind rates."""
        found: dict[str, float] = {}
        for metric in metrics:
            if metric.worst is not None:
                found[metric.name] = metric.worst
                if metric.counts is not None and data is not None:
                    found |= {metric.counts: round(metric.worst * len(data)), "count": len(data)}
        return found

    def _batches_of(self, job: Job) -> Batches | range:
        return self._batches(job.seed, job.segment.split, job.segment.interval, job.segment.hparams)

    def _batches(self, seed: int, split: Split, k: int, hparams: HParams) -> Batches | range:
        """Return the batches of an interval for a member with these hyperparameters."""
        size, with_budget = self._batch_size(hparams), self._task.uses_budget(hparams)
        return self._plan.batches(seed, split, k, size=size, with_budget=with_budget)

    def _batch_size(self, hparams: HParams) -> int | None:
        """Return the number of examples per batch; None for a task without data."""
        return None if self._plan.data is None else self._task.batch_size_of(hparams)

    def _start_arrays(self, job: Job) -> Arrays:
        """Return the state that a segment starts from."""
        if job.parent is not None:
            return self._read(job.parent)
        return self._task.to_arrays(self._task.initialize(job.segment.hparams))

    def _read(self, checkpoint: Checkpoint) -> Arrays:
        return decode(self._files.read(checkpoint))

    def _evaluated(self, state: Any, data: Examples | None) -> Evaluation:
        return checked(self._task.evaluate(state, data), self._task.metrics, None if data is None else len(data))

    def _restore(self, arrays: Arrays, hparams: HParams) -> Any:
        state = self._task.from_arrays(arrays, hparams)
        for name, value in self._task.applied_hparams(state).items():
            if name in hparams and value != hparams[name]:
                raise HpoError(f"the task was to train with {name} = {hparams[name]!r}, but its state holds {value!r}")
        return state


_OURS = ("hpo.execution.", "hpo.tasks.function")


def _traceback(error: BaseException) -> str:
    """Return the traceback of an exception in a task, from the task's code on; an error of ours needs its message alone."""
    at = error.__traceback__
    while at is not None and at.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        at = at.tb_next
    if at is None and isinstance(error, HpoError):
        return f"{error}\n"
    return "".join(traceback.format_exception(type(error), error, at or error.__traceback__))


def initialization(job: Job) -> int:
    """Return the stream of a slot's initialization: not the arm's, because all arms start from the same population."""
    return Streams(job.seed, job.stream).key("initialize", member=job.segment.member, shared=True)


def noise(job: Job, purpose: str = "noise") -> int:
    """Return the stream of a segment's training, or of its evaluation alone."""
    segment = job.segment
    return Streams(job.seed, job.stream).key(purpose, member=segment.member, interval=segment.interval)
