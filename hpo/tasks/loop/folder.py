"""A folder that a user's class writes, as arrays of a checkpoint."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import HpoError

_PREFIX = "folder/"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield an empty folder, which is removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="hpo-") as folder:
        yield Path(folder)


def folder_arrays(folder: Path) -> dict[str, NDArray[Any]]:
    """Return the bytes of all files in a folder, by their relative paths.

    Raises:
        HpoError: the folder is empty, or holds a link or something else than files and folders.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise HpoError(f"save() made {name!r}, which is neither a file nor a folder: a checkpoint holds files only")
        if path.is_dir() and not any(path.iterdir()):
            arrays[f"{_PREFIX}{name}/"] = np.empty(0, np.uint8)
        if path.is_file():
            arrays[_PREFIX + name] = np.fromfile(path, np.uint8)
    if not arrays:
        raise HpoError("save() wrote no file to the folder that it was given")
    return arrays


def write_folder(arrays: Mapping[str, NDArray[Any]], folder: Path) -> None:
    """Write the files of `folder_arrays` to an empty folder.

    Raises:
        HpoError: a file's name leads out of the folder.
    """
    for name, array in arrays.items():
        if name.startswith(_PREFIX):
            inside = PurePosixPath(name.removeprefix(_PREFIX))
            if inside.is_absolute() or ".." in inside.parts or "\0" in str(inside):
                raise HpoError(f"the checkpoint names the file {str(inside)!r}, which is outside of its folder")
            path = folder / inside
            if name.endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            array.tofile(path)
