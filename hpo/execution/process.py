"""Runs jobs in worker processes, one job in flight each.

A worker shares only two pipes with this process. When a worker dies, its job is retried once, on a fresh one.
"""

import math
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import wait

from hpo.core.errors import HpoError, StoreError, StudyFailed
from hpo.core.segments import Key
from hpo.execution.deadlines import Deadlines, kill_group, kill_marked
from hpo.execution.handshake import check_handshake
from hpo.execution.jobs import Context, Job, Outcome
from hpo.execution.retries import died, retried, too_slow
from hpo.execution.starting import Started, forked, fresh
from hpo.execution.worker import serve

START_SECONDS = 300.0
"""The least time, even with a shorter time limit, that a worker may take to import and build the task."""


@dataclass
class _Worker:
    started: Started
    gpu: str | None
    ready: bool = False
    job: Job | None = None
    losses: tuple[str, ...] = ()
    """How earlier workers on this job ended."""
    made: Key | None = None
    """The segment whose state it computed last and still has in memory."""


class ProcessExecutor:
    """Worker processes on this machine.

    Args:
        context: shared by all jobs.
        workers: how many processes.
        segment_timeout: seconds for one job, after which its worker is killed; None: no limit.
        gpus: names, as in `CUDA_VISIBLE_DEVICES`, of the GPUs to spread the workers over; each worker sees one. Empty: workers
            see the GPUs of this process.
    """

    def __init__(
        self, context: Context, workers: int, *, segment_timeout: float | None = None, gpus: Sequence[str] = ()
    ) -> None:
        self._context = context
        self.slots = workers
        self._timeout = segment_timeout
        self._gpus = gpus
        self._deadlines = Deadlines()
        self._workers: list[_Worker] = []
        self._failure: HpoError | None = None
        with _named_failure():
            self._forked = forked(workers, serve) if context.task.device == "cpu" else []
            """Workers that wait for their context, forked now, because this process will start threads."""

    def submit(self, job: Job) -> None:
        """Give a job to an idle worker, preferably the one that made the parent's state."""
        idle = [worker for worker in self._workers if worker.job is None]
        for dead in [worker for worker in idle if worker.started.pipe.poll()]:  # an idle worker sends nothing
            # It died while idle: the next job is not to blame.
            idle.remove(dead)
            self._reap(dead)
        worker = next((worker for worker in idle if worker.made == job.segment.parent is not None), None)
        self._give(worker or (idle[0] if idle else self._spawn()), job, ())

    def wait(self, seconds: float | None = None) -> Sequence[Outcome]:
        """Return the outcomes so far, or wait for one, at most for `seconds`."""
        until = math.inf if seconds is None else time.monotonic() + seconds
        while True:
            busy = {worker.started.pipe: worker for worker in self._workers if worker.job is not None}
            if self._failure is not None:
                raise self._failure
            outcomes = []
            ready = wait(list(busy), None if seconds is None else max(0.0, until - time.monotonic()))
            for pipe in ready:
                try:
                    outcome = self._receive(busy[pipe])  # type: ignore[index]
                except HpoError as error:
                    self._failure = error  # after the outcomes so far
                    continue
                if outcome is not None:
                    outcomes.append(outcome)
            if outcomes or not ready:
                return outcomes

    def close(self) -> None:
        """Kill the workers."""
        self._deadlines.close()
        self._workers += [_Worker(started, None) for started in self._forked]
        self._forked.clear()
        self._reap(*self._workers)

    @property
    def pids(self) -> list[int]:
        """The process ids of the live workers."""
        return [worker.started.process.pid for worker in self._workers]

    def _spawn(self) -> _Worker:
        gpu = least_used(self._gpus, [worker.gpu for worker in self._workers])
        with _named_failure():
            started = self._forked.pop() if self._forked else fresh(self._context.python_path, gpu)
        worker = _Worker(started, gpu)
        self._workers.append(worker)
        with suppress(ConnectionError):
            started.pipe.send(self._context)
        return worker

    def _give(self, worker: _Worker, job: Job, losses: tuple[str, ...]) -> None:
        worker.job, worker.losses = job, losses
        self._start_clock(worker)
        # A worker that is still importing finds the job in its pipe when it is ready.
        # If it died, its pipe is at its end, and `wait` will see that.
        with suppress(ConnectionError):
            worker.started.pipe.send(job)

    def _start_clock(self, worker: _Worker) -> None:
        if self._timeout is not None:
            seconds = self._timeout if worker.ready else max(self._timeout, START_SECONDS)
            self._deadlines.begin(worker.started.process, seconds)

    def _receive(self, worker: _Worker) -> Outcome | None:
        """Take one message from a worker; None when it was no outcome."""
        try:
            message = worker.started.pipe.recv()
        except (EOFError, OSError):  # it died: between messages, or in the middle of one
            self._replace(worker)
            return None
        if not worker.ready:
            check_handshake(self._context, message, f"worker process {worker.started.process.pid}")
            worker.ready = True
            self._start_clock(worker)
            return None
        killed = self._deadlines.end(worker.started.process)
        if isinstance(message, StoreError):
            raise message
        outcome: Outcome = replace(message, retries=len(worker.losses))
        worker.job, worker.made = None, outcome.job.key
        if killed:  # just after it answered: the outcome counts
            self._reap(worker)
        return outcome

    def _replace(self, worker: _Worker) -> None:
        """Reap a dead worker and retry its job on a fresh one."""
        job = worker.job
        assert job is not None
        killed = self._deadlines.end(worker.started.process)
        (code,) = self._reap(worker)
        how = too_slow(self._timeout) if killed and self._timeout is not None else died(code)
        losses = retried(job, worker.losses, how)
        self._give(self._spawn(), job, losses)

    def _reap(self, *workers: _Worker) -> list[int]:
        """Kill workers, dead or not, with all that they started, and return their exit statuses."""
        for worker in workers:
            self._workers.remove(worker)
            worker.started.pipe.close()
            os.close(worker.started.lifeline)
            kill_group(worker.started.process)
        kill_marked([worker.started.mark for worker in workers])
        return [worker.started.process.wait() for worker in workers]


@contextmanager
def _named_failure() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # no file descriptor, process or memory is left
        raise StudyFailed(
            f"a worker process cannot be started: {error.strerror or error}. Give fewer --workers, or raise the limits of"
            " this user (`ulimit -a`); finished work was kept"
        ) from error


def least_used(gpus: Sequence[str], used: Sequence[str | None]) -> str | None:
    """Return the GPU that the fewest workers have, the first of several; None if there are no GPUs."""
    return min(gpus, key=used.count) if gpus else None
