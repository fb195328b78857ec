"""Numbers as tables hold them: with decimal commas, percent signs, standard deviations and marks, or missing."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NoReturn

from hpo.compare.phrases import say
from hpo.compare.table.words import MISSING
from hpo.core.errors import InputError

_MARKS = "[*†‡§•◦○●]*"  # what tables put around a number: bold in Markdown, the best, a significant difference
_CELL = re.compile(
    rf"(?P<before>{_MARKS})\s*(?P<number>[+-]?[0-9.,]*[0-9][.,]?(?:[eE][+-]?[0-9]{{1,4}})?)\s*(?P<percent>%?)\s*"
    rf"(?P<after>{_MARKS})\s*(?P<spread>(?:±|\+/-|\+-)\s*[0-9.,]*[0-9](?:[eE][+-]?[0-9]{{1,4}})?|\([^()]*\))?\s*"
    rf"(?P<percent_after>%?)\s*(?P<last>{_MARKS})"
)
_SIGNS = str.maketrans("−％", "-%")
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")
_WITH_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}([ \xa0\u202f'’_,.])[0-9]{3}(?:\1[0-9]{3})*(?:[.,][0-9]+)?")
_WHOLE = re.compile(r"[+-]?[0-9]{1,15}")


@dataclass(frozen=True)
class Numbers:
    """The numbers of a table's cells.

    Attributes:
        values: one per cell, NaN if it is missing. Percentages are divided by 100.
        whole: per cell the integer that is written there, percent or not; None without one.
        percent: whether the cells have percent signs.
        notes: what was not used of the cells, in words.
    """

    values: tuple[float, ...]
    whole: tuple[int | None, ...]
    percent: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Cell:
    number: str
    percent: bool
    spread: bool
    marked: bool


def is_missing(text: str) -> bool:
    """Whether a cell says that there is no value."""
    return text.casefold() in MISSING


def is_number(text: str) -> bool:
    """Whether a cell looks like a number, even if what its commas, points and spaces stand for is not clear."""
    return _cell(text) is not None or _WITH_THOUSANDS.fullmatch(text) is not None


def read_numbers(texts: Sequence[str], separator: str, where: Callable[[int], str]) -> Numbers:
    """Read the cells of one metric.

    Args:
        texts: the cells.
        separator: what separates the cells of the file.
        where: returns the place of a cell, for errors.

    Raises:
        InputError: a cell is neither a finite number nor missing; some have percent signs and some have none; or it is not
            clear what a comma stands for.
    """
    there = {i: cell for i, text in enumerate(texts) if (cell := _read(text, i, where)) is not None}
    percent = _percent(there, texts, where)
    comma = _decimal_comma({i: cell.number for i, cell in there.items()}, separator, where)
    values, whole = [math.nan] * len(texts), [None] * len(texts)  # type: list[float], list[int | None]
    for i, cell in there.items():
        number = cell.number.replace(",", ".") if comma else cell.number
        values[i] = _float(number, percent=percent)
        if not math.isfinite(values[i]):
            _refuse(where(i), texts[i])
        whole[i] = int(number) if _WHOLE.fullmatch(number) else None
    return Numbers(tuple(values), tuple(whole), percent, tuple(_notes(there)))


@lru_cache(maxsize=2**16)
def _cell(text: str) -> _Cell | None:
    found = _CELL.fullmatch(text.translate(_SIGNS))
    if found is None:
        return None
    marked = any(found[name] for name in ("before", "after", "last"))
    return _Cell(found["number"], bool(found["percent"] or found["percent_after"]), found["spread"] is not None, marked)


def _read(text: str, at: int, where: Callable[[int], str]) -> _Cell | None:
    if is_missing(text):
        return None
    return _cell(text) or _refuse(where(at), text)


def _refuse(where: str, text: str) -> NoReturn:
    if _WITH_THOUSANDS.fullmatch(text):
        raise InputError(f"{where} = {text!r}: allowed: numbers without thousands separators")
    raise InputError(
        f"{where} = {text!r}: allowed: a finite number, or NA where there is no value. A run that diverged needs the worst"
        " value that the metric can have: leaving it out would favour the arm that diverged"
    )


def _percent(there: dict[int, _Cell], texts: Sequence[str], where: Callable[[int], str]) -> bool:
    """Return whether all are percentages."""
    signs = {cell.percent: i for i, cell in there.items()}
    if len(signs) > 1:
        raise InputError(
            f"{where(signs[False])} = {texts[signs[False]]!r} has no percent sign, and {texts[signs[True]]!r} has one:"
            " allowed: percent signs in all cells or in none"
        )
    return True in signs


def _decimal_comma(written: dict[int, str], separator: str, where: Callable[[int], str]) -> bool:
    """Return whether commas are decimal marks here.

    A comma before three digits could separate thousands. It is a decimal comma where others cannot be anything else, and
    where semicolons separate the cells and every number has a comma.
    """
    commas = {i: text for i, text in written.items() if "," in text}
    points = {i: text for i, text in written.items() if "." in text}
    for i, text in (commas | points).items():
        if text.count(",") + text.count(".") > 1:
            raise InputError(f"{where(i)} = {text!r}: allowed: numbers without thousands separators")
    if commas and points:
        i, other = next(iter(commas)), next(iter(points.values()))
        raise InputError(
            f"{where(i)} = {commas[i]!r} has a comma where {other!r} has a point; allowed: one decimal mark in all cells, and"
            " no thousands separators"
        )
    clear = (separator == ";" and len(commas) == len(written)) or not all(map(_THOUSANDS.fullmatch, commas.values()))
    if commas and not clear:
        i = next(iter(commas))
        raise InputError(
            f"{where(i)} = {commas[i]!r}: is it {commas[i].replace(',', '')} or {commas[i].replace(',', '.')}? Write"
            " numbers with a decimal point, and without thousands separators"
        )
    return bool(commas)


def _float(number: str, *, percent: bool) -> float:
    mantissa, _, exponent = number.lower().partition("e")
    # Not float(number) / 100, which would round twice: 12.3% is exactly what .123 is.
    return float(f"{mantissa}e{int(exponent or 0) - (2 if percent else 0)}")


def _notes(there: dict[int, _Cell]) -> list[str]:
    said = []
    if spread := sum(cell.spread for cell in there.values()):
        said.append(say("spread_unused", some=spread, all=len(there)))
    if marked := sum(cell.marked for cell in there.values()):
        said.append(say("marks_ignored", some=marked, all=len(there)))
    return said
