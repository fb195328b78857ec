"""What a page of results shows, as text that is ready to be laid out: for the report and for `hpo.compare`.

`hpo.report.render` turns a page into Markdown and HTML. Every text is plain: nothing in it is markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from hpo.report.numbers import NONE


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: at its head.
        cells: from the top.
        foot: in a last row of totals or means.
        group: what neighbouring columns with the same group have in common.
        strong: whether it is emphasised.
        left: whether it is text, aligned to the left.
    """

    title: str
    cells: Sequence[str]
    foot: str = ""
    group: str = ""
    strong: bool = False
    left: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first column names the row."""

    columns: tuple[Column, ...]
    title: str = ""

    @classmethod
    def of(cls, header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", strong: int = -1) -> Table:
        """Return the table with these rows; `strong` is the column (from 0) that is emphasised."""
        columns = zip(*rows, strict=True) if rows else [()] * len(header)
        named = enumerate(zip(header, columns, strict=True))
        return cls(tuple(Column(name, cells, strong=i == strong, left=i == 0) for i, (name, cells) in named), title)

    @property
    def rows(self) -> tuple[tuple[str, ...], ...]:
        """The cells by row."""
        return tuple(zip(*(column.cells for column in self.columns), strict=True))

    @property
    def header(self) -> tuple[str, ...]:
        """The titles in one line."""
        return tuple(f"{c.title}, {c.group}" if c.group else c.title for c in self.columns)

    @property
    def foot(self) -> tuple[str, ...]:
        """The last row; empty without any."""
        return tuple(c.foot for c in self.columns) if any(c.foot for c in self.columns) else ()

    def without_empty(self) -> Table:
        """Return the table without columns that have no value."""
        first, *others = self.columns
        filled = (column for column in others if any(cell != NONE for cell in column.cells))
        return replace(self, columns=(replace(first, left=True), *filled))


@dataclass(frozen=True)
class Picture:
    """A figure: a name made of fixed words and a seed (never of a label), its bytes, and what it shows."""

    name: str
    title: str
    png: bytes
    svg: bytes = b""
    seed: int | None = None
    caption: str = ""
    pdf: bytes = b""


@dataclass(frozen=True)
class Chart:
    """A figure that can be hovered and filtered.

    Attributes:
        name: one that assets/report.js knows.
        title: at its head.
        caption: what it shows.
        folded: whether it is folded away.
    """

    name: str
    title: str = ""
    caption: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Form:
    """A text to copy: its title, its language and itself."""

    title: str
    language: str
    text: str


@dataclass(frozen=True)
class VerdictText:
    """A comparison's outcome in words, and what the data say against it; `kind` is a word for the style sheet."""

    title: str
    kind: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A titled part of a page: paragraphs, a list, figures, tables, and notes on them, in this order.

    Attributes:
        name: made of fixed words; a page is searched by it.
        level: 2, or 3 for a part of the section before it, which HTML folds away.
        charts: what HTML shows in the place of `pictures`, if the page has `data`.
        only: `html` or `markdown` if the other has it not.
    """

    name: str
    title: str = ""
    words: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    level: int = 2
    charts: tuple[Chart, ...] = ()
    only: Literal["", "html", "markdown"] = ""


@dataclass(frozen=True)
class Page:
    """Everything that is shown: the answer first.

    Attributes:
        title: of the page.
        facts: names and values: what was planned, folded away.
        verdicts: of the comparisons.
        cautions: what a reader must know before believing the numbers.
        sections: the details, in order.
        made: where the numbers are.
        state: how far the study is.
        lead: what comes before the verdicts.
        close: what comes after them.
        answer: the figure and the table that show the answer; they come before `sections`.
        forms: the best hyperparameters, or the best schedule, in several languages.
        commands: what to do with the best answer, as lines of a shell.
        changes: whether `forms` hold a schedule.
        data: of the charts, as JSON texts by name; empty if there are no charts.
    """

    title: str
    facts: tuple[tuple[str, str], ...]
    verdicts: tuple[VerdictText, ...]
    cautions: tuple[str, ...]
    sections: tuple[Section, ...]
    made: str
    state: str = ""
    lead: str = ""
    close: str = ""
    answer: tuple[Section, ...] = ()
    forms: tuple[Form, ...] = ()
    commands: str = ""
    changes: bool = False
    data: Mapping[str, str] = field(default_factory=dict)

    def section(self, name: str) -> Section | None:
        """Return the first section of that name; None without one."""
        return next((section for section in (*self.answer, *self.sections) if section.name == name), None)
