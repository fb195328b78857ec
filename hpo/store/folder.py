"""A folder with a store, a run directory or a shared store, as the maintenance commands see it."""

import os
import sqlite3
from collections.abc import Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from hpo.core.checkpoints import CheckpointFiles
from hpo.core.errors import InputError
from hpo.core.locks import explained, lock, mark, readable
from hpo.core.parsing import parse_json
from hpo.core.run_files import CHECKPOINTS, DATABASE, LOCK, LOCK_MARK, check_names, check_ours, checkpoint_files, peek
from hpo.core.segments import Key
from hpo.store.schema import BUSY_SECONDS, KIND, SHARED, STORE, check_schema, check_version, check_whole, database, fact

Opening = tuple[int, str, Key, str]
"""A replicate's seed, an arm's label, the final segment, the test set's fingerprint."""


@dataclass(frozen=True)
class StudyIn:
    """A study that a store serves.

    Args:
        name: of the study.
        run_dir: its run directory.
        seeds: the planned seeds.
        arms: the arms' labels.
        openings: of the test set.
    """

    name: str
    run_dir: str
    seeds: tuple[int, ...]
    arms: tuple[str, ...]
    openings: tuple[Opening, ...]

    @property
    def is_gone(self) -> bool:
        """Whether its run directory was removed or moved."""
        return not database(Path(self.run_dir)).exists()

    @property
    def finished(self) -> Set[int]:
        """The seeds whose replicates are finished."""
        opened = {(seed, arm) for seed, arm, _, _ in self.openings}
        return {seed for seed in self.seeds if all((seed, arm) in opened for arm in self.arms)}


@dataclass(frozen=True)
class Folder:
    """An open store.

    Args:
        path: the folder.
        db: its database.
        shared: whether it is a shared store.
        uses: the shared store of a run directory; None if it holds its own segments.
    """

    path: Path
    db: sqlite3.Connection
    shared: bool
    uses: Path | None

    @property
    def files(self) -> CheckpointFiles:
        """Its checkpoint files."""
        return CheckpointFiles(self.path / CHECKPOINTS)

    def checkpoint_files(self) -> Sequence[Path]:
        """Return all checkpoint files, referenced by a row or not."""
        return list(checkpoint_files(self.path / CHECKPOINTS))

    def studies(self) -> list[StudyIn]:
        """Return the studies that the store serves, by run directory."""
        if self.shared:
            known = self.db.execute("SELECT run_dir, study FROM studies ORDER BY run_dir").fetchall()
        else:
            text = fact(self.db, "study")
            known = [] if text is None else [(str(self.path), text)]
        return [self._study(run_dir, text) for run_dir, text in known]

    def _study(self, run_dir: str, text: str) -> StudyIn:
        if self.shared:
            found = self.db.execute(
                "SELECT seed, arm, key, fingerprint FROM study_openings WHERE run_dir = ? ORDER BY 1, 2", (run_dir,)
            )
        else:
            found = self.db.execute("SELECT seed, arm, key, fingerprint FROM openings ORDER BY 1, 2")
        with readable(database(self.path), f"the row that says which study is in {run_dir}"):
            document = parse_json(text)["document"]
            return StudyIn(
                name=str(document["study"]["name"]),
                run_dir=run_dir,
                seeds=tuple(int(seed) for seed in document["study"]["seeds"]),
                arms=tuple(str(arm["label"]) for arm in document["arms"]),
                openings=tuple(found.fetchall()),
            )


@contextmanager
def alone(path: Path, *, read_only: bool = False) -> Iterator[None]:
    """Lock a store for exclusive use.

    Args:
        path: the folder.
        read_only: write nothing, not even a missing lock file.

    Raises:
        InputError: it is in use.
    """
    if read_only and not (path / LOCK).exists():
        yield
        return
    with lock(path, read_only=read_only) as handle:
        try:
            yield
        finally:
            if not read_only:
                mark(path, handle, LOCK_MARK)


def _mode(path: Path, write: bool) -> str:
    """Return how to open a folder's database."""
    if write:
        return "mode=rw"
    log = database(path).with_name(f"{DATABASE}-wal")
    if not os.access(path, os.W_OK) and not (log.exists() and log.stat().st_size):
        return "mode=ro&immutable=1"  # else SQLite would create a log file; in a read-only folder nobody writes
    return "mode=ro"


@contextmanager
def opened(path: Path, *, write: bool = False) -> Iterator[Folder]:
    """Open a folder's store.

    Args:
        path: the folder.
        write: whether to write in it; else it may be in use.

    Raises:
        InputError: there is no store in it, or one of another version.
        StoreError: it is damaged.
    """
    file = database(path)
    check_names(path, write=write)
    if not file.is_file():
        raise InputError(f"{path}: there is no store here ({file.name} is missing)")
    if write:  # SQLite deletes the journal of any database that it opens
        check_ours(path, "give a run directory or a store")
    with explained(file):
        check_whole(file)
        with closing(peek(file)) as db:  # the file may be anybody's, not only ours
            check_schema(db, file)
        db = sqlite3.connect(
            f"{file.resolve().as_uri()}?{_mode(path, write)}", uri=True, isolation_level=None, timeout=BUSY_SECONDS
        )
        try:
            check_schema(db, file)
            check_version(file, fact(db, "schema_version"))
            uses = fact(db, STORE)
            yield Folder(path, db, fact(db, KIND) == SHARED, None if uses is None else Path(uses))
        finally:
            db.close()
