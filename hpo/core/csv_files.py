"""Writing CSV files with one line per row, and cells that spreadsheets do not take for formulas."""

import csv
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Writer


def cell(value: object) -> object:
    """Return a value as it is written to a CSV file, escaped so that spreadsheets do not take text for a formula.

    Text that begins with `=`, `+`, `-`, `@`, their full-width forms, a tab or a line break gets an apostrophe in front. So does
    text that begins with an apostrophe, so that `text_of` can undo the escape. Numbers stay as they are.
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in _RISKY else value


class _Rows:
    """Replaces the carriage return and line feed at the end of each row by a line feed."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(f"{row.removesuffix(_BREAK)}\n")


def rows_into(file: IO[str]) -> "Writer":
    """Return a writer of CSV rows, each ended by a line feed.

    Until Python 3.13 the csv module quotes only text with the characters of its own line terminator. With a line feed as
    terminator, text after a carriage return would become a row of its own.
    """
    return csv.writer(_Rows(file), lineterminator=_BREAK)


_BREAK = "\r\n"


def text_of(cell: str) -> str:
    """Undo the escape of `cell`."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _RISKY else cell


_RISKY = tuple("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")
