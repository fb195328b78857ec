"""How much memory this process has held at most, and how often it looks for garbage."""

import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def peak_memory() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    if sys.platform == "linux":
        # Not `getrusage`: its number outlives `exec`, so that a worker would be told the size of what started it.
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - after every segment
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for cycles of garbage less often, and leave things as they were in the end.

    A coordinator holds records by the hundred thousand that are in no cycle: with Python's defaults, a fourth of the time of a
    large study goes into looking at them. Nothing is kept longer than until so many new objects are there.
    """
    before = gc.get_threshold()
    gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
