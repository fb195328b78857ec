"""Which column of a table holds what: one row per value, or one column per arm, task or seed."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hpo.compare.data import Columns, Request, Role
from hpo.compare.names import chosen, hint
from hpo.compare.table.numbers import is_missing, is_number
from hpo.compare.table.words import ROLES, direction_of, is_neutral, role_of
from hpo.core.errors import InputError
from hpo.report.numbers import listed

#: What the headers of the columns of numbers say, by what these columns are.
HEADERS_SAY: dict[Columns, Role] = {"arms": "arm", "tasks": "task", "seeds": "seed"}

_FRACTION = re.compile(r"[+-]?[0-9]*[.,][0-9]+(?:[eE][+-]?[0-9]+)?%?")
_WHOLE = re.compile(r"[+-]?[0-9]+(?:\.0*)?")
_SEED = re.compile(r"(?:seed|run|fold|rep|repeat|replicate)[ _#-]*[0-9]+", re.IGNORECASE)


@dataclass(frozen=True)
class Layout:
    """What the columns of a table hold.

    Attributes:
        keys: the columns whose cells say which arm, task or seed a value belongs to.
        columns: what the columns of numbers are: metrics, or one each for an arm, a task or a seed.
        values: the columns of numbers that are read.
        metric: its name.
        ignored: all other columns.
        by_name: what the name of the file says instead.
    """

    keys: dict[Role, str]
    columns: Columns
    values: tuple[str, ...]
    metric: str
    ignored: tuple[str, ...]
    by_name: tuple[Role, ...] = ()

    @property
    def words(self) -> str:
        """How the table is read."""
        said = [f"{role}s in {f'column {name!r}' if name else 'the first column'}" for role, name in self.keys.items()]
        if self.columns in HEADERS_SAY:
            said.append(f"one column per {HEADERS_SAY[self.columns]}")
        if self.by_name:
            said.append(f"{' and '.join(f'{role}s' for role in self.by_name)} by the name of the file")
        return ", ".join(said)


def find_layout(
    path: Path, cells: pd.DataFrame, request: Request, named: Collection[Role] = (), *, arm_may_be_named: bool = False
) -> Layout:
    """Find out what the columns hold: from their names, and from `--columns` and `--column` if given.

    Args:
        path: of the file, for messages.
        cells: the table.
        request: the command line.
        named: what the name of the file says by `--names`.
        arm_may_be_named: whether the name of the file says the arm, if no column does.

    Raises:
        InputError: no column names the arms, several could, or the names leave open what the columns of numbers are.
    """
    keys = _keys(path, cells, request)
    for role in named:
        if role in keys:
            raise InputError(
                f"{path}: the {role} is in column {keys[role]!r}, and in --names {request.names!r}: drop one"
            )
    replaced = [header for header in cells if role_of(header) in request.roles and header not in keys.values()]
    rest = [header for header in cells if header not in (*keys.values(), *replaced)]
    if not keys and not any(map(is_neutral, rest)) and any(map(_FRACTION.fullmatch, rest)):
        raise InputError(f"{path}: the first row holds numbers; allowed: the names of the columns")
    counters = [header for header in rest if is_neutral(header) and _are_counters(cells[header])]
    rest = [header for header in rest if header not in counters]
    meant = chosen(request.metric, rest)
    filled = [header for header in rest if header == meant or any(map(is_number, cells[header]))]
    numeric = [header for header in rest if header in filled or all(map(is_missing, cells[header]))]
    first = next((header for header in cells if header not in counters), None)
    names = first if first is not None and first in rest and (is_neutral(first) or first not in numeric) else None
    values = tuple(header for header in numeric if header != names)
    if not set(values) & set(filled):
        raise InputError(f"{path}: no column of numbers; found: {_quoted(cells)}")
    columns = request.columns or _guess(path, cells, keys, names, values, request)
    said = HEADERS_SAY.get(columns)
    if said in keys:
        raise InputError(f"{path}: --columns {columns}: the {said} is already in column {keys[said]!r}")
    missing: list[Role] = [role for role in ("arm", "task") if role not in (*keys, *named, said)]
    if names is not None and missing:
        keys[missing.pop(0)] = names
    by_name = tuple(named)
    if "arm" in missing:
        if not arm_may_be_named:
            raise InputError(_no_arm(path, cells, columns, values))
        seeds: tuple[Role, ...] = () if "seed" in (*keys, said) else ("seed",)
        by_name = ("arm", *seeds)
    if columns == "arms" and not keys and not named:
        which = f"the first column, {counters[0]!r}," if counters else "a column"
        raise InputError(f"{path}: are the rows tasks or seeds? Name {which} 'task' or 'seed'")
    metric = request.metric or "value"
    if columns == "metrics":
        metric = _metric(path, [header for header in values if header in filled], request)
        return Layout(keys, columns, (metric,), metric, (), by_name)
    if len(values) < 2 and columns == "arms":
        raise InputError(f"{path}: one column of numbers, {values[0]!r}; allowed: one for each of 2 or more arms")
    ignored = tuple(h for h in rest if h not in (*values, *keys.values()))
    return Layout(keys, columns, values, metric, ignored, by_name)


def by_value(cells: pd.DataFrame, layout: Layout, named: Mapping[Role, str]) -> pd.DataFrame:
    """Return a row per value with the columns arm, task, seed, column (its header) and text.

    Args:
        cells: the table.
        layout: what its columns hold.
        named: the arm, task or seed if no column holds it.
    """
    keys = pd.DataFrame({role: cells[name] for role, name in layout.keys.items()}, index=cells.index)
    values = cells[list(layout.values)]
    long = pd.concat([keys, values], axis=1).melt(
        id_vars=list(keys), var_name="column", value_name="text", ignore_index=False
    )
    if layout.columns in HEADERS_SAY:
        long[HEADERS_SAY[layout.columns]] = long["column"]
    for role in ROLES:
        if role not in long:
            long[role] = named.get(role, "")
    return long.sort_index(kind="stable")


def _keys(path: Path, cells: pd.DataFrame, request: Request) -> dict[Role, str]:
    """Return the columns that hold the arm, the task or the seed: by `--column`, else by their names."""
    found: dict[Role, list[str]] = {role: [] for role in ROLES}
    for mapped, name in request.roles.items():
        header = chosen(name, cells)
        if header is None:
            raise InputError(
                f"--column {mapped}={name}: {path} has no such column; found: {_quoted(cells)}" + hint(name, cells)
            )
        if [header] in found.values():
            raise InputError(f"--column {mapped}={name}: {path}: one column cannot hold two of arm, task and seed")
        found[mapped] = [header]
    for header in cells:
        if [header] in found.values() or role_of(header) in request.roles:
            continue
        if (role := role_of(header)) and (role == "seed" or not _are_measured(cells[header])):
            found[role].append(header)
    for role, headers in found.items():
        exact = [header for header in headers if header.casefold() == role]
        if len(headers) > 1 and len(exact) != 1:
            raise InputError(
                f"{path}: columns {_quoted(headers)} could all hold the {role}; rename the one that does to {role!r}, or say"
                f" --column {role}=NAME"
            )
        found[role] = exact if len(exact) == 1 else headers
    return {role: headers[0] for role, headers in found.items() if headers}


def _are_measured(column: pd.Series) -> bool:
    """Whether these are numbers with decimals: an arm may be called "model"."""
    there = [text for text in column if not is_missing(text)]
    return all(map(is_number, there)) and not all(map(_WHOLE.fullmatch, there))


def _are_counters(column: pd.Series) -> bool:
    """Whether these are row numbers, as pandas writes them in front of a table."""
    return column.is_unique and all(text.isascii() and text.isdigit() for text in column)


def _guess(
    path: Path, cells: pd.DataFrame, keys: dict[Role, str], names: str | None, values: Sequence[str], request: Request
) -> Columns:
    """Say what the columns of numbers are, by their names and by what other columns hold."""
    if all(map(_SEED.fullmatch, values)):
        return "seeds"
    if chosen(request.metric, values) or any(map(direction_of, values)) or len(values) == 1:
        return "metrics"
    if "arm" not in keys:
        if names is not None and "task" not in keys and chosen(request.baseline, values) is None:
            return "arms" if chosen(request.baseline, list(cells[names])) is None else "tasks"
        return "arms"
    if all(map(str.isdecimal, values)):
        if "task" in keys:
            return "seeds"
        raise InputError(
            f"{path}: are the columns {_quoted(values)} tasks or seeds? Say --columns tasks or --columns seeds"
        )
    return "metrics" if "task" in keys else "tasks"


def _metric(path: Path, values: Sequence[str], request: Request) -> str:
    """Return the metric's column."""
    if request.metric is None:
        if len(values) > 1:
            raise InputError(
                f"{path}: --metric is required because there are several numeric columns: {_quoted(values)}"
            )
        return values[0]
    metric = chosen(request.metric, values)
    if metric is None:
        raise InputError(
            f"--metric {request.metric!r}: {path} has no such column of numbers; found: {_quoted(values)}"
            + hint(request.metric, values)
        )
    return metric


def _no_arm(path: Path, cells: pd.DataFrame, columns: Columns, values: Sequence[str]) -> str:
    return (
        f"{path}: no column holds the arms; found: {_quoted(cells)}. Name the one that does 'arm', 'method', 'algorithm',"
        " 'optimizer' or 'model'"
        + (" (where each column of numbers is an arm: --columns arms)" if columns != "arms" and len(values) > 1 else "")
    )


def _quoted(names: Iterable[str]) -> str:
    return listed([repr(name) for name in names])
