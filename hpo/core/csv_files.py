"""CSV files that we write: cells that no spreadsheet takes for formulas, in rows of a line each."""

import csv
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from _csv import Writer


def cell(value: object) -> object:
    """Return a value as a CSV file holds it: a spreadsheet must not take a text for a formula.

    Text that begins with `=`, `+`, `-`, `@`, their wide forms, a tab or a line break gets an apostrophe in front; so does text that
    begins with an apostrophe, so that `text_of` can undo it. Numbers stay.
    """
    return f"'{value}" if isinstance(value, str) and value[:1] in _RISKY else value


class _Rows:
    """Takes rows that end with a carriage return and a line feed, and ends them with a line feed."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(f"{row.removesuffix(_BREAK)}\n")


def rows_into(file: IO[str]) -> "Writer":
    """Return what writes rows of a CSV file, each ended by a line feed.

    The csv module quotes a text for the characters in its end of a line alone, until Python 3.13: with a line feed as that, the
    rest of a text behind a carriage return would be a row of its own.
    """
    return csv.writer(_Rows(file), lineterminator=_BREAK)


_BREAK = "\r\n"


def text_of(cell: str) -> str:
    """Return the text that `cell` made a cell of."""
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _RISKY else cell


_RISKY = tuple("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")
