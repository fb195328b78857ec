"""Peak memory of this process, and less frequent garbage collection."""

import gc
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def peak_memory() -> int:
    """Return the peak resident size of this process, in bytes."""
    if sys.platform == "linux":
        # Not `getrusage`: its peak survives `exec`, so a worker would report the size of its parent.
        with open("/proc/self/status", "rb") as file:  # noqa: PTH123 - after every segment
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@contextmanager
def rare_collections() -> Iterator[None]:
    """Collect cyclic garbage less often in this block.

    A coordinator holds hundreds of thousands of records without cycles. With Python's default thresholds, a large study spends a
    quarter of its time examining them.
    """
    before = gc.get_threshold()
    gc.set_threshold(20_000, 20, 20)
    try:
        yield
    finally:
        gc.set_threshold(*before)
