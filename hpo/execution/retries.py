"""Messages about lost workers."""

import signal
from collections.abc import Sequence

from hpo.core.errors import StudyFailed
from hpo.execution.jobs import Job

_CAUSES = {-signal.SIGKILL: "killed, often for lack of memory", -signal.SIGSEGV: "a crash in native code"}


def died(code: int) -> str:
    """Describe the end of a process by its exit status."""
    return f"with exit status {code}" + (f" ({_CAUSES[code]})" if code in _CAUSES else "")


def too_slow(seconds: float) -> str:
    """Describe the end of a worker killed at its time limit."""
    return f"killed at its time limit of {seconds:g} s"


def lost_twice(job: Job, causes: Sequence[str]) -> StudyFailed:
    """Return the error that stops a study after two workers died on one job.

    Args:
        job: the job.
        causes: how each worker ended.
    """
    first, second = causes
    return StudyFailed(
        f"two workers died on {job}: the first {first}, the second {second}. Finished work was kept; run the same command"
        " again to continue."
    )
