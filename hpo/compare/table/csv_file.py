"""A CSV file as the records that a comparison is made from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from hpo.compare.data import Direction, Inputs, Request, TaskData, natural_order
from hpo.compare.phrases import say
from hpo.compare.table.columns import Layout, by_value, find_layout
from hpo.compare.table.numbers import Numbers, read_numbers
from hpo.compare.table.text import read_sheet
from hpo.compare.table.words import SUMMARIES, direction_of
from hpo.core.errors import InputError

_MOST_ARMS, _MOST_GRID = 200, 10**6


def read_table(path: Path, request: Request) -> Inputs:
    """Read a CSV file in any of the layouts of docs/how_to/tables.md.

    The order of rows and columns does not matter: arms, tasks and seeds are sorted. Without a column of seeds, each task
    has one value per arm, whose seed is the empty string.

    Raises:
        InputError: the file is not such a table, or is ambiguous.
    """
    sheet = read_sheet(path)
    layout = find_layout(path, sheet.cells, request)
    cells = by_value(sheet.cells, layout, task=path.stem)
    direction = _direction(path, layout.metric, request)
    _check_labels(path, cells)
    _check_different(path, cells, seeded=layout.columns == "seeds" or "seed" in layout.keys)
    columns = list(zip(cells.index, cells["column"], strict=True))
    found = read_numbers(
        list(cells["text"]), sheet.separator, lambda at: f"{path}: row {columns[at][0]}: {columns[at][1]}"
    )
    cells = cells.assign(value=found.values, whole=pd.Series(found.whole, cells.index, dtype=object))
    arms, tasks = (sorted(cells[role].unique(), key=natural_order) for role in ("arm", "task"))
    _check_size(path, cells, arms, tasks)
    _check_spelling(path, arms, tasks)
    return Inputs(
        baseline=request.baseline,
        alpha=0.05 if request.alpha is None else request.alpha,
        rope=request.rope,
        rope_given=request.rope is not None,
        arms=tuple(arms),
        tasks=tuple(_tasks(path, layout.metric, direction, cells[cells["value"].notna()], arms, percent=found.percent)),
        layout=layout.words,
        cautions=tuple(_cautions(layout, cells, direction, found, request)),
    )


def _direction(path: Path, metric: str, request: Request) -> Direction:
    """Return which values are better: what `--direction` says, or lower ones by the metric's name."""
    by_name = direction_of(metric)
    if request.direction is None and by_name != "minimize":
        likely = "higher values are better, as its name says" if by_name else "higher values are better"
        raise InputError(
            f"{path}: are higher or lower values of {metric!r} better? Say --direction maximize ({likely}) or --direction"
            " minimize (lower ones are)"
        )
    return request.direction or "minimize"


def _check_labels(path: Path, cells: pd.DataFrame) -> None:
    for role in ("arm", "task", "seed"):
        if role == "seed" and not (cells[role] != "").any():
            continue
        for wrong, why in (
            (cells[role] == "", "is empty; write it in every row, also where a spreadsheet has merged cells"),
            (
                cells[role].str.casefold().isin(SUMMARIES),
                "seems to summarize others; remove it, or rename it if it does not",
            ),
        ):
            if wrong.any():
                row = cells.index[wrong.argmax()]
                raise InputError(f"{path}: row {row}: {role} {cells[role][wrong].iloc[0]!r} {why}")


def _check_spelling(path: Path, arms: Sequence[str], tasks: Sequence[str]) -> None:
    """Raise `InputError` for names that differ only in case: probably they mean the same, and each would lack values."""
    for what, names in (("arms", arms), ("tasks", tasks)):
        spelt: dict[str, str] = {}
        for name in names:
            other = spelt.setdefault(name.casefold(), name)
            if other != name:
                raise InputError(
                    f"{path}: {what} {other!r} and {name!r} differ only in case; write them alike, or rename one"
                )


def _check_different(path: Path, cells: pd.DataFrame, *, seeded: bool) -> None:
    keys = ["arm", "task", *(["seed"] if seeded else [])]
    again = cells.duplicated(keys)
    if not again.any():
        return
    at = int(again.argmax())
    second = cells.iloc[at]
    row = cells.index[at]
    first = cells.index[(cells[keys] == second[keys]).all(axis=1).argmax()]
    named = ", ".join(f"{role} {second[role]!r}" for role in keys)
    fix = (
        "allowed: one value per arm, task and seed"
        if seeded
        else "runs can be paired only by a column 'seed' that says which of them belong together; allowed without one: one"
        " value per arm and task"
    )
    raise InputError(f"{path}: row {row}: {named} is already in row {first}; {fix}")


def _check_size(path: Path, cells: pd.DataFrame, arms: Sequence[str], tasks: Sequence[str]) -> None:
    if len(arms) > _MOST_ARMS or len(arms) * len(tasks) > _MOST_GRID:
        raise InputError(
            f"{path}: {len(arms):,} arms on {len(tasks):,} tasks; allowed: {_MOST_ARMS} arms, and {_MOST_GRID:,} combinations"
            " of both. Does that column hold the arms?"
        )
    there = cells["value"].groupby(cells["arm"]).count()
    if without := [arm for arm in arms if there[arm] == 0]:
        raise InputError(f"{path}: arm {without[0]!r} has no value")


def _tasks(
    path: Path, metric: str, direction: Direction, known: pd.DataFrame, arms: Sequence[str], *, percent: bool
) -> Iterator[TaskData]:
    """Yield what is known of each task, in order."""
    known = known.sort_values("seed", key=_order, kind="stable").sort_values("task", key=_order, kind="stable")
    for task, of_task in known.groupby("task", sort=False):
        values: dict[str, dict[str, float]] = {arm: {} for arm in arms}
        counts: dict[str, dict[str, int]] = {arm: {} for arm in arms}
        whole = bool(of_task["whole"].notna().all())
        for arm, seed, value, count in zip(*(of_task[name] for name in ("arm", "seed", "value", "whole")), strict=True):
            values[arm][seed] = float(value)
            if whole:
                counts[arm][seed] = int(count)
        yield TaskData(str(task), str(path), metric, direction, values, counts if whole else None, rate=percent)


def _order(column: pd.Series) -> pd.Series:
    """Return sort keys: the places of the labels in their natural order."""
    return column.map({label: at for at, label in enumerate(sorted(column.unique(), key=natural_order))})


def _cautions(
    layout: Layout, cells: pd.DataFrame, direction: Direction, found: Numbers, request: Request
) -> Iterator[str]:
    if request.direction is None:
        yield say("assumed_lower", metric=layout.metric)
    yield from found.notes
    if layout.ignored:
        yield say("ignored_columns", names=layout.ignored)
    if "fold" in layout.keys.get("seed", "").casefold():
        yield say("folds")
    empty = cells.groupby(["task", "seed"])["value"].count()
    if nowhere := [f"{task}, seed {seed}" if seed else task for (task, seed), count in empty.items() if count == 0]:
        yield say("no_value", places=nowhere)
