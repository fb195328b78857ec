"""`hpo store verify`: finds missing and damaged parts of a store."""

import hashlib
import os
import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from hpo.core.errors import HpoError, InputError, StoreError
from hpo.core.files import open_regular
from hpo.core.locks import damaged
from hpo.core.run_files import is_digest
from hpo.core.segments import Key
from hpo.store.eviction import FILED
from hpo.store.folder import Folder, opened
from hpo.store.rows import SEGMENT, TEST, read_entry, read_segment, read_test
from hpo.store.schema import database

_AGAIN = "run the study again: only this part is recomputed"


@dataclass(frozen=True)
class Defect:
    """A missing or damaged part.

    Args:
        what: the part and what is wrong with it.
        repair: what to do about it.
    """

    what: str
    repair: str


def verify(path: Path) -> list[Defect]:
    """Return what is missing or damaged in a run directory or a shared store, which may be in use.

    Raises:
        InputError: there is no store, or one of another version.
    """
    try:
        with opened(path) as folder:
            return list(_problems(folder))
    except StoreError as error:
        return [Defect(str(error), "move it away and run the study again; the checkpoint files are kept and reused")]


def _problems(folder: Folder) -> Iterator[Defect]:
    path = database(folder.path)
    said = [text for (text,) in folder.db.execute("PRAGMA integrity_check(10)")]
    if said != ["ok"]:
        yield Defect(damaged(path, "; ".join(said)), "move it away and run the study again")
        return
    yield from _segments(folder)
    yield from _files(folder)
    yield from _tests(folder)
    with ExitStack() as stack:
        rows = folder
        if folder.uses is not None:
            try:
                rows = stack.enter_context(opened(folder.uses))
            except HpoError as error:
                yield Defect(f"its shared store: {error}", "restore it, or pass its new place with --store")
                return
        yield from _journals(folder, rows)
        yield from _openings(folder, rows)
    try:
        folder.studies()
    except HpoError as error:
        yield Defect(str(error), "move the store away and run the study again")


def _segments(folder: Folder) -> Iterator[Defect]:
    known = {key for (key,) in folder.db.execute("SELECT key FROM segments")}
    for row in folder.db.execute(f"SELECT {', '.join(SEGMENT)} FROM segments ORDER BY number"):
        who = f"segment {str(row[0])[:12]} (seed {row[1]})"
        try:
            segment = read_segment(row)
        except ValueError as error:
            yield Defect(f"{who}: {error}", _delete("segments", f"key = {_quoted(str(row[0]))}"))
            continue
        if segment.parent is not None and segment.parent not in known:
            yield Defect(f"{who}: its parent {segment.parent[:12]} is missing", _AGAIN)


def _files(folder: Folder) -> Iterator[Defect]:
    """Check each checkpoint file that a row references."""
    for digest, size in folder.db.execute(f"SELECT DISTINCT digest, size FROM segments WHERE {FILED}").fetchall():
        if not is_digest(digest):
            continue  # already reported with its row
        try:
            file = folder.files.path(digest)
        except StoreError as error:
            yield Defect(str(error), "remove the link: the checkpoint is recomputed when needed")
            continue
        found = _file_problem(file, digest, size)
        # In a store that is in use, the file may just have been evicted.
        if found is not None and _still(folder.db, digest):
            repair = (
                "it is computed again when it is needed"
                if not file.exists()
                else "remove it: it is computed again when needed"
            )
            yield Defect(f"{file}: {found}", repair)


def _file_problem(file: Path, digest: str, size: int) -> str | None:
    try:
        with os.fdopen(open_regular(file), "rb") as data:
            found = os.fstat(data.fileno()).st_size
            if found != size:
                return f"it has {found} bytes instead of {size}"
            if hashlib.file_digest(data, "sha256").hexdigest() != digest:
                return "its content does not match the digest in its name"
    except FileNotFoundError:
        return "it is missing"
    except InputError:
        return "it is not a regular file"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"
    return None


def _still(db: sqlite3.Connection, digest: str) -> bool:
    return db.execute(f"SELECT 1 FROM segments WHERE {FILED} AND digest = ?", (digest,)).fetchone() is not None


def _tests(folder: Folder) -> Iterator[Defect]:
    for row in folder.db.execute(f"SELECT {', '.join(TEST)} FROM tests"):
        who = f"the test of segment {str(row[0])[:12]}"
        try:
            key = read_test(row)
        except ValueError as error:
            yield Defect(f"{who}: {error}", _delete("tests", f"key = {_quoted(str(row[0]))}"))
            continue
        if not _has(folder, "segments", key):
            yield Defect(f"{who}: the segment is missing", _AGAIN)


def _journals(folder: Folder, rows: Folder) -> Iterator[Defect]:
    """Check that every journal is complete, and that the segments it reports exist.

    Args:
        folder: the store with the journals.
        rows: the store with the segments.
    """
    for seed, arm in folder.db.execute("SELECT DISTINCT seed, arm FROM journal ORDER BY seed, arm").fetchall():
        where = f"seed = {seed} AND arm = {_quoted(str(arm))}"
        found = _journal_problem(folder.db, rows, seed, arm)
        if found is None:
            continue
        what, whole = found
        again = f"{_delete('journal', where)} and run the study again: it is rewritten from the segments"
        yield Defect(f"the journal of arm {arm!r}, seed {seed}: {what}", _AGAIN if whole else again)


def _journal_problem(db: sqlite3.Connection, rows: Folder, seed: int, arm: str) -> tuple[str, bool] | None:
    """Return what is wrong with a journal, and whether the journal itself is complete."""
    told: set[Key] = set()
    lacking: str | None = None
    entries = db.execute(
        "SELECT position, kind, content FROM journal WHERE seed = ? AND arm = ? ORDER BY position", (seed, arm)
    )
    last = ""
    for expected, (position, kind, content) in enumerate(entries):
        if position != expected:
            return f"entry {expected} is missing", False
        if last == "best":
            return f"entry {position} comes after its end", False
        last = kind
        try:
            _, keys = read_entry(kind, content)
        except ValueError as error:
            return f"entry {position}: {error}", False
        if kind == "best" and (unknown := [key for key in keys if key not in told]):
            return f"entry {position}: the answer {unknown[0][:12]} was never reported", False
        told.update(keys)
        for key in keys:
            if lacking is None and not _has(rows, "segments", key):
                lacking = f"entry {position}: segment {key[:12]} is missing"
    return None if lacking is None else (lacking, True)


def _openings(folder: Folder, rows: Folder) -> Iterator[Defect]:
    """Check that every opening of the test set has its result."""
    if folder.shared:
        return
    for seed, arm, key, fingerprint in folder.db.execute("SELECT seed, arm, key, fingerprint FROM openings").fetchall():
        found = rows.db.execute("SELECT fingerprint FROM tests WHERE key = ?", (key,)).fetchone()
        who = f"the test of arm {arm!r}, seed {seed}"
        if found is None:
            yield Defect(f"{who}: its result is missing", _AGAIN)
        elif found[0] != fingerprint:
            yield Defect(f"{who}: made on the test set {fingerprint[:12]}, recorded for {found[0][:12]}", _AGAIN)


def _has(folder: Folder, table: str, key: Key) -> bool:
    return folder.db.execute(f"SELECT 1 FROM {table} WHERE key = ?", (key,)).fetchone() is not None


def _delete(table: str, where: str) -> str:
    statement = f"DELETE FROM {table} WHERE {where}"
    # Users paste this into a shell: what a row holds must not become a command.
    shell = f'"{statement}"' if re.fullmatch(r"[\w =',.()+-]+", statement, re.ASCII) else shlex.quote(statement)
    return f"delete it (`sqlite3 store.sqlite {shell}`)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
