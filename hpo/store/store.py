"""The store of a study: results and the journal in SQLite, checkpoints as files; its own, or shared with other studies.

Only coordinators write rows; workers write checkpoint files, the file before the row. Each row is committed separately, so
that `kill -9` loses at most the segments in flight (WAL with `synchronous=NORMAL`: a power loss may lose the most recent rows,
but never corrupts the database). `flock` allows one coordinator per run directory; a shared store allows any number.
"""

from contextlib import ExitStack
from pathlib import Path

from hpo.core.checkpoints import CheckpointFiles
from hpo.core.errors import InputError, StoreError
from hpo.core.files import inside, real_folder
from hpo.core.locks import Place, explained, lock, lock_shared, locked
from hpo.core.run_files import CHECKPOINTS, COORDINATORS, LOCK, OPENING, RESULTS, check_ours, remove_leftovers
from hpo.core.segments import Key
from hpo.store.claims import Claim, Claims
from hpo.store.records import Stored, TestResult
from hpo.store.schema import STORE, connect, database
from hpo.store.segment_rows import SegmentRows
from hpo.store.study_rows import StudyRows

OUT_ADVICE = "give another --out, a new or empty folder or the run directory of a study"


class Store:
    """The rows and files of one study. Use it as a context manager: it holds the run directory's lock.

    `segments` holds the rows that any study would compute under the same keys, `study` the rows of this study. Writes that a
    shared store must record go through the store's own methods: `claim`, `put`, `put_test`, `drop_test`, `open_test`, `set_study`.

    Args:
        run_dir: the run directory; created if missing.
        shared: the folder of a store that several studies share; created if missing. It then holds segments, test results
            and checkpoints. None: the run directory holds these, too.
        checkpoint_budget: bytes of checkpoint files to keep; above it, those of finished replicates are evicted first,
            then the oldest. None keeps all, as a shared store always does: others may need them.

    Raises:
        InputError: the directory is in use by another process, another version wrote its store, or it was begun with
            another kind of store.
        StoreError: the store is damaged, or the disk is full.
    """

    def __init__(self, run_dir: Path, *, shared: Path | None = None, checkpoint_budget: int | None = None) -> None:
        self._given = run_dir
        # A task may change the current folder.
        run_dir, shared = run_dir.absolute(), None if shared is None else shared.absolute()
        check_ours(run_dir, OUT_ADVICE)
        if shared is not None:
            check_ours(shared, "give another --store, a new or empty folder or a store")
        self.run_dir = run_dir
        self.checkpoint_home = run_dir if shared is None else shared
        """The folder whose `checkpoints` takes the checkpoint files."""
        self._claims: Claims | None = None
        path = database(run_dir)
        with ExitStack() as stack:
            with explained(path):
                run_dir.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock(run_dir))
            _check_emptied(path)
            with explained(path):
                remove_leftovers(run_dir)
                db = connect(path)
                stack.callback(db.close)
            self._folder = Place.of(run_dir)
            self._places = [Place.of(run_dir / LOCK), Place.of(path)]
            self.study = StudyRows(db, path)
            self._check_kind(shared)
            files = CheckpointFiles(self.checkpoint_home / CHECKPOINTS)
            if shared is None:
                with explained(path):
                    self.segments = SegmentRows(db, path, files, checkpoint_budget)
            else:
                self.segments, self._claims = self._join(shared, files, stack)
            self._open = stack.pop_all()

    def _check_kind(self, shared: Path | None) -> None:
        """Raise `InputError` if --store does not match the store that the study began with."""
        known = self.study.meta(STORE)
        if shared is None and known is not None:
            raise InputError(
                f"{self.run_dir} was begun with --store {known}: give it again (or the place that it was moved to)"
            )
        if shared is None:
            return
        if shared.resolve() == self.run_dir.resolve():
            raise InputError(f"--store {shared} is the run directory itself: give a folder of its own")
        if known not in (None, str(shared.resolve())) and not database(shared).exists():
            raise InputError(f"{self.run_dir} was begun with --store {known}, and there is no store in {shared}")
        if known is None:
            with explained(self.study.path):
                own = self.study.db.execute("SELECT COUNT(*) FROM segments").fetchone()[0]
            if own:
                raise InputError(
                    f"{self.run_dir} was begun without --store and holds {own} segments: go on without, or give another --out"
                )

    def _join(self, shared: Path, files: CheckpointFiles, stack: ExitStack) -> tuple[SegmentRows, Claims]:
        """Open the shared store, as one of the coordinators that use it."""
        path = database(shared)
        with explained(path):
            shared.mkdir(parents=True, exist_ok=True)
        stack.enter_context(lock_shared(shared))
        # One at a time: two processes must not create a database together, and a sweep must not see a file before it is locked.
        with explained(path), locked(inside(shared, OPENING)):
            db = connect(path, shared=True)
            stack.callback(db.close)
            self._places += [Place.of(shared / LOCK), Place.of(path)]
            claims = Claims(db, real_folder(shared, COORDINATORS))
            stack.callback(claims.close)
            claims.sweep()
            return SegmentRows(db, path, files, None), claims

    @property
    def shown(self) -> Path:
        """The run directory as the user gave it, as long as that path leads there."""
        return self._given if self._given.absolute() == self.run_dir else self.run_dir

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database, and release claims and locks."""
        self._open.close()

    # --- what is shared ----------------------------------------------------------------------------------------------

    def claim(self, key: Key, *, test: bool, state: bool) -> Claim:
        """Claim a job just before it is submitted to a worker.

        Without a shared store the answer is always `Claim.OURS`.

        Args:
            key: the segment's key.
            test: whether it is the test of the model at the segment.
            state: whether the segment's checkpoint is needed, too.
        """
        if self._claims is None:
            return Claim.OURS
        with explained(self.segments.path):
            claim = self._claims.take(key, test, lambda: self.segments.is_there(key, test, state))
        if claim is Claim.DONE:
            self.segments.forget(key)  # cached while its checkpoint was missing
        return claim

    def unclaim(self, key: Key, *, test: bool) -> None:
        """Release a claim on a job that was not run."""
        if self._claims is not None:
            with explained(self.segments.path):
                self._claims.release(key, test)

    def unclaim_all(self) -> None:
        """Release all claims, when no worker runs a job."""
        if self._claims is not None:
            self._claims.release_all()

    def has_its_folder(self) -> bool:
        """Return whether the run directory still exists and is still the same folder."""
        try:
            self._folder.check()
        except StoreError:
            return False
        return True

    def check_there(self) -> None:
        """Raise `StoreError` if the store was deleted or moved while it is in use: SQLite does not notice."""
        for place in self._places:
            place.check()

    def put(self, key: Key, seed: int, stored: Stored) -> None:
        """Store a finished segment; if it is there already, check that the results are equal.

        Raises:
            StoreError: the key has a different result (the computation is not deterministic), or the store was deleted.
        """
        self.check_there()
        self.segments.put(key, seed, stored)
        self.unclaim(key, test=False)

    def put_test(self, key: Key, result: TestResult) -> None:
        """Store a test result."""
        self.check_there()
        self.segments.put_test(key, result)
        self.unclaim(key, test=True)

    def drop_test(self, key: Key) -> None:
        """Remove the test result of the model at a segment, unless a study on a shared store uses it."""
        if self._claims is not None:
            with explained(self.segments.path):
                rested_on = self.segments.db.execute("SELECT 1 FROM study_openings WHERE key = ?", (key,)).fetchone()
            if rested_on:
                return
        self.segments.drop_test(key)

    def set_study(self, text: str) -> None:
        """Record the study of the run directory, and where its segments are."""
        self.study.set_meta("study", text)
        if self._claims is not None:
            self.study.set_meta(STORE, str(self.checkpoint_home.resolve()))
            with explained(self.segments.path):
                self.segments.db.execute("INSERT OR REPLACE INTO studies VALUES (?, ?)", (self._place, text))

    def open_test(self, seed: int, arm: str, key: Key, fingerprint: str) -> None:
        """Count an opening of the test set: once per arm, replicate and final model, even if it is replayed."""
        self.study.open_test(seed, arm, key, fingerprint)
        if self._claims is not None:
            with explained(self.segments.path):
                self.segments.db.execute(
                    "INSERT OR IGNORE INTO study_openings VALUES (?, ?, ?, ?, ?)",
                    (self._place, seed, arm, key, fingerprint),
                )

    @property
    def _place(self) -> str:
        return str(self.run_dir.resolve())


def _check_emptied(path: Path) -> None:
    """Raise `StoreError` if the database is empty but results exist: SQLite would treat it as new and recompute everything."""
    with explained(path):
        empty = path.exists() and path.stat().st_size <= 1 and not path.with_name(f"{path.name}-wal").exists()
    if empty and (path.parent / RESULTS).exists():
        raise StoreError(
            f"{path}: is empty, though there are results next to it: it was truncated. Restore a copy, or give another"
            " --out to begin anew"
        )
