"""The tables of a paper: means with their standard deviations, and the comparisons with their verdicts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from hpo.compare.analysis import Analysis, Contrast, Means
from hpo.compare.decimals import TaskDigits, digits_of
from hpo.compare.latex.escape import escape
from hpo.compare.names import display_names
from hpo.compare.phrases import say
from hpo.compare.tables import Tables
from hpo.compare.verdicts import TasksVerdictKind
from hpo.report.numbers import NARROW, NONE, clean
from hpo.report.page import Column

#: What stands above an arm's name, by its verdict against the baseline.
MARKS: dict[TasksVerdictKind, str] = {
    "better": "+",
    "worse": "-",
    "inconclusive": r"\circ",
    "cannot show a difference": r"\cdot",
    "exploratory": "?",
    "refused": r"\ast",
}
#: Columns that compare.json holds alone, and titles that are not plain text.
_LEFT_OUT = frozenset({"d_z"})
_TITLES = {"p": "$p$", "adjusted p": r"\shortstack[r]{adjusted\\$p$}"}


@dataclass(frozen=True)
class Tabular:
    """A table whose cells are LaTeX.

    Attributes:
        title: above it; empty without one.
        align: of the columns.
        header: titles of the columns.
        rows: from the top.
        foot: a last row; empty without one.
    """

    title: str
    align: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    foot: Sequence[str] = ()

    def line(self, cells: Sequence[str]) -> Markup:
        """Return a row of LaTeX."""
        return Markup(" & ".join(cells) + r" \\")


def means_table(analysis: Analysis) -> Tabular:
    """Return the means of every task: a row per task, or per arm if there is one task."""
    digits = digits_of(analysis.tasks)
    cells = [
        _cells(means, digits[task.name], len(analysis.arms), minimize=task.direction == "minimize")
        for task, means in zip(analysis.tasks, analysis.means, strict=True)
    ]
    ranks = [] if analysis.ranks is None else [f"{rank:.2f}" for rank in analysis.ranks.friedman.mean_ranks]
    arms, labels = _arms(analysis), _task_labels(analysis, digits)
    if len(cells) == 1:
        rows = [[arm, *rest] for arm, *rest in zip(arms, cells[0], *([ranks] if ranks else []), strict=True)]
        return Tabular("", "lr" + "r" * bool(ranks), ["arm", labels[0], *(["mean rank"] if ranks else [])], rows)
    seeds = [str(means.n) if means.n else escape(NONE) for means in analysis.means]
    seeded = any(means.n > 1 for means in analysis.means)
    columns = [labels, *([seeds] if seeded else []), *zip(*cells, strict=True)]
    header = ["task", *(["seeds"] if seeded else []), *arms]
    foot = ["mean rank", *([""] if seeded else []), *ranks] if ranks else []
    return Tabular("", "l" + "r" * (len(header) - 1), header, list(zip(*columns, strict=True)), foot)


def _cells(means: Means, digits: TaskDigits, arms: int, *, minimize: bool) -> list[str]:
    """Return each arm's mean and standard deviation, the best means in bold."""
    values: Sequence[float | None] = means.arms or (None,) * arms
    sds: Sequence[float | None] = means.sds or (None,) * arms
    best = (min if minimize else max)((value for value in values if value is not None), default=None)
    shown = []
    for value, sd in zip(values, sds, strict=True):
        text = escape(NONE if value is None else digits.number(value, means.n))
        text = rf"\textbf{{{text}}}" if value is not None and value == best else text
        shown.append(text if sd is None else rf"{text} $\pm$ {escape(digits.number(sd, means.n))}")
    return shown


def _task_labels(analysis: Analysis, digits: dict[str, TaskDigits]) -> list[str]:
    """Return the tasks' names with what is measured: the unit, and the metric if each has its own or it is the only task."""
    names = display_names([task.name for task in analysis.tasks])
    if len(names) == 1:
        return [escape(digits[task.name].quantity.axis) for task in analysis.tasks]
    labels = []
    for task in analysis.tasks:
        quantity = digits[task.name].quantity
        what = quantity.axis if analysis.metric is None else f"({quantity.unit})" if quantity.unit else ""
        labels.append(escape(f"{names[task.name]}{',' if analysis.metric is None else ''} {what}".strip()))
    return labels


def _arms(analysis: Analysis) -> list[str]:
    """Return the arms' names with their marks: the verdict against the baseline, or the letters of arms that it is better than."""
    names = display_names(analysis.arms)
    if analysis.baseline is not None:
        marks = {c.arm: f"$^{{{MARKS[c.finding.kind]}}}$" for c in analysis.comparisons}
        return [escape(name) + marks.get(label, "") for label, name in names.items()]
    letters = {label: _letter(i) for i, label in enumerate(names)}
    above: dict[str, list[str]] = {label: [] for label in names}
    for c in analysis.comparisons:
        if c.finding.kind == "better":
            above[c.arm].append(letters[c.baseline])
        elif c.finding.kind == "worse":
            above[c.baseline].append(letters[c.arm])
    return [
        f"{escape(name)} ({letters[label]})" + (rf"$^{{\mathrm{{{','.join(above[label])}}}}}$" if above[label] else "")
        for label, name in names.items()
    ]


def _letter(i: int) -> str:
    """Return a, b, ..., z, aa, ab, ..."""
    return ("" if i < 26 else _letter(i // 26 - 1)) + chr(ord("a") + i % 26)


def legend(analysis: Analysis) -> Markup:
    """Return what the marks mean that occur; empty where letters do."""
    kinds = {} if analysis.baseline is None else dict.fromkeys(c.finding.kind for c in analysis.comparisons)
    words = {MARKS[kind]: say("short", kind=kind) for kind in kinds}
    return Markup(", ".join(f"$^{{{mark}}}$ {escape(said)}" for mark, said in words.items()))


def comparison_tables(analysis: Analysis) -> list[Tabular]:
    """Return the comparisons with their verdicts: for these tasks, and apart from it for tasks like these if there is both."""
    name, *columns = Tables(analysis).main().columns
    if analysis.baseline is not None:
        arms = display_names(analysis.arms)
        name = replace(name, title="arm", cells=[arms[contrast.arm] for contrast in analysis.comparisons])
    tables = []
    for group in dict.fromkeys(column.group for column in columns):
        of_group = [_narrower(column) for column in columns if column.group == group and column.title not in _LEFT_OUT]
        verdicts = [say("short", kind=_kind(contrast, group)) for contrast in analysis.comparisons]
        shown = [name, *of_group, Column("verdict", verdicts)]
        header = [_TITLES.get(column.title) or _stacked(column.title) for column in shown]
        rows = list(zip(*([escape(cell) for cell in column.cells] for column in shown), strict=True))
        tables.append(Tabular(f"On {group}" if group else "", "l" + "r" * len(of_group) + "l", header, rows))
    return tables


def _narrower(column: Column) -> Column:
    """Return a column with what ends all its cells in its title: a unit, or the level of intervals."""
    known = [cell for cell in column.cells if cell != NONE]
    for pattern, title in ((r" \(([0-9.]+%)\)$", "{1} interval"), (rf"{NARROW}(\S+)$", "{0} ({1})")):
        found = [re.search(pattern, cell) for cell in known]
        ends = {each and each[1] for each in found}
        if len(ends) == 1 and (end := ends.pop()):
            cells = [re.sub(pattern, "", cell) for cell in column.cells]
            known = [re.sub(pattern, "", cell) for cell in known]
            column = replace(column, title=title.format(column.title, end), cells=cells)
    return column


def _stacked(title: str) -> str:
    """Return a title with its words below each other."""
    words = [escape(word) for word in title.replace(" /", "/").replace(" (", "\xa0(").split(" ")]
    lines = r"\\".join(words)
    return words[0] if len(words) == 1 else rf"\shortstack[r]{{{lines}}}"


def _kind(contrast: Contrast, group: str) -> TasksVerdictKind:
    return (contrast.on_new_tasks if group == "tasks like these" else contrast.finding).kind


def measured(analysis: Analysis) -> str:
    """Return what is compared, to begin a caption."""
    metric = "Values" if analysis.metric is None else clean(analysis.metric)
    return metric[0].upper() + metric[1:]
