"""Fresh interpreters that look for modules where this one does, and never in the folder that they are started in.

Python puts the current folder first on the path of `python -c` and `python -m`. A `json.py` that lies there would be run.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

_SAFE_PATH, _OURS = "PYTHONSAFEPATH", "hpo"
"""The variable, and the value by which we know that it was set here."""


def command(path: Sequence[str], module: str, *arguments: str) -> Sequence[str]:
    """Return the command that runs a module's `main` in a fresh interpreter.

    Args:
        path: where it looks for modules.
        module: the module.
        arguments: of the command line.
    """
    code = f"import sys; sys.path[:] = {[*path]!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code, *arguments]


@contextmanager
def safe_path() -> Iterator[None]:
    """Have interpreters that somebody starts in this block leave the current folder out."""
    if _SAFE_PATH in os.environ:
        yield
        return
    os.environ[_SAFE_PATH] = _OURS
    try:
        yield
    finally:
        os.environ.pop(_SAFE_PATH, None)


def end_safe_path() -> None:
    """Have what a task starts in this process, which was started within `safe_path`, find modules as usual."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]


def usable_cores() -> int:
    """Return how many cores this process may use: those it is bound to, or that its container's CPU quota pays for."""
    from joblib import cpu_count

    return int(cpu_count())
