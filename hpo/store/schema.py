"""The tables of a store, and how its database is opened.

A run directory's store has `TABLES`; a shared one has the same and `SHARED_TABLES`. What the tables of the other kind would hold
stays empty: a run directory that uses a shared store has no segments, and a shared store has no journal.
"""

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cache
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.layout import DATABASE

SCHEMA_VERSION = 1
BUSY_SECONDS = 60.0
"""How long to wait for another process that writes."""
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
"""The name of the fact that says that a store is a shared one: `SHARED`."""
SHARED = "shared"
STORE = "shared_store"
"""The name of the fact that says which shared store a run directory uses."""


def database(folder: Path) -> Path:
    """Return the path of a folder's database."""
    return folder / DATABASE


def connect(path: Path, *, shared: bool = False) -> sqlite3.Connection:
    """Open a database to read and write, and make its tables where they are not there.

    Args:
        path: of the database.
        shared: whether it is to be a shared store's.

    Raises:
        InputError: it was written by another version, or is of the other kind.
        sqlite3.Error: it is damaged, or the disk is full.
    """
    check_whole(path)
    with suppress(
        FileExistsError
    ):  # SQLite would make it with 0644, and its log likewise: nobody could share the store
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)
    try:
        check_schema(db, path)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        # Keys are random: with the defaults, a large store moves each of its pages to and from the disk often.
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
                f"{path.parent} is a shared store, not a run directory: give it as --store, and another --out"
            )
        if shared:
            db.executescript(SHARED_TABLES)
    except BaseException:
        db.close()
        raise
    return db


def check_schema(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a database with anything in it but a store's tables, before anything is read of it, and let signals in.

    A view or a trigger would run what whoever wrote the file wants, without end if that is wanted.

    Args:
        db: just opened; its queries can be interrupted from now on.
        path: of the database.

    Raises:
        InputError: it is no store, or one of another version.
    """
    db.execute("PRAGMA trusted_schema=OFF")
    # Python sees a signal only between its own instructions: `explained` makes an interruption of what then fails.
    db.set_progress_handler(lambda: 0, 100_000)
    found = _schema(db)
    foreign = sorted(name for statement, name in found.items() if statement not in _own_schema())
    if foreign and any(statement in _own_schema() and name == "meta" for statement, name in found.items()):
        check_version(path, fact(db, "schema_version"))
    if foreign:
        raise InputError(
            f"{path}: {', '.join(map(repr, foreign))} in it cannot be in a store: hpo did not write it, or it was changed since."
            " Move it away, or give another directory"
        )


@cache
def _own_schema() -> Mapping[str, str]:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLES + SHARED_TABLES)
        return _schema(db)


def _schema(db: sqlite3.Connection) -> dict[str, str]:
    """Return the statements that made a database, on one line each, and the names of what they made."""
    found = db.execute("SELECT sql, name FROM sqlite_master WHERE sql IS NOT NULL")
    return {" ".join(str(sql).split()): str(name) for sql, name in found}


def check_whole(path: Path) -> None:
    """Refuse a database that ends within a page: SQLite would read what is missing of it as zeros."""
    with suppress(FileNotFoundError):  # another process may just have closed it
        if path.with_name(f"{path.name}-wal").stat().st_size:
            return  # what a killed process did not finish to write is in the log
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(18)
        page_size = int.from_bytes(header[16:18], "big")
        if len(header) == 18 and page_size > 1 and file.seek(0, 2) % page_size:
            raise sqlite3.DatabaseError("it ends in the middle of a page: it was cut short")


def fact(db: sqlite3.Connection, name: str) -> str | None:
    """Return a fact of the table `meta`, or None."""
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return None if row is None else str(row[0])


def check_version(path: Path, found: str | None) -> None:
    """Raise `InputError` if a store was written by a version that this one cannot read."""
    if found != str(SCHEMA_VERSION):
        raise InputError(
            f"{path}: written with store schema {found}, this version of hpo reads {SCHEMA_VERSION}: use the version that"
            " wrote it, or another directory"
        )
