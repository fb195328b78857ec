"""A CSV file with the columns arm, task, seed and metrics: the results of any other tool."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from hpo.compare.data import Inputs, Request, TaskData, natural_order
from hpo.errors import InputError, did_you_mean
from hpo.report.reading import read_text

KEYS = ("arm", "task", "seed")

_INTEGER = re.compile(r"[+-]?[0-9]{1,15}", re.ASCII)


@dataclass(frozen=True)
class _Line:
    arm: str
    task: str
    seed: str
    text: str
    number: float


def read_table(path: Path, request: Request) -> Inputs:
    """Read a CSV file; extra columns are ignored, and every line needs an arm, a task, a seed and a finite metric.

    The order of the lines means nothing: arms, tasks and seeds are sorted.

    Raises:
        InputError: a column is missing or there twice, a line is malformed, a key is there twice, or a task lacks an
            arm altogether.
        ReportError: the file cannot be read.
    """
    reader = csv.reader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        metric = _metric(path, header, request)
        lines = list(_lines(path, ((reader.line_num, row) for row in reader), header, metric))
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: malformed CSV: {error}") from None
    if not lines:
        raise InputError(f"{path}: no line of values")
    arms, tasks = (sorted(found, key=natural_order) for found in ({x.arm for x in lines}, {x.task for x in lines}))
    by_task: dict[str, list[_Line]] = {task: [] for task in tasks}
    for line in lines:
        by_task[line.task].append(line)
    for task, of_task in by_task.items():
        if absent := [arm for arm in arms if arm not in {line.arm for line in of_task}]:
            raise InputError(
                f"{path}: task {task!r} has no line of arm {', '.join(map(repr, absent))}; every task needs the same arms"
            )
    return Inputs(
        baseline=request.baseline,
        alpha=0.05 if request.alpha is None else request.alpha,
        arms=tuple(arms),
        tasks=tuple(_task(path, metric, of_task, arms, request) for of_task in by_task.values()),
        cautions=()
        if request.direction
        else (f"Lower {metric} is taken to be better; --direction maximize says other.",),
    )


def _metric(path: Path, header: list[str], request: Request) -> str:
    """Return the metric's column after checking the header."""
    if not header:
        raise InputError(f"{path}: is empty; expected a header with the columns {', '.join(KEYS)} and a metric")
    others = [name for name in header if name and name not in KEYS]
    for name in KEYS:
        if name not in header:
            hint = did_you_mean(name, others) if len(header) > 1 else "commas are to separate the columns"
            raise InputError(
                f"{path}: no column {name!r}; needed: {', '.join(KEYS)} and a metric; found: {', '.join(header)}"
                + (f" ({hint})" if hint else "")
            )
    if not others:
        raise InputError(f"{path}: no column of a metric beside {', '.join(KEYS)}")
    if request.metric is None:
        raise InputError(f"{path}: --metric is needed with a CSV file; its other columns are: {', '.join(others)}")
    if request.metric not in others:
        hint = did_you_mean(request.metric, others)
        raise InputError(
            f"--metric {request.metric!r}: {path} has no such column; found: {', '.join(others)}"
            + (f" ({hint})" if hint else "")
        )
    for name in (*KEYS, request.metric):
        if header.count(name) > 1:
            raise InputError(f"{path}: column {name!r} is there {header.count(name)} times; allowed: once")
    return request.metric


def _lines(path: Path, rows: Iterable[tuple[int, list[str]]], header: list[str], metric: str) -> Iterator[_Line]:
    """Yield what the numbered rows below the header say; empty ones are skipped."""
    at = {name: header.index(name) for name in (*KEYS, metric)}
    seen: dict[tuple[str, ...], int] = {}
    for number, row in rows:
        if not any(cell.strip() for cell in row):
            continue
        where = f"{path}: line {number}"
        if len(row) != len(header):
            raise InputError(f"{where}: {len(row)} cells; allowed: {len(header)}, as many as the header has columns")
        arm, task, seed = key = tuple(row[at[name]].strip() for name in KEYS)
        for name, cell in zip(KEYS, key, strict=True):
            if not cell:
                raise InputError(f"{where}: {name}: is empty")
        if key in seen:
            named = ", ".join(f"{name} {cell!r}" for name, cell in zip(KEYS, key, strict=True))
            raise InputError(
                f"{where}: {named} is there already, in line {seen[key]}; allowed: one line per arm, task and seed"
            )
        seen[key] = number
        text = row[at[metric]].strip()
        yield _Line(arm, task, seed, text, _number(text, where, metric))


def _number(text: str, where: str, metric: str) -> float:
    try:
        number = float(text) if "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(
            f"{where}: {metric} = {text!r}: allowed: a finite number. A run that diverged needs the worst value that the"
            " metric can have: leaving it out would favour the arm that diverged"
        )
    return number


def _task(path: Path, metric: str, lines: list[_Line], arms: list[str], request: Request) -> TaskData:
    lines = sorted(lines, key=lambda line: natural_order(line.seed))
    whole = all(_INTEGER.fullmatch(line.text) for line in lines)
    return TaskData(
        name=lines[0].task,
        source=str(path),
        metric=metric,
        direction=request.direction or "minimize",
        values={arm: {line.seed: line.number for line in lines if line.arm == arm} for arm in arms},
        counts={arm: {line.seed: int(line.text) for line in lines if line.arm == arm} for arm in arms}
        if whole
        else None,
        rate=False,
    )
