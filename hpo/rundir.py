"""The run directory as a place on a disk: who may write in it, and what the file system's errors mean to a user."""

import errno
import fcntl
import os
import sqlite3
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hpo.errors import InputError, StoreError

_held: "weakref.WeakSet[TextIO]" = weakref.WeakSet()
"""Files that this process has locked."""


def of_this_process(handle: TextIO) -> TextIO:
    """Note that a lock is of this process alone: what is forked off, like the workers of a pool, does not go on holding it."""
    _held.add(handle)
    return handle


def _let_go() -> None:
    for handle in list(_held):
        handle.close()  # the parent's lock stays: it is let go where the last one closes the file


os.register_at_fork(after_in_child=_let_go)


def lock(run_dir: Path) -> TextIO:
    """Take the run directory's lock, or say who has it."""
    path = run_dir / ".lock"
    with explained(path):
        handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        handle.seek(0)
        owner = handle.read().strip() or "another process"
        handle.close()
        raise InputError(
            f"{run_dir} is in use by {owner}: wait until it is done, stop it, or give another --out"
        ) from None
    with explained(path):
        handle.truncate(0)
        handle.write(f"process {os.getpid()} on {os.uname().nodename}")
        handle.flush()
    return of_this_process(handle)


def lock_shared(store: Path) -> TextIO:
    """Take a shared store's lock together with whoever else uses it, or say that it is being mended."""
    path = store / ".lock"
    with explained(path):
        handle = path.open("a+")
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        handle.close()
        raise InputError(
            f"{store} is in use by another process, which needs it for itself, like `python -m hpo.store gc`: wait until it is"
            " done"
        ) from None
    return of_this_process(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Be the only one that has this file locked; wait for others."""
    with path.open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system say into what the user can do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text:
            raise StoreError(_FULL.format(path.parent)) from error
        if "disk I/O" in text:
            raise StoreError(
                f"{path} cannot be read or written ({text}): is the disk full, or failing? If it stays so, move the file"
                " away and run the study again; segments are recomputed"
            ) from error
        if isinstance(error, sqlite3.OperationalError) and "malformed" not in text:
            raise StoreError(f"{path}: {text}") from error
        raise StoreError(damaged(path, text)) from error
    except BrokenPipeError:
        raise  # whoever read our output is gone: nothing to do with this directory
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(_FULL.format(path.parent)) from error
        raise StoreError(f"{path}: {error.strerror or error}") from error


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Turn what goes wrong with the content of a store's row into what the user can do.

    Args:
        path: the store.
        what: the row, for the message.
    """
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(damaged(path, f"{what}: {type(error).__name__}: {error}")) from error


def damaged(path: Path, what: str) -> str:
    """Return what to tell a user whose store is damaged."""
    return f"{path} is damaged ({what}): move it away and run the study again; segments are recomputed"


_FULL = "no space left on the disk of {}: free some and run the same command; everything that is finished was kept"
