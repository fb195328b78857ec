"""Runs segments of several members as one stack: one batch of tensors, for tasks that support it.

A stack has a fixed number of lanes. The segment determines its lane (`lane_of`), and its result does not depend on the
content of the other lanes. So it does not matter which segments are stacked together. The result may depend on the number of
lanes: that is in the numerics fingerprint, so that stacked segments never share keys with other executors.
"""

import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hpo.core.errors import HpoError
from hpo.core.seeding import Streams, forked_generators
from hpo.core.task import Diverged, Lane, StackedTask
from hpo.execution.jobs import Job, Outcome
from hpo.execution.runner import Runner, initialization, noise
from hpo.execution.serial import SerialExecutor


def lane_of(member: int, lanes: int) -> int:
    """Return the lane that a member's segments run in.

    The member is in a segment's key, so that the lane follows from the key: it is the same in every session, and when a lineage is
    retrained. That is needed: on a CPU the last bits of a lane's result may depend on its place, because kernels treat
    the ends of arrays differently from their middles (seen with `digits` at a width of 17, not at multiples of 8).
    """
    return member % lanes


@dataclass(frozen=True, eq=False)
class Begun:
    """A segment that is ready to train.

    Args:
        job: the job.
        state: its parent's state, restored, with its own hyperparameters in force.
        stack: what segments must have in common to be stacked: the batches and the shapes.
        at_start: the metrics of the state before training, if the segment is `scored_at_start`.
    """

    job: Job
    state: Any
    stack: Hashable
    at_start: Mapping[str, float]


def choose(begun: Sequence[Begun], lanes: int) -> dict[int, Begun]:
    """Return the largest possible stack, by lane; ties go to the stack of the earliest segment."""
    stacks: dict[Hashable, dict[int, Begun]] = {}
    for each in begun:
        stacks.setdefault(each.stack, {}).setdefault(lane_of(each.job.segment.member, lanes), each)
    return max(stacks.values(), key=len)


class StackRunner(Runner):
    """Runs the jobs of one study in this process, segments in stacks."""

    def begin(self, job: Job) -> Begun | Outcome:
        """Return a segment that is ready to train, or the outcome that says why it cannot be."""
        return self._guarded(job, lambda: self._begun(job))

    def train(self, stack: Mapping[int, Begun], lanes: int) -> list[Outcome]:
        """Train a stack through one interval, and evaluate its members one after the other.

        Args:
            stack: by lane; at least one.
            lanes: how many there are.
        """
        start = time.perf_counter()
        first = next(iter(stack.values())).job
        trained = self._guarded(first, lambda: self._trained(stack, lanes))
        if isinstance(trained, Outcome):
            outcomes = [replace(trained, job=each.job) for each in stack.values()]
        else:
            outcomes = [self._measured_in_turn(each, trained[lane]) for lane, each in stack.items()]
        seconds = time.perf_counter() - start
        return [replace(outcome, seconds=seconds) for outcome in outcomes]

    def _begun(self, job: Job) -> Begun:
        segment = job.segment
        with forked_generators(initialization(job)) as seed:
            state, at_start = self._started(job, self._start_arrays(job), seed, reseed=True)
        hparams = segment.hparams
        batches = (job.seed, segment.split, segment.interval, self._batch_size(hparams))
        signature = self._stacked_task.stack_signature(state, hparams)
        return Begun(job, state, (*batches, self._task.uses_budget(hparams), signature), at_start)

    def _trained(self, stack: Mapping[int, Begun], lanes: int) -> Sequence[Any]:
        filled: list[Lane[Any] | None] = [None] * lanes
        for lane, each in stack.items():
            filled[lane] = Lane(each.state, each.job.segment.hparams, noise(each.job))
        first = next(iter(stack.values())).job
        # Lanes draw from their own streams; only data that augment their examples draw from the global generators.
        shared = Streams(first.seed).key(f"stack/{first.segment.split}", interval=first.segment.interval, shared=True)
        with forked_generators(shared), np.errstate(all="ignore"):
            try:
                trained = self._stacked_task.train_stacked(filled, self._batches_of(first))
            except Diverged as error:
                if len(stack) == 1:
                    raise
                raise HpoError(
                    "train_stacked raised Diverged, which names no lane: return None for a lane instead"
                ) from error
        if len(trained) != lanes:
            raise HpoError(f"train_stacked gave {len(trained)} states for {lanes} lanes")
        return trained

    def _measured_in_turn(self, begun: Begun, state: Any | None) -> Outcome:
        job = begun.job
        if state is None:
            return Outcome(job, {}, diverged=True)

        def finish() -> Outcome:
            with forked_generators(noise(job, "evaluation")), np.errstate(all="ignore"):
                return self._finished(job, state, begun.at_start)

        return self._guarded(job, finish)

    @property
    def _stacked_task(self) -> StackedTask[Any]:
        if not isinstance(self._task, StackedTask):
            raise HpoError(f"{type(self._task).__name__} cannot be stacked")
        return self._task


class StackedExecutor(SerialExecutor):
    """Runs one stack at a time in this process, inside `wait`; also retraining and tests.

    Jobs that do not fit into the largest stack wait for the next one.

    Args:
        runner: runs stacks.
        lanes: how many members a stack holds at most.

    Raises:
        InputError: another executor is in use in this process.
    """

    def __init__(self, runner: StackRunner, lanes: int) -> None:
        super().__init__(runner)
        self.slots = lanes
        self._stacks = runner
        self._begun: list[Begun] = []

    def wait(self, seconds: float | None = None) -> Sequence[Outcome]:
        """Run the queued tests, or if there are none the largest stack."""
        outcomes = [outcome for outcome in map(self._taken, self._drained()) if outcome is not None]
        if outcomes or not self._begun:
            return outcomes
        stack = choose(self._begun, self.slots)
        chosen = set(map(id, stack.values()))
        self._begun = [each for each in self._begun if id(each) not in chosen]
        return self._stacks.train(stack, self.slots)

    def close(self) -> None:
        """Drop the queue, and restore this process's number of threads."""
        self._begun.clear()
        super().close()

    def _drained(self) -> list[Job]:
        jobs = list(self._jobs)
        self._jobs.clear()
        return jobs

    def _taken(self, job: Job) -> Outcome | None:
        """Return the outcome of a test, and of a segment that cannot begin."""
        if job.test:
            return self._runner(job)
        begun = self._stacks.begin(job)
        if isinstance(begun, Outcome):
            return begun
        self._begun.append(begun)
        return None
