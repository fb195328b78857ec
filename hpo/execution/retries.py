"""The retry rule: a job whose worker is lost runs once more, and a second loss stops the study."""

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


def retried(job: Job, losses: Sequence[str], how: str) -> tuple[str, ...]:
    """Return the losses of a job with one more, if it may run again.

    Args:
        job: the job of a worker that is lost.
        losses: how the workers ended that had the job before.
        how: how this one ended.

    Raises:
        StudyFailed: it is the second loss.
    """
    if losses:
        raise StudyFailed(
            f"two workers died on {job}: the first {losses[0]}, the second {how}. Finished work was kept; run the same command"
            " again to continue."
        )
    return (how,)
