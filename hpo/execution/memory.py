"""Peak memory of this process."""

import resource
import sys


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
