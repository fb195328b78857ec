"""The names in a run directory, and the check that a folder is ours.

Stores that studies share, and the folders of replays, have the same layout and the same names.
"""

import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from hpo.core.errors import InputError
from hpo.core.files import inside, is_temporary, leftovers, open_regular, remove_regular

# --- names ---------------------------------------------------------------------------------------------------------------

LOCK, OPENING = ".lock", ".opening"
DATABASE = "store.sqlite"
OUR_TABLES = frozenset({"meta", "segments", "tests", "journal", "openings"})
DATABASE_FILES = (DATABASE, *(f"{DATABASE}-{part}" for part in ("wal", "shm", "journal")))
STUDY, RESULTS, EXECUTION, SEGMENTS = "study.toml", "results.json", "execution.json", "segments.csv"
PROGRESS, TRACKERS = "progress.jsonl", ".trackers"
REPORTS = ("report.html", "report.md")
REPLAY, REPLAY_MODEL = "replay.json", "model.safetensors"
CHECKPOINTS, MODELS, FIGURES, REPLAYS, COORDINATORS = "checkpoints", "models", "figures", "replays", "coordinators"

WRITTEN_IN_PLACE = (LOCK, OPENING, *DATABASE_FILES)
"""Files that are modified in place rather than replaced."""
FILES = (*WRITTEN_IN_PLACE, TRACKERS, STUDY, RESULTS, EXECUTION, SEGMENTS, PROGRESS, *REPORTS, REPLAY, REPLAY_MODEL)
FOLDERS = (CHECKPOINTS, MODELS, FIGURES, REPLAYS, COORDINATORS)

# --- names that are read from files --------------------------------------------------------------------------------------


def _label(label: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_+()-][A-Za-z0-9 _.+()-]{0,59}", label) or label.endswith(" "):
        raise ValueError(
            "1 to 60 letters, digits, spaces, '_', '-', '.', '+', '(', ')'; not starting with '.', no space at the ends"
        )
    return label


def _study_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError("a name, not a path: 1 to 100 letters, digits, '_', '-', '.'; not starting with '.'")
    return name


Label = Annotated[str, AfterValidator(_label)]
"""An arm's label, which is also part of the names of models and replays."""
StudyName = Annotated[str, AfterValidator(_study_name)]
"""A study's name, which is also that of its run directory."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def model_name(label: str, seed: int) -> str:
    """Return the name of the file of an arm's retrained winner."""
    return f"{label}-{seed}.safetensors"


def is_digest(value: object) -> bool:
    """Return whether a value is 64 hexadecimal digits, as in keys and digests; paths are built from them."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def checkpoint_names(digest: str) -> tuple[str, str]:
    """Return the names of a checkpoint's subfolder and file in the folder of checkpoints.

    Raises:
        ValueError: `digest` is not a digest.
    """
    if not is_digest(digest):
        raise ValueError(f"{digest!r} is not a digest: 64 hexadecimal digits")
    return digest[:2], f"{digest}.safetensors"


def checkpoint_files(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder of checkpoints that have a checkpoint's name; no other files there are ours."""
    for part in _entries(folder):
        if re.fullmatch("[0-9a-f]{2}", part.name) and part.is_dir(follow_symlinks=False):
            for entry in _entries(Path(part)):
                digest, _, kind = entry.name.partition(".")
                named = kind == "safetensors" and is_digest(digest) and digest.startswith(part.name)
                if named and entry.is_file(follow_symlinks=False):
                    yield Path(entry)


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """Return the entries of a folder, sorted by name; none if it does not exist or is a link."""
    if folder.is_symlink():
        return []
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def check_names(folder: Path, *, write: bool = True) -> None:
    """Check that all of our names in a folder are regular files and folders, not links.

    Args:
        folder: a run directory, a store, or a replay's folder.
        write: whether it will be written to.

    Raises:
        InputError: a name is a link or something else.
    """
    for names, is_right, what in ((FILES, stat.S_ISREG, "a regular file"), (FOLDERS, stat.S_ISDIR, "a folder")):
        for name in names:
            path = inside(folder, name)
            with suppress(FileNotFoundError, NotADirectoryError):
                found = path.lstat()
                if not is_right(found.st_mode):
                    raise InputError(f"{path} is not {what}: move it away")
                if write and name in WRITTEN_IN_PLACE and found.st_nlink > 1:
                    raise InputError(
                        f"{path} has another name elsewhere (a hard link), and writing here would change that file too:"
                        " replace it by a copy"
                    )
    journal = inside(folder, f"{DATABASE}-journal")
    with suppress(FileNotFoundError, NotADirectoryError), os.fdopen(open_regular(journal), "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - len(_NAMES_ANOTHER)))
        if file.read() == _NAMES_ANOTHER:
            raise InputError(
                f"{journal} names another file, which SQLite would delete; hpo never writes such a journal: remove it"
            )


def check_readable(folder: Path) -> None:
    """Check that a run directory is there, and that all of our names in it are regular files and folders.

    Raises:
        InputError: otherwise.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such directory")
    check_names(folder, write=False)


_NAMES_ANOTHER = bytes.fromhex("d9d505f920a163d7")
"""The end of an SQLite journal that names a super-journal (https://sqlite.org/fileformat2.html#the_rollback_journal)."""


# --- ownership -----------------------------------------------------------------------------------------------------------

LOCK_MARK = "hpo"
"""The first characters of a lock file's text."""
_OLD_MARK = re.compile(rb"process \d+ on ")


def check_ours(folder: Path, advice: str) -> None:
    """Raise `InputError` for a folder that is neither new nor ours, before anything is written in it.

    A folder is new if it does not exist, is empty, or contains only copied checkpoint files and replays of schedules. It is ours if
    its lock file says so, or if it has a database with our tables.

    Args:
        folder: the folder.
        advice: what to do, for the message.

    Raises:
        InputError: the folder is someone else's, or one of our names in it is a link.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is not a folder: {advice}")
    check_names(folder)
    if not _is_new(folder) and not _is_ours(folder):
        some = [entry.name for entry in _entries(folder.resolve())]
        shown = ", ".join(some[:3]) + (f" and {len(some) - 3} more" if len(some) > 3 else "")
        raise InputError(f"{folder} is not empty, and was not created by hpo (it contains {shown}): {advice}")


def _is_new(folder: Path) -> bool:
    return all(
        is_temporary(entry.name)
        or (entry.name == LOCK and not entry.stat().st_size)
        or (entry.name == CHECKPOINTS and _holds_checkpoints_alone(Path(entry)))
        or (entry.name == REPLAYS and _holds_replays_alone(Path(entry)))
        for entry in _entries(folder.resolve())
    )


def _is_ours(folder: Path) -> bool:
    return _is_marked(folder) or _has_our_tables(folder)


def _holds_replays_alone(folder: Path) -> bool:
    return all(not Path(entry).is_symlink() and _is_ours(Path(entry)) for entry in _entries(folder))


def _holds_checkpoints_alone(folder: Path) -> bool:
    known = set(checkpoint_files(folder))
    return all(
        part.is_dir(follow_symlinks=False) and all(Path(entry) in known for entry in _entries(Path(part)))
        for part in _entries(folder)
    )


def _is_marked(folder: Path) -> bool:
    """Return whether we have locked a folder before."""
    try:
        with os.fdopen(open_regular(folder / LOCK), "rb") as file:
            text = file.read(80)
    except OSError:
        return False
    return text.startswith(LOCK_MARK.encode()) or _OLD_MARK.match(text) is not None


def peek(path: Path) -> sqlite3.Connection:
    """Open a database of unknown origin read-only, without leaving files next to it.

    SQLite creates files next to a database with a write-ahead log, and cannot remove them in read-only mode. Without a log, nobody
    uses the database, and it can be read as immutable.
    """
    log = path.with_name(f"{path.name}-wal")
    mode = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)


def tables_of(path: Path) -> set[str]:
    """Return the names of the tables of a database of unknown origin.

    Raises:
        sqlite3.Error: it cannot be read.
    """
    with closing(peek(path)) as db:
        return {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def _has_our_tables(folder: Path) -> bool:
    path = folder / DATABASE
    if not path.is_file():
        return False
    try:
        return tables_of(path) >= OUR_TABLES
    except sqlite3.Error:
        return False


def remove_leftovers(folder: Path) -> None:
    """Remove the unfinished files of killed processes from a run directory or store."""
    for path in all_leftovers(folder):
        remove_regular(path)


def all_leftovers(folder: Path) -> Iterator[Path]:
    """Yield the unfinished files of killed processes in a run directory or store."""
    yield from leftovers(folder)
    for name in (MODELS, FIGURES, CHECKPOINTS):
        if not (folder / name).is_symlink():
            yield from leftovers(folder / name)
    for part in _entries(folder / CHECKPOINTS):
        if part.is_dir(follow_symlinks=False):
            yield from leftovers(Path(part))
