"""Importing the modules that a study names, the same way in the coordinator and in its workers."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


@contextmanager
def searching(folders: Iterable[str]) -> Iterator[None]:
    """Look for modules in these folders first; afterwards they stay on the path, last, for imports that are made later."""
    folders = list(folders)
    sys.path[:0] = folders
    try:
        yield
    finally:
        for folder in folders:
            if folder in sys.path:
                sys.path.remove(folder)
            if folder not in sys.path:
                sys.path.append(folder)
