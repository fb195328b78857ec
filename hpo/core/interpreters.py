"""New interpreters with this one's module path, which never import from the current folder.

`python -c` and `python -m` put the current folder first on the path, so that a `json.py` in it would be run.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from threadpoolctl import threadpool_limits

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Set to 1 in the environment of workers that we start: the number of threads changes the bits of sums."""


_SAFE_PATH, _OURS = "PYTHONSAFEPATH", "hpo"
"""The environment variable, and the value by which we recognize that we set it."""


def use_threads(count: int) -> None:
    """Have linear-algebra libraries use so many threads in this process from now on, also those that are imported later."""
    os.environ.update(dict.fromkeys(THREADS, str(count)))
    threadpool_limits(limits=count)
    if "torch" in sys.modules:  # threadpoolctl does not see the libraries inside it
        sys.modules["torch"].set_num_threads(count)


def command(path: Sequence[str], module: str, *arguments: str) -> Sequence[str]:
    """Return the command that runs a module's `main` in a new interpreter.

    Args:
        path: its module path.
        module: the module.
        arguments: of the command line.
    """
    code = f"import sys; sys.path[:] = {[*path]!r}; from {module} import main; sys.exit(main())"
    return [sys.executable, "-P", "-c", code, *arguments]


@contextmanager
def safe_path() -> Iterator[None]:
    """Keep the current folder off the module path of interpreters that are started in this block."""
    if _SAFE_PATH in os.environ:
        yield
        return
    os.environ[_SAFE_PATH] = _OURS
    try:
        yield
    finally:
        os.environ.pop(_SAFE_PATH, None)


def end_safe_path() -> None:
    """Let interpreters that a task starts find modules as usual, in a process that was started within `safe_path`."""
    if os.environ.get(_SAFE_PATH) == _OURS:
        del os.environ[_SAFE_PATH]


def usable_cores() -> int:
    """Return the number of cores that this process may use, given its affinity and its container's CPU quota."""
    from joblib import cpu_count

    return int(cpu_count())
