"""How much memory this process has held at most."""

import resource
import sys


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
