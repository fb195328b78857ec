"""Claims: which coordinator computes what, when several share a store.

A coordinator claims a segment or a test just before it gives it to a worker, and releases the claim with the result. A
coordinator that needs a segment claimed by another one does other work and checks again later. A claim lasts as long as the process
that made it: each coordinator locks a file of its own with `flock`, and the kernel releases the lock when the process ends, for
any reason. The claim is then free at once. (A process stopped with Ctrl-Z is alive and keeps its claims.)

Coordinators cannot deadlock: a claimed segment is already running on a worker and waits for nothing.
"""

import fcntl
import os
import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.files import inside, open_regular, remove_regular
from hpo.core.locks import of_this_process
from hpo.core.segments import Key

_NAME = re.compile(r"\d+-[0-9a-f]{32}")
"""The file name of a coordinator; the folder holds no other files of ours."""


class Claim(Enum):
    """The answer to a claim."""

    OURS = "ours"
    """Nobody else computes it: go ahead."""
    THEIRS = "theirs"
    """Another coordinator is computing it: check again later."""
    DONE = "done"
    """It is already in the store."""


class Claims:
    """The claims of one coordinator in a shared store.

    Args:
        db: the shared store's database.
        folder: the existing folder of the coordinators' files.
    """

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self._db = db
        self._name = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._folder = folder
        # Lock the file before claiming anything: an unlocked file counts as a dead coordinator's.
        self._path = inside(folder.parent, folder.name, self._name)
        new = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self._file = of_this_process(os.fdopen(open_regular(self._path, new), "w"))
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def take(self, key: Key, test: bool, done: Callable[[], bool]) -> Claim:
        """Claim a segment or a test that is neither in the store nor claimed.

        Args:
            key: of the segment.
            test: True for the test of the model at the segment.
            done: returns whether the result is in the store.
        """
        claim = self._look(key, test, done)
        if claim is not None:  # usually another coordinator's: avoid the write lock
            return claim
        with transaction(self._db):
            claim = self._look(key, test, done)
            if claim is None:
                self._db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (key, test, self._name))
        return claim or Claim.OURS

    def _look(self, key: Key, test: bool, done: Callable[[], bool]) -> Claim | None:
        """Return whose claim it is; None if it is free."""
        row = self._db.execute("SELECT coordinator FROM claims WHERE key = ? AND test = ?", (key, test)).fetchone()
        # Check in this order: a coordinator stores the result before it releases the claim.
        if done():
            return Claim.DONE
        if row is None:
            return None
        if row[0] == self._name:
            return Claim.OURS
        return Claim.THEIRS if is_alive(self._folder, row[0]) else None

    def release(self, key: Key, test: bool) -> None:
        """Release a claim."""
        self._db.execute("DELETE FROM claims WHERE key = ? AND test = ? AND coordinator = ?", (key, test, self._name))

    def sweep(self) -> None:
        """Remove the claims and files of dead coordinators."""
        for file in sorted(self._folder.iterdir()):
            if _NAME.fullmatch(file.name) and file.name != self._name and not is_alive(self._folder, file.name):
                self._db.execute("DELETE FROM claims WHERE coordinator = ?", (file.name,))
                remove_regular(file)

    def release_all(self) -> None:
        """Release all claims; if the store cannot be written, they end with this process."""
        with suppress(sqlite3.Error):  # a full disk or a damaged store
            self._db.execute("DELETE FROM claims WHERE coordinator = ?", (self._name,))

    def close(self) -> None:
        """Release all claims and remove the lock file."""
        self.release_all()
        remove_regular(self._path)
        self._file.close()


def is_alive(folder: Path, name: object) -> bool:
    """Return whether a coordinator is still running.

    Args:
        folder: of the coordinators' files.
        name: from a row of the store, which is untrusted input.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return False
    try:
        with os.fdopen(open_regular(folder / name)) as handle:
            # A shared lock: two processes that check at once must not mistake each other for the owner.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, InputError):
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run a block as one exclusive transaction: all of it or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
