"""Memory that PyTorch frees stays with the process: the next training step needs as much again."""

import ctypes
from contextlib import suppress
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of `mallopt`'s parameters in glibc's malloc.h."""
LARGEST_BLOCK = 1 << 25
"""Bytes up to which a block comes from the heap, not from a mapping of its own; the most that glibc allows."""
MOST_KEPT = 1 << 28
"""Bytes of free memory at the end of the heap that are kept."""


@cache
def keep_freed_memory() -> None:
    """Tell glibc's malloc, once, to keep freed memory for this process; elsewhere do nothing.

    By default it gives large blocks back to the system at once. Each step then gets its buffers as new pages, which the
    system has to fill with zeros: hundreds of page faults for every step of a small net, a tenth of its time.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
