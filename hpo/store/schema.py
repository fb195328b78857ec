"""The tables of a store, and opening its database.

A run directory's store has `TABLES`; a shared store has `SHARED_TABLES` as well. Some tables stay empty: a run directory with a
shared store has no segments of its own, and a shared store has no journal.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.run_files import DATABASE

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
"""Seconds to wait for another process that is writing."""
TABLES = """
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
SHARED_TABLES = """
CREATE TABLE IF NOT EXISTS studies (run_dir TEXT PRIMARY KEY, study TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS study_openings (
    run_dir TEXT NOT NULL, seed INTEGER NOT NULL, arm TEXT NOT NULL, key TEXT NOT NULL, fingerprint TEXT NOT NULL,
    PRIMARY KEY (run_dir, seed, arm, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    key TEXT NOT NULL, test INTEGER NOT NULL, coordinator TEXT NOT NULL, PRIMARY KEY (key, test)
) WITHOUT ROWID;
"""
KIND = "kind"
"""The name of the fact that is `SHARED` in a shared store."""
SHARED = "shared"
STORE = "shared_store"
"""The name of the fact that holds the path of a run directory's shared store."""


def database(folder: Path) -> Path:
    """Return the path of a folder's database."""
    return folder / DATABASE


def connect(path: Path, *, shared: bool = False) -> sqlite3.Connection:
    """Open a database for reading and writing, and create missing tables.

    Args:
        path: of the database.
        shared: whether it belongs to a shared store.

    Raises:
        InputError: another version wrote it, or it is of the other kind.
        sqlite3.Error: it is damaged, or the disk is full.
    """
    check_whole(path)
    with suppress(FileExistsError):  # SQLite would create it and its log with mode 0644, which other users cannot share
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        check_schema(db, path)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        # Keys are random: with the default cache, a large store rereads and rewrites its pages often.
        db.execute("PRAGMA cache_size=-65536")  # KiB
        db.execute("PRAGMA wal_autocheckpoint=8000")  # pages
        new = db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        db.executescript(TABLES)
        db.execute("INSERT OR IGNORE INTO meta VALUES ('schema_version', ?)", (str(SCHEMA_VERSION),))
        check_version(path, fact(db, "schema_version"))
        if shared and new:
            db.execute("INSERT INTO meta VALUES (?, ?)", (KIND, SHARED))
        kind = fact(db, KIND)
        if shared and kind != SHARED:
            raise InputError(f"{path.parent} is a run directory, not a shared store: give another --store")
        if not shared and kind == SHARED:
            raise InputError(
                f"{path.parent} is a shared store, not a run directory: pass it as --store, and give another --out"
            )
        if shared:
            db.executescript(SHARED_TABLES)
    except BaseException:
        db.close()
        raise
    return db


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a database that holds anything but a store's tables, before reading from it, and make its queries interruptible.

    A view or a trigger would run any SQL of the file's author, possibly forever.

    Args:
        db: a connection that has just been opened.
        path: of the database.

    Raises:
        InputError: it is not a store, or another version wrote it.
    """
    db.execute("PRAGMA trusted_schema=OFF")
    # Python handles signals only between its own instructions: give it some. `explained` turns the failure into an interruption.
    db.set_progress_handler(lambda: 0, 100_000)
    found = _schema(db)
    foreign = sorted(name for statement, name in found.items() if statement not in _own_schema())
    if foreign and any(statement in _own_schema() and name == "meta" for statement, name in found.items()):
        check_version(path, fact(db, "schema_version"))
    if foreign:
        raise InputError(
            f"{path}: not a store of hpo, or changed since: it contains {', '.join(map(repr, foreign))}."
            " Move it away, or give another directory"
        )


@cache
def _own_schema() -> Mapping[str, str]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES + SHARED_TABLES)
        return _schema(db)


def _schema(db: sqlite3.Connection) -> dict[str, str]:
    """Return the SQL statements that created a database, each on one line, with the names of what they created."""
    found = db.execute("SELECT sql, name FROM sqlite_master WHERE sql IS NOT NULL")
    return {" ".join(str(sql).split()): str(name) for sql, name in found}


def check_whole(path: Path) -> None:
    """Refuse a database that ends within a page: SQLite would read the missing bytes as zeros."""
    with suppress(FileNotFoundError):  # another process may just have closed the database
        if path.with_name(f"{path.name}-wal").stat().st_size:
            return  # the log holds what a killed process did not finish writing
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(18)
        page_size = int.from_bytes(header[16:18], "big")
        if len(header) == 18 and page_size > 1 and file.seek(0, 2) % page_size:
            raise sqlite3.DatabaseError("the file was cut short: it ends in the middle of a page")


def fact(db: sqlite3.Connection, name: str) -> str | None:
    """Return a fact of the table `meta`, or None."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def check_version(path: Path, found: str | None) -> None:
    """Raise `InputError` if a store was written by a version that this one cannot read."""
    if found != str(SCHEMA_VERSION):
        raise InputError(
            f"{path}: store schema {found}; this version of hpo reads {SCHEMA_VERSION}: use the version that"
            " wrote it, or give another directory"
        )
