"""Large read-only arrays stored once per machine: `.npy` files in a cache directory, memory-mapped by every process.

The cache directory is `$HPO_CACHE`, else `$XDG_CACHE_HOME/hpo`, else `~/.cache/hpo`. If it cannot be written, a
private folder under the system's temporary directory is used; if that fails too, each process holds its own copy.
"""

import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hpo.core.files import write_atomic

Array = NDArray[Any]


def shared_array(name: str, intact: Callable[[Array], bool], make: Callable[[], Array]) -> Array:
    """Return an array from the cache; create it first if it is missing or damaged.

    Files are written atomically, so any number of processes may call this at once.

    Args:
        name: the file's name, with a digest of the content in it.
        intact: says whether an array read from the cache has the right content.
        make: creates the array.
    """
    for folder in _folders():
        found = _open(folder / name)
        if found is not None and intact(found):
            return found
    made = make()
    for folder in _folders():
        with suppress(OSError):
            _write(folder / name, made)
            found = _open(folder / name)
            if found is not None and intact(found):
                return found
    return made


def _folders() -> Iterator[Path]:
    environment = os.environ
    if given := environment.get("HPO_CACHE"):
        yield Path(given)
    elif given := environment.get("XDG_CACHE_HOME"):
        yield Path(given) / "hpo"
    else:
        with suppress(RuntimeError):  # a user without a home directory
            yield Path.home() / ".cache" / "hpo"
    private = Path(tempfile.gettempdir()) / f"hpo-{os.getuid()}"
    with suppress(OSError):
        private.mkdir(mode=0o700, exist_ok=True)
        status = private.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            yield private


def _open(path: Path) -> Array | None:
    try:
        # Copy-on-write: pages are shared, and torch does not warn about read-only memory.
        return np.load(path, mmap_mode="c", allow_pickle=False)  # type: ignore[no-any-return]
    except Exception:  # numpy raises many types for a damaged header
        return None


def _write(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)

    def save(file: IO[bytes]) -> None:
        np.save(file, array)
        file.flush()
        os.fsync(file.fileno())

    write_atomic(path, save)
