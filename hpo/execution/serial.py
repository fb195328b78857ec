"""Runs jobs one after the other in this process."""

import signal
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from threadpoolctl import threadpool_limits

from hpo.cli import interruptible
from hpo.core.errors import InputError
from hpo.core.seeding import kept_generators
from hpo.execution.jobs import Job, Outcome
from hpo.execution.runner import Runner

generators_in_use = threading.Lock()
"""Held while this process's global generators are seeded for longer than one call: by a serial study, or its sanity check."""
_CHECK = 1.0
"""Seconds to wait for a check in another thread."""


def marked_interrupts() -> AbstractContextManager[None]:
    """Return a context in which Ctrl-C raises `Interrupted`, so that only the task can raise `KeyboardInterrupt`."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return interruptible([signal.SIGINT]) if is_default else nullcontext()


class SerialExecutor:
    """Runs one job at a time, inside `wait`.

    This process's global generators are seeded for each segment, and restored by `close`. So only one such executor may be in use
    at a time, and no other thread may draw from them.

    Args:
        runner: runs the jobs.

    Raises:
        InputError: another serial executor is in use.
    """

    slots: int = 1

    def __init__(self, runner: Runner) -> None:
        if not generators_in_use.acquire(timeout=_CHECK):
            raise InputError("another study runs serially in this process: wait for it, or use executor='process'")
        self._runner = runner
        self._jobs: deque[Job] = deque()
        self._closed = False
        # As in a worker: the number of threads changes the bits of sums.
        self._threads = threadpool_limits(limits=runner.threads)
        self._restores = ExitStack()
        self._restores.enter_context(kept_generators())
        self._restores.enter_context(marked_interrupts())

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._jobs.append(job)

    def wait(self, seconds: float | None = None) -> Sequence[Outcome]:
        """Run the queued jobs; ignores the time limit."""
        return [self._runner(self._jobs.popleft()) for _ in range(len(self._jobs))]

    def close(self) -> None:
        """Drop the queue, and restore this process's number of threads and its generators."""
        self._jobs.clear()
        self._threads.restore_original_limits()
        if not self._closed:
            self._closed = True
            self._restores.close()
            generators_in_use.release()
