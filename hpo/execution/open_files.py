"""The limit of open files, raised to what worker processes need."""

import os
import resource

from hpo.core.errors import InputError

_SPARE = 32
"""For the store, the report, and files that are open briefly."""
_PER_WORKER = 2
"""Its socket and its lifeline."""


def allow_workers(workers: int) -> None:
    """Raise this process's soft limit of open files to what a study needs.

    Args:
        workers: the number of worker processes.

    Raises:
        InputError: the hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(os.listdir("/dev/fd")) + _SPARE + _PER_WORKER * workers  # noqa: PTH208
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"the study needs {needed} open files{f' with {workers} workers' * bool(workers)}; the limit is {hard}: raise it"
            f" (`ulimit -n {needed}`){', or use fewer workers' * bool(workers)}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
