"""Keeps the memory that PyTorch frees, because the next training step needs as much again."""

import ctypes
from contextlib import suppress
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of `mallopt`'s parameters in glibc's malloc.h."""
LARGEST_BLOCK = 1 << 25
"""Blocks of up to this many bytes come from the heap, not from a mapping of their own; the most that glibc allows."""
MOST_KEPT = 1 << 28
"""Bytes of free memory at the end of the heap that are kept."""


@cache
def keep_freed_memory() -> None:
    """Let glibc's malloc keep freed memory for this process; with other C libraries do nothing.

    By default it returns large blocks to the system at once. Each training step then gets its buffers as new pages, which the
    system has to fill with zeros: hundreds of page faults per step of a small net, a tenth of its time.
    """
    with suppress(AttributeError, OSError, TypeError):  # another C library
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK)
        mallopt(M_TRIM_THRESHOLD, MOST_KEPT)
