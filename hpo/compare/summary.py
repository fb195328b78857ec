"""A comparison on a console."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table as ConsoleTable
from rich.text import Text

from hpo.report.page import Page, Table


def summary(page: Page) -> RenderableType:
    """Return the verdicts, the cautions, the tables and what was compared; labels are text, never markup.

    The first table holds what decides, of all comparisons at once. How a comparison goes task by task follows where it is the
    only one; of several that is in the files alone.
    """
    parts: list[RenderableType] = []
    for verdict in page.verdicts:
        parts += [Text(verdict.title, style="bold"), *map(Text, verdict.words), *([Text()] if verdict.words else [])]
    if page.verdicts and not page.verdicts[-1].words:
        parts.append(Text())
    if page.close:
        parts += [Text(page.close), Text()]
    if page.cautions:
        parts += [*(Text(f"! {caution}", style="yellow") for caution in page.cautions), Text()]
    by_task = [section for section in page.sections if section.name == "task"]
    shown = (page.section("comparison"), page.section("means"), *(by_task if len(by_task) == 1 else ()))
    for section in filter(None, shown):
        tables = (_table(section.title, table) for table in section.tables)
        parts += [*tables, *(Text(note, style="dim") for note in section.notes), Text()]
    parts += [Text(page.title, style="bold"), *(Text(f"{name}: {value}") for name, value in page.facts)]
    return Group(*parts)


def _table(title: str, content: Table) -> ConsoleTable:
    table = ConsoleTable(
        title=Text(title), title_justify="left", title_style="bold", box=None, show_footer=bool(content.foot)
    )
    group = ""
    for i, column in enumerate(content.columns):
        # A title over several columns stands over the first of them.
        head = f"{column.group}\n{column.title}" if column.group != group else column.title
        group = column.group
        table.add_column(
            Text(head), Text(column.foot), justify="left" if i == 0 else "right", overflow="fold", vertical="bottom"
        )
    for row in content.rows:
        table.add_row(*map(Text, row))
    return table
