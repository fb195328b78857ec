"""The databases of other tools that a user names, before anything is written to them."""

import sqlite3
from collections.abc import Set
from pathlib import Path
from urllib.parse import unquote

from hpo.core.errors import InputError
from hpo.core.run_files import DATABASE_FILES, OUR_TABLES, tables_of

MAGIC = b"SQLite format 3\0"
"""How every file of SQLite that is not empty begins."""


def sqlite_file(url: str) -> Path | None:
    """Return the file that a database URL names, without links; None if it names no file of SQLite."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        found = make_url(url)
    except (ArgumentError, ValueError):
        return None
    name = found.database or ""
    if name.startswith("file:"):
        name = unquote(name.removeprefix("file:").partition("?")[0])
    if found.get_backend_name() != "sqlite" or name in ("", ":memory:"):
        return None
    return Path(name).resolve()


def check_database(url: str, owned: Set[str]) -> None:
    """Check that what is in the place of an SQLite database may be written to: nothing, or a database of the tool.

    Args:
        url: as SQLAlchemy takes it; one that names no file of SQLite passes.
        owned: the names of tables; each database of the tool has one of them.

    Raises:
        InputError: it is not a database, a store of hpo, or a database of another program.
    """
    path = sqlite_file(url)
    if path is None:
        return
    if path.name in DATABASE_FILES:
        raise InputError(f"{path} is the name of a store of hpo: give the URL of another database")
    if not path.exists():
        return
    if not path.is_file():
        raise InputError(f"{path} is not a file: give the URL of another database")
    with path.open("rb") as file:
        start = file.read(len(MAGIC))
    if start not in (b"", MAGIC):
        raise InputError(f"{path} is not an SQLite database: give the URL of another file")
    try:
        tables = tables_of(path)
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if tables >= OUR_TABLES:
        raise InputError(f"{path} is a store of hpo: give the URL of another database")
    if tables and not tables & owned:
        raise InputError(f"{path} is a database of another program: give the URL of another one")
