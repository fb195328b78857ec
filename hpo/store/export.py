"""`hpo store export` and `import`: the rows of a store as JSON Lines, without checkpoint files.

The first line is a header; each other line is a row::

    {"format": "hpo store", "version": 1, "schema": 1, "kind": "run"}
    {"meta": ["study", "..."]}
    {"segments": ["<key>", 0, {...}, ...]}

Bytes are base64 texts. The export of a run directory with a shared store includes the segments that its journals and tests
need, so that the imported run directory stands alone.

To merge what several machines computed, add their exports to one shared store with `add_rows`.
"""

import base64
import binascii
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO

from hpo.core.checkpoints import CheckpointFiles
from hpo.core.errors import InputError
from hpo.core.files import inside, is_temporary, remove_regular, sync_folder, temporary_name, write_named
from hpo.core.locks import explained, readable
from hpo.core.parsing import parse_json
from hpo.core.run_files import CHECKPOINTS, DATABASE_FILES, check_ours, is_digest, remove_leftovers
from hpo.core.segments import Key
from hpo.store.claims import transaction
from hpo.store.eviction import SET_EVICTED
from hpo.store.folder import Folder, alone, opened
from hpo.store.rows import JOURNAL, SEGMENT, TEST, Row, read_entry, read_segment, read_test
from hpo.store.schema import KIND, SCHEMA_VERSION, STORE, connect, database

FORMAT, VERSION = "hpo store", 1
_HEADER_START = json.dumps({"format": FORMAT}).removesuffix("}").encode()
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "meta": ("name", "value"),
    "segments": SEGMENT,
    "tests": TEST,
    "openings": ("seed", "arm", "key", "fingerprint"),
    "journal": JOURNAL,
    "studies": ("run_dir", "study"),
    "study_openings": ("run_dir", "seed", "arm", "key", "fingerprint"),
}
_KINDS: dict[str, tuple[str, ...]] = {"run": ("meta", "segments", "tests", "openings", "journal")}
_KINDS["shared"] = ("segments", "tests", "studies", "study_openings")
_BYTES = {"segments": SEGMENT.index("state"), "tests": TEST.index("correct")}
_OF_THIS_PLACE = ("schema_version", KIND, STORE)
"""Facts about the place of a store, which are not exported."""
_OTHER_TYPES: Mapping[str, tuple[type, ...]] = {
    "meta": (str, str),
    "openings": (int, str, str, str),
    "journal": (int, str, int, str, str),
    "studies": (str, str),
    "study_openings": (str, int, str, str, str),
}


def export_rows(path: Path, out: Path) -> int:
    """Write the rows of a run directory or a shared store to a file, and return the number of segments.

    Raises:
        InputError: there is no store, or the file exists and was not written by an export.
        StoreError: the store is damaged, or the file cannot be written.
    """
    segments = 0

    def write(file: IO[bytes]) -> None:
        nonlocal segments
        with readable(database(rows.path), "a row"):
            for line in _lines(folder, rows):
                segments += line.startswith('{"segments"')
                file.write(line.encode() + b"\n")

    with ExitStack() as stack:
        folder = stack.enter_context(opened(path))
        rows = folder if folder.uses is None else stack.enter_context(opened(folder.uses))
        with explained(out):
            write_named(out, write, _HEADER_START)
    return segments


def _lines(folder: Folder, rows: Folder) -> Iterator[str]:
    """Return the lines of an export.

    Args:
        folder: the store to export.
        rows: the store that holds its segments.
    """
    kind = "shared" if folder.shared else "run"
    yield json.dumps({"format": FORMAT, "version": VERSION, "schema": SCHEMA_VERSION, "kind": kind})
    needed = None if rows is folder else _needed(folder, rows)
    for table in _KINDS[kind]:
        here = rows if table in ("segments", "tests") else folder
        order = "number" if table == "segments" else ", ".join(_COLUMNS[table])
        for row in here.db.execute(f"SELECT {', '.join(_COLUMNS[table])} FROM {table} ORDER BY {order}"):
            if (table in _BYTES and needed is not None and row[0] not in needed) or (
                table == "meta" and row[0] in _OF_THIS_PLACE
            ):
                continue
            values = list(row)
            if table in _BYTES and values[_BYTES[table]] is not None:
                values[_BYTES[table]] = base64.b64encode(values[_BYTES[table]]).decode("ascii")
            yield json.dumps({table: values})


def _needed(folder: Folder, rows: Folder) -> set[Key]:
    """Return the keys of a shared store's segments that a run directory's journals and tests need."""
    found = {str(key) for (key,) in folder.db.execute("SELECT key FROM openings")}
    for kind, content in folder.db.execute("SELECT kind, content FROM journal WHERE kind != 'ask'"):
        found.update(read_entry(kind, content)[1])
    left = list(found)
    while left:
        row = rows.db.execute("SELECT segment FROM segments WHERE key = ?", (left.pop(),)).fetchone()
        parent = None if row is None else parse_json(row[0])["parent"]
        if parent is not None and parent not in found:
            found.add(parent)
            left.append(parent)
    return found


def import_rows(file: Path, into: Path) -> int:
    """Create a run directory or a shared store from the rows in a file, and return the number of segments.

    Args:
        file: written by `export_rows`; untrusted, every line is checked.
        into: an empty or new folder.

    Raises:
        InputError: the folder is not empty, or the file is invalid; then the folder stays empty.
        StoreError: the disk is full.
    """
    if into.exists() and not (into.is_dir() and all(is_temporary(path.name) for path in into.iterdir())):
        raise InputError(_NOT_EMPTY.format(into))
    path = database(into)
    with _exported(file) as (kind, lines), explained(path):
        into.mkdir(parents=True, exist_ok=True)
        remove_leftovers(into)
        with _appearing(path) as unfinished, closing(connect(unfinished, shared=kind == "shared")) as db:
            with transaction(db):
                _fill(db, kind, file, lines)
            return _segments(db)


@contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Yield a temporary path for a database that moves to `path` once it is complete, and not if the process is killed."""
    unfinished = path.with_name(temporary_name())
    try:
        yield unfinished
        try:
            os.link(unfinished, path)  # unlike a rename, it replaces nothing
        except FileExistsError:
            raise InputError(_NOT_EMPTY.format(path.parent)) from None
        except OSError:  # a file system without hard links
            unfinished.rename(path)
        sync_folder(path.parent)
    finally:
        for name in DATABASE_FILES:
            remove_regular(unfinished.with_name(unfinished.name + name.removeprefix(path.name)))


_NOT_EMPTY = "{} is not empty: give an empty or a new folder"


def add_rows(file: Path, into: Path) -> int:
    """Add the segments and tests in a file to a shared store, created if missing; return the number of new segments.

    Journals and openings are skipped: they belong to the exported run directory. Checkpoint files already copied into the store
    are used; other large states are recomputed when needed.

    Args:
        file: written by `export_rows`; untrusted, every line is checked.
        into: the shared store; it must not be in use.

    Raises:
        InputError: the store is in use or not a shared one, or the file is invalid or contradicts a result in the store; then the
            store is unchanged.
        StoreError: the disk is full.
    """
    check_ours(into, "give another --into, a new or empty folder or a store that studies share")
    path = database(into)
    with _exported(file) as (kind, lines), explained(path):
        into.mkdir(parents=True, exist_ok=True)
        with alone(into):
            new = not path.exists()
            try:
                with closing(connect(path, shared=True)) as db, transaction(db):
                    before = _segments(db)
                    _fill(db, kind, file, lines, CheckpointFiles(into / CHECKPOINTS))
                    return _segments(db) - before
            except BaseException:
                if new:
                    _remove_database(into)
                raise


_LONGEST = 2**28
"""The longest line that is read, in bytes."""


@contextmanager
def _exported(file: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Open an exported file, and yield the kind of the exported store and the lines after the header."""
    try:
        source = file.open("rb")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror or error}") from error
    with source:
        yield _header(file, source.readline(_LONGEST)), source


def _header(file: Path, line: bytes) -> str:
    try:
        header = parse_json(line)
        known = {name: header[name] for name in ("format", "version", "schema", "kind")}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not a file written by `hpo store export`") from error
    kind = known.pop("kind")
    if known != {"format": FORMAT, "version": VERSION, "schema": SCHEMA_VERSION} or kind not in [*_KINDS]:
        raise InputError(f"{file}: this version of hpo cannot read its header {header}")
    return str(kind)


def _segments(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT COUNT(*) FROM segments").fetchone()[0])


def _remove_database(folder: Path) -> None:
    for name in DATABASE_FILES:
        remove_regular(inside(folder, name))


def _fill(
    db: sqlite3.Connection, kind: str, file: Path, lines: IO[bytes], present: CheckpointFiles | None = None
) -> None:
    """Add the rows of a file to a store.

    Args:
        db: the store.
        kind: of the exported store.
        file: its name, for errors.
        lines: after the header.
        present: the store's checkpoint files, to add only segments and tests; None to add all rows to an empty store.
    """
    for number, line in enumerate(iter(lambda: lines.readline(_LONGEST), b""), start=2):
        try:
            table, row = _row(kind, line, present)
            if present is not None and (table not in _RESULTS or _is_known(db, table, row)):
                if table == "segments" and not row[SEGMENT.index("evicted")]:
                    db.execute(SET_EVICTED, (0, row[SEGMENT.index("digest")]))  # its file has been copied here since
                continue
            marks = ", ".join("?" * len(row))
            db.execute(f"INSERT INTO {table} ({', '.join(_COLUMNS[table])}) VALUES ({marks})", row)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            raise InputError(f"{file}, line {number}: {error}") from error
        except sqlite3.IntegrityError as error:
            raise InputError(f"{file}, line {number}: duplicate row ({error})") from error


_RESULTS: Mapping[str, tuple[str, ...]] = {
    "segments": ("metrics", "diverged", "digest"),
    "tests": ("fingerprint", "metrics", "diverged", "correct"),
}
"""The columns that must agree between two rows of one key."""


def _is_known(db: sqlite3.Connection, table: str, row: Row) -> bool:
    """Return whether the store already has a row, and check that the results agree."""
    key = row[_COLUMNS[table].index("key")]
    found = db.execute(f"SELECT {', '.join(_RESULTS[table])} FROM {table} WHERE key = ?", (key,)).fetchone()
    if found is None:
        return False
    if found != tuple(row[_COLUMNS[table].index(name)] for name in _RESULTS[table]):
        raise ValueError(f"{table}: key {key!r} has a different result in the store: {found[0]}")
    return True


def _row(kind: str, line: bytes, present: CheckpointFiles | None) -> tuple[str, Row]:
    """Return the table and the checked row of a line."""
    found = parse_json(line)
    if not isinstance(found, dict) or len(found) != 1:
        raise ValueError("allowed: an object with one key, the table, and its row")
    ((table, row),) = found.items()
    if table not in _KINDS[kind]:
        raise ValueError(f"{table!r}: allowed: {', '.join(_KINDS[kind])}")
    if not isinstance(row, list) or len(row) != len(_COLUMNS[table]):
        raise ValueError(f"a row of {table} has {len(_COLUMNS[table])} values")
    if table in _BYTES:
        row[_BYTES[table]] = _bytes(row[_BYTES[table]])
    _CHECKS[table](row)
    if table == "segments" and row[SEGMENT.index("state")] is None and row[SEGMENT.index("digest")] is not None:
        # Usually the file was not copied with the export.
        there = present is not None and present.path(row[SEGMENT.index("digest")]).exists()
        row[SEGMENT.index("evicted")] = int(not there)
    return table, row


def _bytes(text: object) -> bytes | None:
    if text is None:
        return None
    try:
        return base64.b64decode(str(text), validate=True)
    except binascii.Error as error:
        raise ValueError(f"invalid base64: {error}") from error


def _checked_types(table: str) -> Callable[[Row], None]:
    """Return a check for rows of plain texts and numbers."""

    def check(row: Row) -> None:
        for name, value, wanted in zip(_COLUMNS[table], row, _OTHER_TYPES[table], strict=True):
            if type(value) is not wanted or (name == "key" and not is_digest(value)):
                raise ValueError(f"{table}.{name} = {value!r}")
        if table == "journal":
            read_entry(row[3], row[4])
        if table == "meta" and row[0] in _OF_THIS_PLACE:
            raise ValueError(f"meta.name = {row[0]!r}")

    return check


def _checks() -> Iterable[tuple[str, Callable[[Row], object]]]:
    yield "segments", read_segment
    yield "tests", read_test
    for table in _OTHER_TYPES:
        yield table, _checked_types(table)


_CHECKS: Mapping[str, Callable[[Row], object]] = dict(_checks())
