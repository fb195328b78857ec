"""Rows of one study: facts about its run directory, its journals, and its openings of the test set."""

import sqlite3
from pathlib import Path

from hpo.core.locks import explained
from hpo.core.segments import Key
from hpo.store.schema import fact


class StudyRows:
    """The rows of a run directory.

    Args:
        db: its database.
        path: of the database, for messages.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self.db = db
        self.path = path

    # --- facts about the run directory ------------------------------------------------------------------------------

    def meta(self, name: str) -> str | None:
        """Return a fact stored with `set_meta`, or None."""
        with explained(self.path):
            return fact(self.db, name)

    def set_meta(self, name: str, value: str) -> None:
        """Store a fact about the run directory."""
        with explained(self.path):
            self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    # --- the journal -------------------------------------------------------------------------------------------------

    def journal(self, seed: int, arm: str) -> list[tuple[str, str]]:
        """Return the journal of one arm in one replicate: (kind, content) in order."""
        with explained(self.path):
            return self.db.execute(
                "SELECT kind, content FROM journal WHERE seed = ? AND arm = ? ORDER BY position", (seed, arm)
            ).fetchall()

    def append_journal(self, seed: int, arm: str, position: int, kind: str, content: str) -> None:
        """Add one entry to a journal."""
        with explained(self.path):
            self.db.execute("INSERT INTO journal VALUES (?, ?, ?, ?, ?)", (seed, arm, position, kind, content))

    def begun(self) -> tuple[set[int], set[str]]:
        """Return the seeds and arms that have a journal."""
        seeds: set[int] = set()
        arms: set[str] = set()
        with explained(self.path):
            # Skip from arm to arm: reading all rows would read an entry for every segment.
            row = self.db.execute("SELECT seed, arm FROM journal ORDER BY seed, arm LIMIT 1").fetchone()
            while row is not None:
                seeds.add(row[0])
                arms.add(row[1])
                row = self.db.execute(
                    "SELECT seed, arm FROM journal WHERE (seed, arm) > (?, ?) ORDER BY seed, arm LIMIT 1", row
                ).fetchone()
        return seeds, arms

    def drop_journal(self, seed: int, arm: str) -> None:
        """Remove the journal of one arm in one replicate; its segments stay."""
        with explained(self.path):
            self.db.execute("DELETE FROM journal WHERE seed = ? AND arm = ?", (seed, arm))

    def drop_journals(self) -> None:
        """Remove all journals; the segments stay."""
        with explained(self.path):
            self.db.execute("DELETE FROM journal")

    # --- openings of the test set ------------------------------------------------------------------------------------

    def open_test(self, seed: int, arm: str, key: Key, fingerprint: str) -> None:
        """Count an opening of the test set: once per arm, replicate and final model, even if it is replayed."""
        with explained(self.path):
            self.db.execute("INSERT OR IGNORE INTO openings VALUES (?, ?, ?, ?)", (seed, arm, key, fingerprint))

    def opened(self) -> set[tuple[int, str]]:
        """Return the finished (seed, arm): those that opened the test set."""
        with explained(self.path):
            return set(self.db.execute("SELECT DISTINCT seed, arm FROM openings").fetchall())

    def tests_opened(self) -> int:
        """Return how many models the test set was opened for, over all seeds and arms."""
        with explained(self.path):
            return int(self.db.execute("SELECT COUNT(*) FROM openings").fetchone()[0])

    def openings(self, fingerprint: str) -> dict[tuple[int, str], int]:
        """Return how often the test set with this fingerprint was opened, by (seed, arm)."""
        with explained(self.path):
            rows = self.db.execute(
                "SELECT seed, arm, COUNT(*) FROM openings WHERE fingerprint = ? GROUP BY seed, arm", (fingerprint,)
            ).fetchall()
        return {(seed, arm): count for seed, arm, count in rows}
