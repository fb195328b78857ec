"""When workers may be forked from their coordinator, and not only be started as fresh interpreters.

A fork has what its parent has imported and loaded, which takes a fresh interpreter seconds of CPU time. But it also copies
whatever else its parent did. So only our commands allow forks: their process runs nothing of the user's but the study's modules.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hpo.core.interpreters import THREADS

_known: dict[int, str] | None = None
"""The descriptors that were open when forks were allowed; None: they are not."""


@contextmanager
def forks() -> Iterator[None]:
    """Let studies in this block fork their workers, where that is safe. For commands, before they import numpy or torch."""
    global _known
    if "numpy" not in sys.modules:  # else its BLAS has started threads already, and nothing is forked
        os.environ.update(dict.fromkeys(THREADS, "1"))
    _known = descriptors()
    try:
        yield
    finally:
        _known = None


def is_safe() -> bool:
    """Say whether a fork of this process would be as good as a fresh worker. Only Linux can tell.

    There must be one thread, counting those of native libraries (CUDA's, too): others are not forked, and may hold a lock. The
    task must not hold a file open: workers would share its position.
    """
    from hpo.core.run_files import DATABASE, LOCK

    if _known is None or sys.platform != "linux" or sum(1 for _ in Path("/proc/self/task").iterdir()) > 1:
        return False
    opened = dict(descriptors().items() - _known.items())
    return all(Path(target).name.startswith((DATABASE, LOCK)) for target in opened.values())


def descriptors() -> dict[int, str]:
    """Return this process's open descriptors, and what they lead to."""
    found = {}
    for entry in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the listing's own is closed already
            found[int(entry.name)] = str(entry.readlink())
    return found
