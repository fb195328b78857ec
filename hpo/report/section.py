"""A titled part of the report: sentences, tables, and notes below them."""

from __future__ import annotations

from dataclasses import dataclass

from hpo.report.tables import Table


@dataclass(frozen=True)
class Section:
    """One part; `name` is made of fixed words and is its anchor."""

    name: str
    title: str
    words: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
