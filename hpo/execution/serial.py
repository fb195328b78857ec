"""Runs jobs one after the other in this process."""

import signal
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext

from threadpoolctl import threadpool_limits

from hpo.cli import interruptible
from hpo.core.errors import InputError
from hpo.execution.jobs import Job, Outcome
from hpo.execution.runner import Runner

generators_in_use = threading.Lock()
"""Held by whoever seeds this process's global generators for longer than a call: a serial study, or a check before one."""
_CHECK = 1.0
"""Seconds to wait for a check in another thread."""


def marked_interrupts() -> AbstractContextManager[None]:
    """Return a context in which Ctrl-C raises `Interrupted`, so that a `KeyboardInterrupt` is one that the task raises itself."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return interruptible([signal.SIGINT]) if is_default else nullcontext()


class SerialExecutor:
    """One job at a time, when it is waited for.

    It seeds this process's global generators for each segment, so only one may be in use at a time, and no other thread may draw
    from them.

    Args:
        runner: runs it.

    Raises:
        InputError: another one is in use.
    """

    slots: int = 1

    def __init__(self, runner: Runner) -> None:
        if not generators_in_use.acquire(timeout=_CHECK):
            raise InputError("another study runs serially in this process: wait for it, or use executor='process'")
        self._runner = runner
        self._jobs: deque[Job] = deque()
        self._closed = False
        # As in a worker: the number of threads changes the bits of sums.
        self._threads = threadpool_limits(limits=1)
        self._signals = ExitStack()
        self._signals.enter_context(marked_interrupts())

    def submit(self, job: Job) -> None:
        """Put a job aside."""
        self._jobs.append(job)

    def wait(self, seconds: float | None = None) -> Sequence[Outcome]:
        """Run the jobs that were put aside, however long they take."""
        return [self._runner(self._jobs.popleft()) for _ in range(len(self._jobs))]

    def close(self) -> None:
        """Forget what was put aside, and give this process its threads back."""
        self._jobs.clear()
        self._threads.restore_original_limits()
        if not self._closed:
            self._closed = True
            self._signals.close()
            generators_in_use.release()
