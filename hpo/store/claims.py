"""Who computes what, where several coordinators share a store.

A coordinator claims a segment, or a test, at the moment at which it would give it to a worker, and gives the claim back with the
result. Whoever else needs it meanwhile does other work and looks again. A claim holds as long as the process that made it: each
coordinator has a file of its own, locked with `flock`, and the kernel lets that lock go when the process ends, however it ends.
Then the claim is anybody's, at once. (A process that is stopped, as by Ctrl-Z, is not dead, and keeps its claims.)

There are no circles of coordinators that wait for each other: what is claimed is with a worker, and waits for nothing.
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
"""How a coordinator's file is called; nothing else in the folder is ours."""


class Claim(Enum):
    """What came of a wish to compute something."""

    OURS = "ours"
    """Nobody else computes it: go on."""
    THEIRS = "theirs"
    """Another coordinator computes it now: look again later."""
    DONE = "done"
    """It is in the store by now."""


class Claims:
    """The claims of one coordinator in a shared store.

    Args:
        db: the shared store's database.
        folder: where coordinators have their files; it is there.
    """

    def __init__(self, db: sqlite3.Connection, folder: Path) -> None:
        self._db = db
        self._name = f"{os.getpid()}-{uuid.uuid4().hex}"
        self._folder = folder
        # Before anything is claimed in its name: a file that nobody has locked is a dead one's.
        self._path = inside(folder.parent, folder.name, self._name)
        new = os.O_RDWR | os.O_CREAT | os.O_EXCL
        self._file = of_this_process(os.fdopen(open_regular(self._path, new), "w"))
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def take(self, key: Key, test: bool, done: Callable[[], bool]) -> Claim:
        """Claim something, if it has still to be done and nobody does it.

        Args:
            key: the segment's.
            test: whether it is the test of the model at the segment.
            done: looks whether it is in the store.
        """
        claim = self._look(key, test, done)
        if claim is not None:  # as a rule where it is not ours: no need to keep others from writing
            return claim
        with transaction(self._db):
            claim = self._look(key, test, done)
            if claim is None:
                self._db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", (key, test, self._name))
        return claim or Claim.OURS

    def _look(self, key: Key, test: bool, done: Callable[[], bool]) -> Claim | None:
        """Return whose it is; None: it is free."""
        row = self._db.execute("SELECT coordinator FROM claims WHERE key = ? AND test = ?", (key, test)).fetchone()
        # In this order: a claim that is not there any more was given back after its result came in.
        if done():
            return Claim.DONE
        if row is None:
            return None
        if row[0] == self._name:
            return Claim.OURS
        return Claim.THEIRS if is_alive(self._folder, row[0]) else None

    def release(self, key: Key, test: bool) -> None:
        """Give a claim back."""
        self._db.execute("DELETE FROM claims WHERE key = ? AND test = ? AND coordinator = ?", (key, test, self._name))

    def sweep(self) -> None:
        """Forget the coordinators that are dead."""
        for file in sorted(self._folder.iterdir()):
            if _NAME.fullmatch(file.name) and file.name != self._name and not is_alive(self._folder, file.name):
                self._db.execute("DELETE FROM claims WHERE coordinator = ?", (file.name,))
                remove_regular(file)

    def release_all(self) -> None:
        """Give all claims back; where the store cannot be written, they end with this process."""
        with suppress(sqlite3.Error):  # a full disk or a damaged store
            self._db.execute("DELETE FROM claims WHERE coordinator = ?", (self._name,))

    def close(self) -> None:
        """Let go of everything that is claimed."""
        self.release_all()
        remove_regular(self._path)
        self._file.close()


def is_alive(folder: Path, name: object) -> bool:
    """Say whether a coordinator still runs.

    Args:
        folder: where coordinators have their files.
        name: the coordinator's, as a row of the store has it; anybody may have written that.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return False
    try:
        with os.fdopen(open_regular(folder / name)) as handle:
            # Shared: two that look at a time shall not take each other for it.
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, InputError):
        return False
    except BlockingIOError:
        return True
    return False


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Do some things at once, alone, or none of them."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
