"""Locks of run directories and stores, and file-system errors in the user's words."""

import errno
import fcntl
import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar

from hpo.core.errors import InputError, Interrupted, StoreError
from hpo.core.files import inside, open_regular
from hpo.core.run_files import LOCK, LOCK_MARK

F = TypeVar("F", bound=IO[Any])
_locked_files: "weakref.WeakSet[IO[Any]]" = weakref.WeakSet()
"""Files that this process has locked."""


def of_this_process(handle: F) -> F:
    """Register a lock that forked children, such as the workers of a pool, must not keep."""
    _locked_files.add(handle)
    return handle


def _close_locked_files() -> None:
    for handle in list(_locked_files):
        handle.close()  # the parent keeps its lock, which ends only when the last copy is closed


os.register_at_fork(after_in_child=_close_locked_files)


def lock(run_dir: Path, *, read_only: bool = False) -> TextIO:
    """Take the lock of a run directory or store.

    Args:
        run_dir: the directory.
        read_only: write nothing, not even who holds the lock.

    Raises:
        InputError: another process holds it; the message says which.
        StoreError: it cannot be opened.
    """
    handle = _open_lock(run_dir, os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        owner = handle.read(200).strip().removeprefix(f"{LOCK_MARK}: ")
        handle.close()
        raise InputError(
            f"{run_dir} is in use by {owner if owner not in ('', LOCK_MARK) else 'another process'}: wait until it is done,"
            " stop it, or pass another --out"
        ) from None
    if not read_only:
        mark(run_dir, handle, f"{LOCK_MARK}: process {os.getpid()} on {os.uname().nodename}")
    return of_this_process(handle)


def lock_shared(store: Path) -> TextIO:
    """Take a shared lock of a store, which other users of the store can hold at the same time."""
    handle = _open_lock(store, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise InputError(
            f"{store} is in use by another process that needs exclusive access, such as `hpo store gc`: wait until"
            " it is done"
        ) from None
    if not os.fstat(handle.fileno()).st_size:
        mark(store, handle, LOCK_MARK)  # another process at the same time writes the same
    return of_this_process(handle)


def _open_lock(folder: Path, flags: int) -> TextIO:
    path = inside(folder, LOCK)
    with explained(path):
        return os.fdopen(open_regular(path, flags), "r+" if flags & os.O_RDWR else "r")


def mark(folder: Path, handle: TextIO, text: str) -> None:
    """Replace the text in a folder's lock file, whose lock we hold."""
    with explained(folder / LOCK):
        handle.seek(0)
        handle.truncate()
        handle.write(text)
        handle.flush()


def lock_file(path: Path) -> FileIO:
    """Open a file that the user named, for reading and appending, and lock it until it is closed; create it if needed.

    Raises:
        InputError: it cannot be opened, or another process holds its lock.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_regular(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, follow=True)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror or error}") from None
    handle = os.fdopen(descriptor, "r+b", buffering=0)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise InputError(
            f"{path} is in use by another process: wait until it is done, stop it, or pass another file"
        ) from None
    return of_this_process(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; wait for other processes."""
    with os.fdopen(open_regular(path, os.O_RDWR | os.O_CREAT), "r+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@dataclass(frozen=True)
class Place:
    """A file or folder that must not move while we use it: anything written to a deleted one is lost.

    Args:
        path: its path.
        device: its file system.
        inode: its number there.
    """

    path: Path
    device: int
    inode: int

    @staticmethod
    def of(path: Path) -> "Place":
        """Return the place of a file that was just opened."""
        with explained(path):
            found = path.stat()
        return Place(path, found.st_dev, found.st_ino)

    def check(self) -> None:
        """Raise `StoreError` if the file was deleted, moved or replaced."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - after every segment
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != (self.device, self.inode):
            raise StoreError(
                f"{self.path} was deleted, moved or replaced while it was in use. What was computed since then is lost; put"
                " the file back if you moved it, and run the same command again"
            )


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn errors of SQLite and the file system into messages that tell the user what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise Interrupted from error
        if "full" in text:
            raise StoreError(_FULL.format(path.parent)) from error
        if "disk I/O" in text:
            raise StoreError(
                f"{path} cannot be read or written ({text}): is the disk full or failing? If the error persists,"
                " move the file away and run the study again; segments are recomputed"
            ) from error
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in text:
            raise StoreError(f"{path}: {text}") from error
        raise StoreError(damaged(path, text)) from error
    except BrokenPipeError:
        raise  # the reader of our output is gone, which has nothing to do with this directory
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(_FULL.format(path.parent)) from error
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise StoreError(
                f"{path} cannot be opened: too many files are open; raise the limit (`ulimit -n`)"
            ) from error
        raise StoreError(f"{path}: {error.strerror or error}") from error


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turn errors in the content of a store's row into a message that tells the user what to do.

    Args:
        path: the store.
        what: the row, for the message.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(damaged(path, f"{what}: {type(error).__name__}: {error}")) from error


def damaged(path: Path, what: str) -> str:
    """Return the message for a damaged store."""
    return f"{path} is damaged ({what}): move it away and run the study again; segments are recomputed"


_FULL = "no space left on the disk of {}: free some and run the same command again; finished work was kept"
