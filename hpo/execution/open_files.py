"""Open files: how many a process may have, and how many worker processes need."""

import os
import resource

from hpo.core.errors import InputError

_SPARE = 32
"""For the store, the report and whatever is open for a moment."""
_PER_WORKER = 2
"""A pipe, and the lifeline."""


def allow_workers(workers: int) -> None:
    """Raise this process's limit of open files to what a study needs.

    Args:
        workers: processes that this one talks to.

    Raises:
        InputError: the limit cannot be raised so far.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = len(os.listdir("/dev/fd")) + _SPARE + _PER_WORKER * workers  # noqa: PTH208
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise InputError(
            f"the study needs {needed} open files{f' with {workers} workers' * bool(workers)}, and the limit is {hard}: raise"
            f" it (`ulimit -n {needed}`){', or give fewer workers' * bool(workers)}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
