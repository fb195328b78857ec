"""CSV files as the records that a comparison is made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from hpo.compare.data import Direction, Inputs, Request, Role, TaskData, natural_order
from hpo.compare.naming import arms_and_seeds, parse_pattern
from hpo.compare.phrases import say
from hpo.compare.table.columns import Layout, by_value, find_layout
from hpo.compare.table.numbers import read_numbers
from hpo.compare.table.text import Sheet, read_sheet
from hpo.compare.table.words import SUMMARIES, direction_of
from hpo.core.errors import InputError
from hpo.report.numbers import listed

_MOST_ARMS, _MOST_GRID = 200, 10**6


@dataclass(frozen=True)
class _File:
    """A file, how it is read, and what its name says."""

    path: Path
    sheet: Sheet
    layout: Layout
    named: dict[Role, str]


def read_tables(paths: Sequence[Path], request: Request) -> Inputs:
    """Read CSV files in any of the layouts of docs/how_to/tables.md, as one table.

    The order of files, rows and columns does not matter: arms, tasks and seeds are sorted. Without a column of seeds, each task
    has one value per arm, whose seed is the empty string.

    Raises:
        InputError: a file is not such a table, or is ambiguous, or contradicts another one.
    """
    files = _files(paths, request)
    layout, path = files[0].layout, paths[0]
    direction = _direction(path, layout.metric, request)
    _check_alike(files)
    parts = [by_value(file.sheet.cells, file.layout, file.named) for file in files]
    for file, part in zip(files, parts, strict=True):
        part["file"], part["row"] = str(file.path), part.index
        _check_labels(part)
    cells = pd.concat(parts, ignore_index=True)
    _check_different(cells, seeded=_seeded(layout))
    found = [_with_numbers(file, part) for file, part in zip(files, parts, strict=True)]
    for file, (_, percent, _) in zip(files[1:], found[1:], strict=True):
        if percent != found[0][1]:
            signs = ("no percent signs", "percent signs")
            raise InputError(
                f"{file.path}: its values have {signs[percent]}, and those of {path} have {signs[not percent]}: allowed: percent"
                " signs in all cells or in none"
            )
    cells = pd.concat([part for part, _, _ in found], ignore_index=True)
    arms, tasks = (sorted(cells[role].unique(), key=natural_order) for role in ("arm", "task"))
    _check_size(path, cells, arms, tasks)
    _check_spelling(path, arms, tasks)
    known = cells[cells["value"].notna()]
    layouts = list(dict.fromkeys(file.layout.words for file in files))
    notes = dict.fromkeys(note for _, _, notes in found for note in notes)
    return Inputs(
        baseline=request.baseline,
        alpha=0.05 if request.alpha is None else request.alpha,
        rope=request.rope,
        arms=tuple(arms),
        tasks=tuple(_tasks(layout.metric, direction, known, arms, percent=found[0][1])),
        layout="; ".join(layouts),
        cautions=(*_cautions(files, cells, direction, request, notes),),
    )


def _files(paths: Sequence[Path], request: Request) -> list[_File]:
    """Read the files, find out what their columns hold, and read in their names what no column holds."""
    pattern = None if request.names is None else parse_pattern(request.names)
    files = []
    for path in paths:
        sheet, named = read_sheet(path), {}
        if pattern is not None:
            folders = path.resolve().parent.parts
            if (read := pattern.read((*folders, path.stem))) is None:
                raise InputError(f"--names {pattern.text!r}: {path} has no such name (without {path.suffix!r})")
            named = read
        several = len(paths) > 1 and pattern is None
        layout = find_layout(path, sheet.cells, request, tuple(named), arm_may_be_named=several)
        files.append(_File(path, sheet, layout, {"task": path.stem, **named}))
    if pattern is not None:
        return files
    unnamed = [file.path for file in files if "seed" in file.layout.by_name]
    split = dict(zip(unnamed, arms_and_seeds([path.stem for path in unnamed]), strict=True))
    return [
        _by_name(file, *split.get(file.path, (file.path.stem, ""))) if file.layout.by_name else file for file in files
    ]


def _by_name(file: _File, arm: str, seed: str) -> _File:
    """Return a file that holds the values of one arm, or of one seed of it; its folder is the task if no column holds tasks."""
    by_name = tuple(role for role in file.layout.by_name if role != "seed" or seed)
    named: dict[Role, str] = {"arm": arm, "task": file.path.resolve().parent.name or "results", "seed": seed}
    return replace(file, named=named, layout=replace(file.layout, by_name=by_name))


def _seeded(layout: Layout) -> bool:
    return layout.columns == "seeds" or "seed" in (*layout.keys, *layout.by_name)


def _check_alike(files: Sequence[_File]) -> None:
    """Raise `InputError` for files of several metrics, or of which only some have seeds."""
    first = files[0]
    for file in files[1:]:
        if file.layout.metric != first.layout.metric:
            raise InputError(
                f"{file.path}: its metric is {file.layout.metric!r}, and that of {first.path} is {first.layout.metric!r}; say"
                " --metric, or rename one"
            )
        if _seeded(file.layout) != _seeded(first.layout):
            which = ("has no seeds", "has seeds")
            raise InputError(
                f"{file.path}: {which[_seeded(file.layout)]}, and {first.path} {which[_seeded(first.layout)]}; allowed: a column"
                " 'seed' in all or in none"
            )


def _with_numbers(file: _File, part: pd.DataFrame) -> tuple[pd.DataFrame, bool, tuple[str, ...]]:
    """Return the rows with their numbers, whether they are percentages, and notes on the cells."""
    columns = list(zip(part["row"], part["column"], strict=True))
    found = read_numbers(
        list(part["text"]), file.sheet.separator, lambda at: f"{file.path}: row {columns[at][0]}: {columns[at][1]}"
    )
    whole = pd.Series(found.whole, part.index, dtype=object)
    return part.assign(value=found.values, whole=whole), found.percent, found.notes


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


def _check_labels(cells: pd.DataFrame) -> None:
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
                first = cells[wrong].iloc[0]
                raise InputError(f"{first['file']}: row {first['row']}: {role} {first[role]!r} {why}")


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


def _check_different(cells: pd.DataFrame, *, seeded: bool) -> None:
    keys = ["arm", "task", *(["seed"] if seeded else [])]
    again = cells.duplicated(keys)
    if not again.any():
        return
    second = cells.iloc[int(again.argmax())]
    first = cells[(cells[keys] == second[keys]).all(axis=1)].iloc[0]
    named = ", ".join(f"{role} {second[role]!r}" for role in keys)
    fix = (
        "allowed: one value per arm, task and seed"
        if seeded
        else "runs can be paired only by a column 'seed' that says which of them belong together; allowed without one: one"
        " value per arm and task"
    )
    elsewhere = "" if first["file"] == second["file"] else f" of {first['file']}"
    raise InputError(
        f"{second['file']}: row {second['row']}: {named} is already in row {first['row']}{elsewhere}; {fix}"
    )


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
    metric: str, direction: Direction, known: pd.DataFrame, arms: Sequence[str], *, percent: bool
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
        source = listed(list(dict.fromkeys(of_task["file"])))
        yield TaskData(str(task), source, metric, direction, values, counts if whole else None, rate=percent)


def _order(column: pd.Series) -> pd.Series:
    """Return sort keys: the places of the labels in their natural order."""
    return column.map({label: at for at, label in enumerate(sorted(column.unique(), key=natural_order))})


def _cautions(
    files: Sequence[_File], cells: pd.DataFrame, direction: Direction, request: Request, notes: Iterable[str]
) -> Iterator[str]:
    if request.direction is None:
        yield say("assumed_lower", metric=files[0].layout.metric)
    yield from notes
    if ignored := list(dict.fromkeys(name for file in files for name in file.layout.ignored)):
        yield say("ignored_columns", names=ignored)
    if any("fold" in file.layout.keys.get("seed", "").casefold() for file in files):
        yield say("folds")
    empty = cells.groupby(["task", "seed"])["value"].count()
    if nowhere := [f"{task}, seed {seed}" if seed else task for (task, seed), count in empty.items() if count == 0]:
        yield say("no_value", places=nowhere)
