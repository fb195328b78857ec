"""Runs jobs in worker processes, one job in flight each.

A worker is a fresh interpreter that shares nothing with this one but two pipes: no fork (of a process with threads), no
re-import of an unguarded `__main__`, and a killed worker takes nothing with it but its job, which is run once more on a
fresh one.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import Any

from hpo.changes import differing
from hpo.errors import HpoError, StoreError, StudyFailed
from hpo.execution.jobs import Context, Job, Outcome
from hpo.execution.worker import IN_WORKER
from hpo.segments import Key

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Connection
    lifeline: int
    """Our end of the pipe that closes when we die."""
    ready: bool = False
    job: Job | None = None
    retries: int = 0
    """How many workers died on the job before."""
    made: Key | None = None
    """The segment whose state it made last: it has it in memory."""


class ProcessExecutor:
    """Worker processes on this machine.

    Args:
        context: what all jobs share.
        workers: how many processes.
    """

    def __init__(self, context: Context, workers: int) -> None:
        self._context = context
        self.slots = workers
        self._workers: list[_Worker] = []
        self._failure: HpoError | None = None

    def submit(self, job: Job) -> None:
        """Give a job to an idle worker, one that made the parent's state if there is one."""
        idle = [worker for worker in self._workers if worker.job is None]
        for dead in [worker for worker in idle if worker.process.poll() is not None]:
            # It died with nothing to do: no fault of the next job.
            idle.remove(dead)
            self._workers.remove(dead)
            self._bury(dead)
        worker = next((worker for worker in idle if worker.made == job.segment.parent is not None), None)
        self._give(worker or (idle[0] if idle else self._spawn()), job, 0)

    def wait(self) -> Sequence[Outcome]:
        """Return the outcomes that are there; wait for one if there is none."""
        while True:
            busy = {worker.pipe: worker for worker in self._workers if worker.job is not None}
            if self._failure is not None:
                raise self._failure
            outcomes = []
            for pipe in wait(list(busy)):
                try:
                    outcome = self._receive(busy[pipe])  # type: ignore[index]
                except HpoError as error:
                    self._failure = error  # after the outcomes that are there
                    continue
                if outcome is not None:
                    outcomes.append(outcome)
            if outcomes:
                return outcomes

    def close(self) -> None:
        """Kill the workers."""
        for worker in self._workers:
            worker.process.kill()
        while self._workers:
            self._bury(self._workers.pop())

    @property
    def pids(self) -> list[int]:
        """The process ids of the live workers."""
        return [worker.process.pid for worker in self._workers]

    def _spawn(self) -> _Worker:
        ours, theirs = Pipe()
        watched, lifeline = os.pipe()
        process = subprocess.Popen(
            [sys.executable, "-m", "hpo.execution.worker", str(theirs.fileno()), str(watched)],
            pass_fds=(theirs.fileno(), watched),
            process_group=0,  # Ctrl-C on the terminal is for the coordinator alone
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr.fileno() if _has_fileno(sys.stderr) else None,
            env={**os.environ, **dict.fromkeys(_THREADS, "1"), IN_WORKER: "1"},
        )
        theirs.close()
        os.close(watched)
        worker = _Worker(process, ours, lifeline)
        self._workers.append(worker)
        with suppress(ConnectionError):
            ours.send(self._context)
        return worker

    def _give(self, worker: _Worker, job: Job, retries: int) -> None:
        worker.job, worker.retries = job, retries
        # A worker that is still importing finds the job in its pipe when it is ready.
        # If it died, its pipe is at its end, and `wait` will see that.
        with suppress(ConnectionError):
            worker.pipe.send(job)

    def _receive(self, worker: _Worker) -> Outcome | None:
        """Take one message from a worker; None when it was no outcome."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):  # it died: between messages, or in the middle of one
            self._replace(worker)
            return None
        if not worker.ready:
            self._greet(worker, message)
            return None
        if isinstance(message, StoreError):
            raise message
        outcome: Outcome = replace(message, retries=worker.retries)
        worker.job, worker.made = None, outcome.job.key
        return outcome

    def _greet(self, worker: _Worker, message: "dict[str, Any] | str") -> None:
        """Take what a fresh worker says of itself, and refuse one that would compute something else."""
        if isinstance(message, str):
            raise StudyFailed(f"a worker could not build the task:\n{message}")
        for what, phrase, expected in (
            ("task", "task is not the one", self._context.identity),
            ("numerics", "numerics are not those", self._context.numerics),
        ):
            wrong = differing({what: expected}, {what: message[what]})
            if wrong:
                values = "; ".join(f"{key}: {found!r}, not {wanted!r}" for key, (wanted, found) in wrong.items())
                raise StudyFailed(
                    f"worker process {worker.process.pid} is refused: its {phrase} that the study began with"
                    f" ({values}). Was a file changed since? Undo that and run the same command again."
                )
        worker.ready = True

    def _replace(self, worker: _Worker) -> None:
        """Bury a dead worker and give its job to a fresh one, once."""
        job, retries = worker.job, worker.retries + 1
        self._workers.remove(worker)
        code = self._bury(worker)
        assert job is not None
        if retries > 1:
            raise StudyFailed(
                f"two workers died on {job}, the second one with exit status {code} (-9: killed, often for memory; -11:"
                " a crash in native code). The study goes on from here when the same command is run again."
            )
        self._give(self._spawn(), job, retries)

    @staticmethod
    def _bury(worker: _Worker) -> int:
        worker.pipe.close()
        os.close(worker.lifeline)
        return worker.process.wait()


def _has_fileno(stream: object) -> bool:
    try:
        stream.fileno()  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
    return True
