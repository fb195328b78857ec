"""Decides whether workers may be forked from their coordinator instead of started as fresh interpreters.

A fork inherits everything that its parent has imported, which costs a fresh interpreter seconds of CPU time. But it also inherits
all other state. So only our commands allow forks: the only user code in their process is the study's modules.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from hpo.core.interpreters import THREADS

_known: dict[int, str] | None = None
"""The descriptors that were open when forks were allowed; None: forks are not allowed."""


@contextmanager
def forks() -> Iterator[None]:
    """Let studies in this block fork their workers if that is safe. For commands, before they import numpy or torch."""
    global _known
    if "numpy" not in sys.modules:  # otherwise its BLAS has started threads already, which prevents forks
        os.environ.update(dict.fromkeys(THREADS, "1"))
    _known = descriptors()
    try:
        yield
    finally:
        _known = None


def is_safe() -> bool:
    """Return whether a fork of this process would be as good as a fresh worker; always False except on Linux.

    There must be one thread, counting those of native libraries such as CUDA: others are not forked, and may hold a lock. The
    task must not hold a file open: workers would share its position.
    """
    from hpo.core.run_files import DATABASE, LOCK

    if _known is None or sys.platform != "linux" or sum(1 for _ in Path("/proc/self/task").iterdir()) > 1:
        return False
    opened = dict(descriptors().items() - _known.items())
    return all(Path(target).name.startswith((DATABASE, LOCK)) for target in opened.values())


def tolerate(*files: IO[Any]) -> None:
    """Let pipes of ours be open while workers are forked; they are closed in the workers."""
    from hpo.core.locks import of_this_process

    for file in files:
        of_this_process(file)
        if _known is not None:
            _known.update({number: target for number, target in descriptors().items() if number == file.fileno()})


def descriptors() -> dict[int, str]:
    """Return this process's open descriptors and their targets."""
    found = {}
    for entry in Path("/dev/fd").iterdir():
        with suppress(OSError):  # the listing's own is closed already
            found[int(entry.name)] = str(entry.readlink())
    return found
