"""Runs jobs in a pool that the user passes: any `concurrent.futures.Executor` of other processes, on any machines.

Every job is a call of one function of this module with plain records. The pool handles its own faults; a pool that breaks stops
the study.
"""

import os
import platform
import threading
import traceback
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from concurrent.futures import Executor as Pool
from dataclasses import dataclass

from threadpoolctl import ThreadpoolController

from hpo.core.checkpoints import CheckpointFiles, CheckpointMissing, LastCheckpoint
from hpo.core.errors import HpoError, InputError, StudyFailed
from hpo.core.interpreters import safe_path
from hpo.execution.handshake import build_runner, check_handshake
from hpo.execution.jobs import Context, Job, Outcome
from hpo.execution.packing import packed, run_packed, unpacked
from hpo.execution.runner import Runner


@dataclass
class _Prepared:
    """The state that this process keeps for the last study that it worked for."""

    context: Context | None = None
    runner: Runner | None = None
    threads: ThreadpoolController | None = None


_prepared = _Prepared()
_one_job = threading.Lock()
"""Jobs seed the process's global generators, so a process runs one at a time, even if it has several threads."""


def run_job(context: Context, job: Job) -> Outcome:
    """Run one job in this process of a pool, after building the study's task if necessary.

    Raises:
        StudyFailed: the task cannot be built here, or this process would compute something else.
    """
    with _one_job:
        if _prepared.context != context or _prepared.runner is None or _prepared.threads is None:
            try:
                runner, handshake = build_runner(context, LastCheckpoint())
            except BaseException:
                check_handshake(context, traceback.format_exc(), "")
                raise
            check_handshake(context, handshake, f"worker process {os.getpid()} on {platform.node()}")
            _prepared.context, _prepared.runner, _prepared.threads = context, runner, ThreadpoolController()
        with _prepared.threads.limit(limits=context.task.threads):
            return run_packed(_prepared.runner, job)


def pool_size(pool: Pool, workers: int | None) -> int:
    """Return how many jobs a pool is given at a time.

    Args:
        pool: the user's pool.
        workers: from the user; None: the pool's own number.

    Raises:
        InputError: the number is unknown, or the pool's workers are threads.
    """
    if isinstance(pool, ThreadPoolExecutor):
        raise InputError(
            f"executor = {type(pool).__name__}: threads share one set of global random generators, which every segment seeds:"
            " pass a pool of processes, or use executor='serial'"
        )
    size = workers or getattr(pool, "_max_workers", None)
    if not isinstance(size, int):
        raise InputError(
            f"executor = {type(pool).__name__}: it does not say how many jobs it runs at a time: give workers=..."
        )
    return size


class FuturesExecutor:
    """Runs jobs in the user's pool, and leaves it open.

    Args:
        context: shared by all jobs.
        pool: the user's pool.
        slots: how many jobs it is given at a time.
        files: the folder of checkpoint files; the pool never reads or writes it.
    """

    def __init__(self, context: Context, pool: Pool, slots: int, files: CheckpointFiles) -> None:
        self._context = context
        self._pool = pool
        self.slots = slots
        self._files = files
        self._jobs: dict[Future[Outcome], Job] = {}
        self._missing: list[Outcome] = []
        self._failure: HpoError | None = None

    def submit(self, job: Job) -> None:
        """Give a job to the pool."""
        try:
            given = packed(self._files, job)
            with safe_path():  # a pool starts its processes when they are first needed
                future = self._pool.submit(run_job, self._context, given)
        except CheckpointMissing:
            self._missing.append(Outcome(job, {}, parent_missing=True))
        except HpoError:
            raise
        except Exception as error:  # the pool is broken or shut down
            self._failure = self._broken(job, error)
        else:
            self._jobs[future] = job

    def wait(self, seconds: float | None = None) -> Sequence[Outcome]:
        """Return the outcomes so far, or wait for one, at most for `seconds`."""
        while True:
            outcomes, self._missing = self._missing, []
            if not outcomes and self._failure is not None:
                raise self._failure
            done = wait(self._jobs, 0 if outcomes else seconds, FIRST_COMPLETED).done
            for future in done:
                job = self._jobs.pop(future)
                try:
                    outcomes.append(unpacked(self._files, job, future.result()))
                except HpoError as error:
                    self._failure = self._failure or error  # after the outcomes so far
                except (Exception, CancelledError) as error:
                    self._failure = self._failure or self._broken(job, error)
            if outcomes or (not done and self._failure is None):
                return outcomes

    def close(self) -> None:
        """Cancel the jobs that have not started; running ones finish, and their results are dropped."""
        for future in self._jobs:
            future.cancel()
        self._jobs.clear()

    def _broken(self, job: Job, error: BaseException) -> StudyFailed:
        return StudyFailed(
            f"the study's {type(self._pool).__name__} broke at {job}: {type(error).__name__}: {error}\n"
            "Finished work was kept: run the study again with a new pool."
        )
