"""The store of a run directory: results and the journal in SQLite, checkpoints as files.

Only the coordinator writes rows; workers write checkpoint files, the file before the row. Each row is committed by itself, so
that `kill -9` loses at most the segments in flight (WAL with `synchronous=NORMAL`: a power loss may lose the most recent rows,
and never corrupts). One coordinator per run directory, held by `flock`.
"""

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hpo.checkpoints import Checkpoint, CheckpointFiles
from hpo.errors import InputError, StoreError
from hpo.files import remove_leftovers
from hpo.rundir import explained, lock, readable
from hpo.segments import Key, Segment

SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS segments (
    number INTEGER PRIMARY KEY, key TEXT UNIQUE NOT NULL, seed INTEGER NOT NULL, segment TEXT NOT NULL,
    metrics TEXT NOT NULL, diverged INTEGER NOT NULL, digest TEXT, size INTEGER, state BLOB, evicted INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS filed ON segments (digest) WHERE state IS NULL AND digest IS NOT NULL;
CREATE TABLE IF NOT EXISTS tests (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, metrics TEXT NOT NULL, diverged INTEGER NOT NULL, correct BLOB,
    count INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS openings (
    seed INTEGER NOT NULL, arm TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    PRIMARY KEY (seed, arm, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS journal (
    seed INTEGER NOT NULL, arm TEXT NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL, content TEXT NOT NULL,
    PRIMARY KEY (seed, arm, position)
) WITHOUT ROWID;
"""

_decoder = json.JSONDecoder()
_SET_EVICTED = "UPDATE segments SET evicted = ? WHERE digest = ? AND state IS NULL AND digest IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Stored:
    """A finished segment.

    Args:
        segment: what was asked.
        metrics: validation metrics; empty when diverged or not evaluated.
        diverged: whether it diverged; then there is no checkpoint.
        checkpoint: its state; None when diverged, or when the checkpoint was evicted.
    """

    segment: Segment
    metrics: Mapping[str, float]
    diverged: bool
    checkpoint: Checkpoint | None


@dataclass(frozen=True)
class TestResult:
    """What the test set said of one retrained model.

    Args:
        metrics: numbers by name; those that were not finite are left out.
        correct: per example, in the test set's order; None where that means nothing.
        fingerprint: of the test set.
        diverged: a metric was not finite.
    """

    __test__ = False  # no test case for pytest

    metrics: Mapping[str, float]
    correct: NDArray[np.bool_] | None
    fingerprint: str
    diverged: bool


def _parsed(text: str) -> Any:
    """Return what a JSON text without spaces around it holds."""
    value, end = _decoder.raw_decode(text)
    if end != len(text):
        raise ValueError(f"extra data: {text[end : end + 20]!r}")
    return value


class _Recent:
    """The finished segments that were used last, between one and two generations of them.

    A generation is full at so many entries, or bytes of states; then the one before it is let go. So memory does not grow with
    a study, and what a population goes on from is at hand.
    """

    _ENTRIES = 25_000
    _BYTES = 64 * 1024 * 1024

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._old: dict[Key, Stored] = {}
        self._young: dict[Key, Stored] = {}
        self._bytes = 0

    def get(self, key: Key) -> Stored | None:
        found = self._young.get(key)
        if found is None:
            found = self._old.pop(key, None)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: Key, stored: Stored) -> None:
        if len(self._young) >= self._ENTRIES or self._bytes >= self._BYTES:
            self._old, self._young, self._bytes = self._young, {}, 0
        self._young[key] = stored
        if stored.checkpoint is not None and stored.checkpoint.data is not None:
            self._bytes += len(stored.checkpoint.data)


class Store:
    """The rows and files of one run directory. Use it as a context manager: it holds the directory's lock.

    Args:
        run_dir: the run directory; made if it is not there.
        checkpoint_budget: bytes of checkpoint files to keep; above it the ones of finished replicates go first, then the
            least recent. None keeps all.

    Raises:
        InputError: the directory is in use by another process, or its store was written by another version.
        StoreError: the store is damaged, or the disk is full.
    """

    def __init__(self, run_dir: Path, *, checkpoint_budget: int | None = None) -> None:
        self.run_dir = run_dir
        self.path = run_dir / "store.sqlite"
        self.files = CheckpointFiles(run_dir / "checkpoints")
        self._budget = checkpoint_budget
        with explained(self.path):
            run_dir.mkdir(parents=True, exist_ok=True)
        self._lock = lock(run_dir)
        try:
            with explained(self.path):
                remove_leftovers(run_dir)
                self._db = sqlite3.connect(self.path, isolation_level=None)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=NORMAL")
                # Keys are random: with the defaults, a large store moves each of its pages to and from the disk often.
                self._db.execute("PRAGMA cache_size=-65536")  # KiB
                self._db.execute("PRAGMA wal_autocheckpoint=8000")  # pages
                self._db.executescript(_SCHEMA)
                self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
                # Equal states share a file, and count once.
                self._filed: dict[str, int] = dict(
                    self._db.execute(
                        "SELECT DISTINCT digest, size FROM segments"
                        " WHERE evicted = 0 AND state IS NULL AND digest IS NOT NULL"
                    )
                )
                self.checkpoint_bytes = sum(self._filed.values())
            if self.meta("schema_version") != str(SCHEMA_VERSION):
                raise InputError(
                    f"{self.path}: written with store schema {self.meta('schema_version')}, this version of hpo reads"
                    f" {SCHEMA_VERSION}: use the version that wrote it, or another --out"
                )
        except BaseException:
            self._lock.close()
            raise
        self._known = _Recent()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the database and let the lock go."""
        self._db.close()
        self._lock.close()

    # --- facts about the run directory ------------------------------------------------------------------------------

    def meta(self, name: str) -> str | None:
        """Return a fact that was kept with `set_meta`, or None."""
        with explained(self.path):
            row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def set_meta(self, name: str, value: str) -> None:
        """Keep a fact about the run directory."""
        with explained(self.path):
            self._db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    # --- segments ----------------------------------------------------------------------------------------------------

    def get(self, key: Key) -> Stored | None:
        """Return a finished segment, or None."""
        known = self._known.get(key)
        if known is None:
            # A resume reads every segment: errors alone pay for what explains them.
            try:
                row = self._db.execute(
                    "SELECT segment, metrics, diverged, digest, size, state, evicted FROM segments WHERE key = ?",
                    (key,),
                ).fetchone()
            except sqlite3.Error:
                with explained(self.path):
                    raise
            if row is None:
                return None
            segment, metrics, diverged, digest, size, state, evicted = row
            checkpoint = None if digest is None or evicted else Checkpoint(digest, size, state)
            try:
                known = Stored(Segment.from_json(_parsed(segment)), _parsed(metrics), bool(diverged), checkpoint)
            except (ValueError, KeyError, TypeError, AttributeError):
                with readable(self.path, f"the row of segment {key[:12]}"):
                    raise
            self._known.put(key, known)
        return known

    def put(self, key: Key, seed: int, stored: Stored) -> None:
        """Keep a finished segment; if it was known, check that it came out the same.

        Raises:
            StoreError: the same key has another result: the promise of determinism is broken.
        """
        checkpoint = stored.checkpoint
        metrics = json.dumps(dict(stored.metrics))
        digest = None if checkpoint is None else checkpoint.digest
        with explained(self.path):
            written = self._db.execute(
                "INSERT OR IGNORE INTO segments (key, seed, segment, metrics, diverged, digest, size, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    key,
                    seed,
                    json.dumps(stored.segment.to_json()),
                    metrics,
                    int(stored.diverged),
                    digest,
                    None if checkpoint is None else checkpoint.size,
                    None if checkpoint is None else checkpoint.data,
                ),
            ).rowcount
            if not written:
                row = self._db.execute(
                    "SELECT metrics, diverged, digest FROM segments WHERE key = ?", (key,)
                ).fetchone()
                if row != (metrics, int(stored.diverged), digest):
                    raise StoreError(
                        f"{self.path}: segment {key[:12]} (member {stored.segment.member}, interval"
                        f" {stored.segment.interval}) was computed again with another result: {row[0]} then, {metrics} now."
                        " The task or the numerics changed without its key changing: a task that draws from a generator of"
                        " its own, or reads something that is not among its options?"
                    )
                self._restore(key, checkpoint)
        self._known.put(key, stored)
        if checkpoint is not None and checkpoint.data is None and checkpoint.digest not in self._filed:
            self._filed[checkpoint.digest] = checkpoint.size
            self.checkpoint_bytes += checkpoint.size

    def lost(self, key: Key) -> None:
        """Note that a segment's checkpoint is no longer there (or damaged: then its file is removed)."""
        stored = self.get(key)
        if stored is None or stored.checkpoint is None:
            return
        checkpoint = stored.checkpoint
        with explained(self.path):
            if checkpoint.data is None:
                self.files.remove(checkpoint.digest)
                self._db.execute(_SET_EVICTED, (1, checkpoint.digest))
            else:
                self._db.execute("UPDATE segments SET evicted = 1 WHERE key = ?", (key,))
        self._known.clear()
        self.checkpoint_bytes -= self._filed.pop(checkpoint.digest, 0)

    def _restore(self, key: Key, checkpoint: Checkpoint | None) -> None:
        """Note that a lost checkpoint is there again."""
        if checkpoint is not None and checkpoint.data is None:
            self._db.execute(_SET_EVICTED, (0, checkpoint.digest))
        elif checkpoint is not None:
            self._db.execute("UPDATE segments SET evicted = 0, state = ? WHERE key = ?", (checkpoint.data, key))
        self._known.clear()

    def evict(self, pinned: Iterable[Key], running: Iterable[int]) -> int:
        """Remove checkpoint files until they fit the budget.

        Args:
            pinned: segments whose checkpoints must stay.
            running: the seeds that are not finished; all others' checkpoints go first.

        Returns:
            How many bytes were removed.
        """
        if self._budget is None or self.checkpoint_bytes <= self._budget:
            return 0
        before = self.checkpoint_bytes
        keep = {stored.checkpoint.digest for key in pinned if (stored := self.get(key)) and stored.checkpoint}
        active = set(running)
        with explained(self.path):
            rows = self._db.execute(
                "SELECT digest, seed, key FROM segments"
                " WHERE evicted = 0 AND state IS NULL AND digest IS NOT NULL ORDER BY number"
            ).fetchall()
        needed = {digest for digest, seed, _ in rows if seed in active}
        # Stop a little below the budget, so that the scan above is rare.
        for digest, _, key in sorted(rows, key=lambda row: row[0] in needed):
            if self.checkpoint_bytes <= self._budget * 0.9:
                break
            if digest not in keep:
                self.lost(key)
        return before - self.checkpoint_bytes

    def forget_known(self) -> None:
        """Free the memory of results that were read; they stay on disk."""
        self._known.clear()

    # --- the journal -------------------------------------------------------------------------------------------------

    def journal(self, seed: int, arm: str) -> list[tuple[str, str]]:
        """Return the journal of one arm in one replicate: (kind, content) in order."""
        with explained(self.path):
            return self._db.execute(
                "SELECT kind, content FROM journal WHERE seed = ? AND arm = ? ORDER BY position", (seed, arm)
            ).fetchall()

    def append_journal(self, seed: int, arm: str, position: int, kind: str, content: str) -> None:
        """Add one entry to a journal."""
        with explained(self.path):
            self._db.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", (seed, arm, position, kind, content))

    def begun(self) -> tuple[set[int], set[str]]:
        """Return the seeds and the arms of which something is journaled."""
        seeds: set[int] = set()
        arms: set[str] = set()
        with explained(self.path):
            # From each arm to the next one: a journal holds every segment, and is not to be read for this.
            row = self._db.execute("SELECT seed, arm FROM journal ORDER BY seed, arm LIMIT 1").fetchone()
            while row is not None:
                seeds.add(row[0])
                arms.add(row[1])
                row = self._db.execute(
                    "SELECT seed, arm FROM journal WHERE (seed, arm) > (?, ?) ORDER BY seed, arm LIMIT 1", row
                ).fetchone()
        return seeds, arms

    def drop_journal(self, seed: int, arm: str) -> None:
        """Remove the journal of one arm in one replicate; its segments stay."""
        with explained(self.path):
            self._db.execute("DELETE FROM journal WHERE seed = ? AND arm = ?", (seed, arm))

    # --- the test set ------------------------------------------------------------------------------------------------

    def test(self, key: Key) -> TestResult | None:
        """Return what the test set said of the model at a segment, or None."""
        with explained(self.path):
            row = self._db.execute(
                "SELECT fingerprint, metrics, diverged, correct, count FROM tests WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        fingerprint, metrics, diverged, packed, count = row
        correct = None
        with readable(self.path, f"the test of segment {key[:12]}"):
            if packed is not None:
                correct = np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(np.bool_)
            return TestResult(json.loads(metrics), correct, fingerprint, bool(diverged))

    def put_test(self, key: Key, result: TestResult) -> None:
        """Keep what the test set said."""
        correct = None if result.correct is None else np.packbits(result.correct).tobytes()
        count = None if result.correct is None else len(result.correct)
        with explained(self.path):
            self._db.execute(
                "INSERT OR IGNORE INTO tests VALUES (?, ?, ?, ?, ?, ?)",
                (key, result.fingerprint, json.dumps(dict(result.metrics)), int(result.diverged), correct, count),
            )

    def drop_test(self, key: Key) -> None:
        """Remove what the test set said of the model at a segment."""
        with explained(self.path):
            self._db.execute("DELETE FROM tests WHERE key = ?", (key,))

    def open_test(self, seed: int, arm: str, key: Key, fingerprint: str) -> None:
        """Count an opening of the test set: once per arm, replicate and final model, however often it is replayed."""
        with explained(self.path):
            self._db.execute("INSERT OR IGNORE INTO openings VALUES (?, ?, ?, ?)", (seed, arm, key, fingerprint))

    def opened(self) -> set[tuple[int, str]]:
        """Return the (seed, arm) that are finished: the test set was opened for them."""
        with explained(self.path):
            return set(self._db.execute("SELECT DISTINCT seed, arm FROM openings").fetchall())

    def tests_opened(self) -> int:
        """Return how many models the test set was opened for, over all seeds and arms."""
        with explained(self.path):
            return int(self._db.execute("SELECT COUNT(*) FROM openings").fetchone()[0])

    def openings(self, fingerprint: str) -> dict[tuple[int, str], int]:
        """Return how often the test set with this fingerprint was opened, by (seed, arm)."""
        with explained(self.path):
            rows = self._db.execute(
                "SELECT seed, arm, COUNT(*) FROM openings WHERE fingerprint = ? GROUP BY seed, arm", (fingerprint,)
            ).fetchall()
        return {(seed, arm): count for seed, arm, count in rows}
