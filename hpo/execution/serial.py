"""Runs jobs one after the other in this process."""

from collections import deque
from collections.abc import Sequence

from threadpoolctl import threadpool_limits

from hpo.execution.jobs import Job, Outcome
from hpo.execution.runner import Runner


class SerialExecutor:
    """One job at a time, when it is waited for.

    Args:
        runner: runs it.
    """

    slots = 1

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._jobs: deque[Job] = deque()
        # As in a worker: the number of threads changes the bits of sums.
        self._threads = threadpool_limits(limits=1)

    def submit(self, job: Job) -> None:
        """Put a job aside."""
        self._jobs.append(job)

    def wait(self) -> Sequence[Outcome]:
        """Run the jobs that were put aside."""
        return [self._runner(self._jobs.popleft()) for _ in range(len(self._jobs))]

    def close(self) -> None:
        """Forget what was put aside, and give this process its threads back."""
        self._jobs.clear()
        self._threads.restore_original_limits()
