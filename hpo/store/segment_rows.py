"""Rows that any study would compute under the same key: segments, their checkpoints, and test results.

Each row is committed separately, after the file that it references.
"""

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from hpo.core.checkpoints import Checkpoint, CheckpointFiles
from hpo.core.errors import StoreError
from hpo.core.locks import explained, readable
from hpo.core.parsing import parse_json
from hpo.core.segments import Key, Segment
from hpo.store.cache import Recent
from hpo.store.eviction import FILED, SET_EVICTED, first_to_go
from hpo.store.records import Stored, TestResult


class SegmentRows:
    """The rows and files of segments.

    Args:
        db: the database.
        path: of the database, for messages.
        files: the folder of checkpoint files.
        budget: bytes of checkpoint files to keep; None keeps all.
    """

    def __init__(self, db: sqlite3.Connection, path: Path, files: CheckpointFiles, budget: int | None) -> None:
        self.db = db
        self.path = path
        self.files = files
        self._budget = budget
        self._evict_above = 0.0
        self._known = Recent()
        # Equal states share a file and count once.
        self._filed: dict[str, int] = dict(db.execute(f"SELECT DISTINCT digest, size FROM segments WHERE {FILED}"))
        for digest, size in self._filed.items():
            with readable(path, "a segment's checkpoint"):
                Checkpoint.of_row(digest, size, None)
        self.checkpoint_bytes = sum(self._filed.values())

    @property
    def empty(self) -> bool:
        """Whether nothing is finished."""
        with explained(self.path):
            return self.db.execute("SELECT 1 FROM segments LIMIT 1").fetchone() is None

    def get(self, key: Key) -> Stored | None:
        """Return a finished segment, or None."""
        known = self._known.get(key)
        if known is None:
            # A resume reads every segment, so build the error context only after an error.
            try:
                row = self.db.execute(
                    "SELECT segment, metrics, diverged, digest, size, state, evicted FROM segments WHERE key = ?",
                    (key,),
                ).fetchone()
            except sqlite3.Error:
                with explained(self.path):
                    raise
            if row is None:
                return None
            segment, metrics, diverged, digest, size, state, evicted = row
            try:
                checkpoint = None if digest is None or evicted else Checkpoint.of_row(digest, size, state)
                known = Stored(Segment.from_json(parse_json(segment)), parse_json(metrics), bool(diverged), checkpoint)
            except (ValueError, KeyError, TypeError, AttributeError):
                with readable(self.path, f"the row of segment {key[:12]}"):
                    raise
            self._known.put(key, known)
        return known

    def put(self, key: Key, seed: int, stored: Stored) -> None:
        """Store a finished segment; if it is there already, check that the results are equal.

        Raises:
            StoreError: the key has a different result: the computation is not deterministic.
        """
        checkpoint = stored.checkpoint
        metrics = json.dumps(dict(stored.metrics))
        digest = None if checkpoint is None else checkpoint.digest
        with explained(self.path):
            written = self.db.execute(
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
                row = self.db.execute("SELECT metrics, diverged, digest FROM segments WHERE key = ?", (key,)).fetchone()
                if row != (metrics, int(stored.diverged), digest):
                    raise StoreError(
                        f"{self.path}: segment {key[:12]} (member {stored.segment.member}, interval"
                        f" {stored.segment.interval}) was computed again with a different result: {row[0]} then, {metrics} now."
                        " The task or the numerics changed without its key changing: a task that draws from a generator of"
                        " its own, or reads something that is not among its options?"
                    )
                self._restore(key, checkpoint)
        self._known.put(key, stored)
        if checkpoint is not None and checkpoint.data is None and checkpoint.digest not in self._filed:
            self._filed[checkpoint.digest] = checkpoint.size
            self.checkpoint_bytes += checkpoint.size

    def is_there(self, key: Key, test: bool, state: bool) -> bool:
        """Return whether a result is in the database. This bypasses the cache: another coordinator may have written since.

        Args:
            key: the segment's key.
            test: whether to look for the test of the model at the segment.
            state: whether the segment's checkpoint must be there, too.
        """
        if test:
            query = "SELECT 1 FROM tests WHERE key = ?"
        elif state:
            query = "SELECT 1 FROM segments WHERE key = ? AND (evicted = 0 OR digest IS NULL)"
        else:
            query = "SELECT 1 FROM segments WHERE key = ?"
        return self.db.execute(query, (key,)).fetchone() is not None

    def lost(self, key: Key) -> None:
        """Mark a segment's checkpoint as missing. If it is damaged, remove its file."""
        stored = self.get(key)
        if stored is None or stored.checkpoint is None:
            return
        checkpoint = stored.checkpoint
        with explained(self.path):
            if checkpoint.data is None:
                self.files.remove(checkpoint.digest)
                self.db.execute(SET_EVICTED, (1, checkpoint.digest))
            else:
                self.db.execute("UPDATE segments SET evicted = 1 WHERE key = ?", (key,))
        self._known.clear()
        self.checkpoint_bytes -= self._filed.pop(checkpoint.digest, 0)

    def _restore(self, key: Key, checkpoint: Checkpoint | None) -> None:
        """Mark a lost checkpoint as present again."""
        if checkpoint is not None and checkpoint.data is None:
            self.db.execute(SET_EVICTED, (0, checkpoint.digest))
        elif checkpoint is not None:
            self.db.execute("UPDATE segments SET evicted = 0, state = ? WHERE key = ?", (checkpoint.data, key))
        self._known.clear()

    def evict(self, pinned: Iterable[Key], running: Iterable[int]) -> int:
        """Remove checkpoint files until they fit the budget, or only pinned ones are left.

        Args:
            pinned: segments whose checkpoints must stay.
            running: the seeds that are not finished; all others' checkpoints go first.

        Returns:
            The number of bytes removed.
        """
        if self._budget is None or self.checkpoint_bytes <= max(self._budget, self._evict_above):
            return 0
        before = self.checkpoint_bytes
        keep = {stored.checkpoint.digest for key in pinned if (stored := self.get(key)) and stored.checkpoint}
        with explained(self.path):
            rows = self.db.execute(f"SELECT digest, seed, key FROM segments WHERE {FILED} ORDER BY number").fetchall()
        # Stop a little below the budget, so that the scan above is rare.
        for _, _, key in first_to_go(rows, set(running), keep):
            if self.checkpoint_bytes <= self._budget * 0.9:
                break
            self.lost(key)
        # If most of them are pinned, delay the next scan.
        self._evict_above = self.checkpoint_bytes + self._budget * 0.05
        return before - self.checkpoint_bytes

    def forget(self, key: Key) -> None:
        """Remove a segment from the cache."""
        self._known.forget(key)

    def forget_known(self) -> None:
        """Clear the cache; the rows stay on disk."""
        self._known.clear()
        self._evict_above = 0.0

    # --- the test set ------------------------------------------------------------------------------------------------

    def test(self, key: Key) -> TestResult | None:
        """Return the test result of the model at a segment, or None."""
        with explained(self.path):
            row = self.db.execute(
                "SELECT fingerprint, metrics, diverged, correct, count FROM tests WHERE key = ?", (key,)
            ).fetchone()
        if row is None:
            return None
        fingerprint, metrics, diverged, packed, count = row
        correct = None
        with readable(self.path, f"the test of segment {key[:12]}"):
            if packed is not None:
                correct = np.unpackbits(np.frombuffer(packed, np.uint8), count=count).astype(np.bool_)
            return TestResult(parse_json(metrics), correct, fingerprint, bool(diverged))

    def put_test(self, key: Key, result: TestResult) -> None:
        """Store a test result."""
        correct = None if result.correct is None else np.packbits(result.correct).tobytes()
        count = None if result.correct is None else len(result.correct)
        with explained(self.path):
            self.db.execute(
                "INSERT OR IGNORE INTO tests VALUES (?, ?, ?, ?, ?, ?)",
                (key, result.fingerprint, json.dumps(dict(result.metrics)), int(result.diverged), correct, count),
            )

    def drop_test(self, key: Key) -> None:
        """Remove the test result of the model at a segment."""
        with explained(self.path):
            self.db.execute("DELETE FROM tests WHERE key = ?", (key,))
