"""What to say of workers that are lost."""

import signal
from collections.abc import Sequence

from hpo.core.errors import StudyFailed
from hpo.execution.jobs import Job

_OFTEN = {-signal.SIGKILL: "killed, often for memory", -signal.SIGSEGV: "a crash in native code"}


def died(code: int) -> str:
    """Return how a process ended, from its exit status."""
    return f"with exit status {code}" + (f" ({_OFTEN[code]})" if code in _OFTEN else "")


def too_slow(seconds: float) -> str:
    """Return how a worker ended that was killed for its time limit."""
    return f"killed at its time limit of {seconds:g} s"


def lost_twice(job: Job, causes: Sequence[str]) -> StudyFailed:
    """Return what stops a study when a job took two workers with it.

    Args:
        job: the job.
        causes: how each of them ended.
    """
    first, second = causes
    return StudyFailed(
        f"two workers died on {job}: the first {first}, the second {second}. Everything that is finished was kept; the study"
        " goes on from here when the same command is run again."
    )
