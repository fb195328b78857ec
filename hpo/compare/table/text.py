"""From the bytes of a CSV file to a table of text."""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hpo.core.errors import InputError
from hpo.core.parsing import read_bytes

MOST_BYTES = 16 * 2**20
_MOST_CELLS = 10**6
_LONGEST_CELL = 1000

#: How files begin that are not text, and what to do with them.
_NO_TEXT = {
    b"PK\x03\x04": "a ZIP archive, as an Excel or LibreOffice workbook is; save the sheet as 'CSV UTF-8'",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; save the sheet as 'CSV UTF-8'",
    b"\x1f\x8b": "compressed with gzip; decompress it",
    b"\xff\xfe": "UTF-16 text (Excel: 'Unicode text'); save it as 'CSV UTF-8', or: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16 text (Excel: 'Unicode text'); save it as 'CSV UTF-8', or: iconv -f UTF-16 -t UTF-8",
}
_SEPARATORS = "\t;,|"  # of two that occur equally often, the first


@dataclass(frozen=True)
class Sheet:
    """A table of text.

    Attributes:
        cells: a column for each header, in the file's order; strings without spaces at their ends. The index holds the
            numbers of the rows as spreadsheets count them, the first row being 1.
        separator: what separates the cells.
    """

    cells: pd.DataFrame
    separator: str


def read_sheet(path: Path) -> Sheet:
    """Read a CSV file.

    Lines that begin with `#`, empty rows, rows that repeat the header and empty columns without a name are left out.
    Excel's first line `sep=;` names the separator; without it, the header does.

    Raises:
        InputError: the file cannot be read, is not UTF-8 text, is larger than 16 MiB, or is not a table.
    """
    lines = re.split(r"\r\n|\r|\n", _text(path))
    stated = re.fullmatch(r'"?sep=(.)"?', lines[0])
    if stated:
        lines[0] = ""
    lines = list(_without_comments(lines))
    first = next((line for line in lines if line.strip()), None)
    if first is None:
        raise InputError(f"{path}: is empty; the first row must hold the names of the columns")
    if first.lstrip().startswith("|"):
        raise InputError(f"{path}: looks like a Markdown table; allowed: CSV, with the names of the columns first")
    separator = stated[1] if stated else _separator(first)
    rows = _rows(path, "\n".join(lines), separator, len(lines))
    return Sheet(_with_header(path, rows, separator), separator)


def _text(path: Path) -> str:
    try:
        content = read_bytes(path, MOST_BYTES)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    for start, what in _NO_TEXT.items():
        if content.startswith(start):
            raise InputError(f"{path}: is {what}")
    if b"\0" in content:
        raise InputError(f"{path}: contains NUL bytes, so it is UTF-16 text or not text at all; save it as 'CSV UTF-8'")
    try:
        return content.decode().lstrip("\ufeff")
    except UnicodeDecodeError as error:
        row = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}: line {row}: is not UTF-8 text, but perhaps Latin-1; save it as 'CSV UTF-8', or: iconv -f LATIN1 -t UTF-8"
        ) from None


def _without_comments(lines: Iterable[str]) -> Iterator[str]:
    """Yield an empty line in the place of each comment; a cell in quotes may hold a line that looks like one."""
    quoted = False
    for line in lines:
        yield "" if line.lstrip().startswith("#") and not quoted else line
        quoted ^= line.count('"') % 2 == 1


def _separator(header: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", header)
    return max(_SEPARATORS, key=lambda each: (unquoted.count(each), -_SEPARATORS.index(each)))


def _rows(path: Path, text: str, separator: str, lines: int) -> pd.DataFrame:
    """Return the cells by row and position, None if a row has no cell; one position more than the header has."""
    try:
        width = _parsed(text, separator, nrows=1, index_col=False).shape[1] + 1
        if width == 2:
            raise InputError(
                f"{path}: the first row holds one name only; allowed: the names of all columns, separated by commas,"
                " semicolons or tabs"
            )
        if width * lines > _MOST_CELLS:
            raise InputError(
                f"{path}: has {lines:,} lines of {width - 1:,} cells; allowed: {_MOST_CELLS:,} cells in all"
            )
        return _parsed(text, separator, names=range(width), skip_blank_lines=False)
    except ValueError as error:  # all of pandas' own, and what its parser makes of marks and quotes in odd places
        raise InputError(f"{path}: malformed CSV: {error}; {_cells_end(separator)}") from None


def _cells_end(separator: str) -> str:
    decimal = ", so that a number with a decimal comma needs quotation marks" if separator == "," else ""
    return f"cells are separated by {separator!r} here{decimal}"


def _parsed(text: str, separator: str, **options: object) -> pd.DataFrame:
    # Of pandas' parsers, this is the one that refuses wrong quotes.
    return pd.read_csv(
        io.StringIO(text),
        sep=separator,
        header=None,
        dtype=object,
        na_filter=False,
        skipinitialspace=True,
        engine="python",
        **options,
    )


def _with_header(path: Path, rows: pd.DataFrame, separator: str) -> pd.DataFrame:
    """Return the rows below the header, with its names over the columns, after checking that each row has as many cells."""
    present = rows.notna().sum(axis=1)
    rows = rows.fillna("").map(str.strip)
    rows.index, present.index = rows.index + 1, present.index + 1
    rows = rows[(rows != "").any(axis=1)]
    if rows.empty:
        raise InputError(f"{path}: is empty; the first row must hold the names of the columns")
    if (long := (rows.map(len) > _LONGEST_CELL).any(axis=1)).any():
        raise InputError(
            f"{path}: row {long.idxmax()}: a cell of more than {_LONGEST_CELL:,} characters; is a quotation mark missing?"
        )
    header, body = rows.iloc[0], rows.iloc[1:]
    body = body[(body != header).any(axis=1)]
    if body.empty:
        raise InputError(f"{path}: has no row of values below the header")
    named = header != ""
    width = 1 + max(named[named].index, default=-1)
    unequal = (present[body.index] < width) | (body.iloc[:, width:] != "").any(axis=1)
    if unequal.any():
        row = unequal.idxmax()
        raise InputError(
            f"{path}: row {row}: {present[row]} cells; allowed: {width}, as many as the header (row {header.name}) has names."
            " The header must be the first row, without a title above it, and name every column; a missing value is NA or an"
            f" empty cell; {_cells_end(separator)}"
        )
    keep = [at for at in range(width) if named[at] or (body[at] != "").any()]
    if nameless := [at for at in keep if at > 0 and not named[at]]:
        raise InputError(f"{path}: row {header.name}: column {nameless[0] + 1} has no name")
    body = body[keep].set_axis(list(header[keep]), axis=1)
    if repeated := list(body.columns[body.columns.duplicated()]):
        count = list(body.columns).count(repeated[0])
        raise InputError(
            f"{path}: row {header.name}: column {repeated[0]!r} occurs {count} times; rename or remove the others"
        )
    return body
