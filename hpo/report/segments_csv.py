"""From segments.csv to the rows that figures draw: all of them, or of a large population a part, with how the whole is spread.

The file is read into columns of numbers, so that a study of a million segments takes seconds; records are made only of the few
thousand rows that a figure can show.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from hpo.core.csv_files import text_of
from hpo.core.errors import InputError
from hpo.core.files import open_regular
from hpo.core.parameters import Categorical
from hpo.results.document import Measurement, Results

MAX_SEEDS = 30
"""Figures of a replicate are drawn for the first so many: the page must still open."""
MAX_ROWS = 5000
"""Rows of an arm in one replicate up to which all of them are drawn."""
MAX_MEMBERS = 100
"""The most members that are drawn."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the quantiles of all members, where only some are drawn."""

_WHOLE_NUMBERS = ("seed", "member", "interval", "diverged")
_EMPTY_OR_NUMBERS = ("parent_member", "on_best_lineage")
"""A root has no parent; what is on the best lineage is known when its replicate is finished."""
_COLUMNS = ("seed", "arm", "member", "interval", "parent_member", "on_best_lineage", "diverged")

Value = float | str | None
"""A hyperparameter in a row: a number for floats and ints, the text of a choice for categoricals, None if absent."""


@dataclass(frozen=True)
class SegmentRow:
    """One line of `segments.csv`: a member after one interval of the search. `parent` is None at a root."""

    arm: str
    member: int
    interval: int
    parent: int | None
    best: bool
    diverged: bool
    hparams: Mapping[str, Value]
    metrics: Mapping[str, Measurement]


@dataclass(frozen=True)
class MemberSpread:
    """How all members of an arm in a replicate are spread, where only some of their rows are there.

    Attributes:
        members: the number of all.
        shown: the number of those whose rows are there.
        every: rows and quantiles are of every so many intervals.
        quantiles: of the primary metric at `LEVELS`, by interval.
    """

    members: int
    shown: int
    every: int
    quantiles: Mapping[int, tuple[float, ...]]


def read_segments(path: Path, results: Results) -> pd.DataFrame:
    """Read all rows in the file's order: numbers, NaN if there is none, and the texts of the arm and of choices.

    Raises:
        InputError: the file is malformed; the message names the line and the column.
    """
    categorical = {name for name, found in results.task.space.items() if isinstance(found, Categorical)}
    return _read(path, {f"hparam:{name}" for name in categorical})


def drawn_segments(
    table: pd.DataFrame, results: Results
) -> tuple[dict[int, tuple[SegmentRow, ...]], dict[int, dict[str, MemberSpread]]]:
    """Return the rows of the replicates that are drawn: only finished ones.

    Returns:
        The rows by seed, in the file's order; and by seed and arm how all members are spread where not all rows are there.
    """
    seeds = sorted(replicate.seed for replicate in results.replicates)[:MAX_SEEDS]
    table = table[table["seed"].isin(seeds) & table["arm"].isin(results.labels)]
    parts, spreads = [table.head(0)], dict[int, dict[str, MemberSpread]]()
    for (seed, arm), of_arm in table.groupby(["seed", "arm"], sort=False):
        part, spread = _part(of_arm, f"metric:{results.task.primary}")
        parts.append(part)
        if spread is not None and spread.quantiles:
            spreads.setdefault(int(seed), {})[str(arm)] = spread
    drawn = pd.concat(parts).sort_index()
    return {int(seed): records(of_seed) for seed, of_seed in drawn.groupby("seed", sort=False)}, spreads


def _part(rows: pd.DataFrame, metric: str) -> tuple[pd.DataFrame, MemberSpread | None]:
    """Return the rows to draw of one arm: of a large population, members evenly spaced by slot, and the best lineage."""
    if len(rows) <= MAX_ROWS:
        return rows, None
    members = np.sort(rows["member"].unique())
    shown = min(len(members), MAX_MEMBERS)
    chosen = members[np.linspace(0, len(members) - 1, shown).round().astype(int)]
    every = max(1, -(-len(rows) * shown // (len(members) * MAX_ROWS)))
    rows = rows[(rows["interval"] + 1) % every == 0]
    finite = rows[np.isfinite(rows[metric])] if metric in rows else rows.head(0)
    quantiles = {
        int(interval): tuple(map(float, np.quantile(of_interval[metric], LEVELS)))
        for interval, of_interval in finite.groupby("interval")
    }
    drawn = rows[rows["member"].isin(chosen) | (rows["on_best_lineage"] == 1)]
    return drawn, MemberSpread(len(members), shown, every, quantiles)


def records(rows: pd.DataFrame) -> tuple[SegmentRow, ...]:
    """Return rows as records, in their order."""
    hparams, metrics = (
        {name: name.removeprefix(kind) for name in rows if name.startswith(kind)} for kind in ("hparam:", "metric:")
    )
    numbers = rows.select_dtypes("float64")
    rows = rows.assign(**numbers.astype(object).where(np.isfinite(numbers), None))
    return tuple(
        SegmentRow(
            row["arm"],
            row["member"],
            row["interval"],
            None if row["parent_member"] is None else int(row["parent_member"]),
            row["on_best_lineage"] == 1,
            row["diverged"] == 1,
            {short: None if row[name] == "" else row[name] for name, short in hparams.items()},
            {short: row[name] for name, short in metrics.items()},
        )
        for row in rows.to_dict("records")
    )


# --- the file ------------------------------------------------------------------------------------------------------------


def _read(path: Path, texts: set[str]) -> pd.DataFrame:
    """Return the columns that are used: numbers, NaN if there is none, and the texts of the arm and of choices."""
    try:
        with os.fdopen(open_regular(path), encoding="utf-8", newline="") as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            warnings.filterwarnings("ignore", "The 'float_precision' argument")
            header = list(pd.read_csv(file, nrows=0))
            if missing := [name for name in _COLUMNS if name not in header]:
                raise InputError(f"{path.name}: no column {', '.join(missing)}")
            file.seek(0)
            try:
                table = _parsed(file, _types(header, texts))
            except (ValueError, OverflowError) as error:
                file.seek(0)
                raise InputError(f"{path.name}: {_mistake(file, _types(header, texts)) or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, pd.errors.ParserWarning) as error:
        raise InputError(f"{path.name}: {str(error).splitlines()[0]}") from None
    for name in ("arm", *texts & set(header)):
        table[name] = table[name].map({text: text_of(text) for text in table[name].unique()})
    return table


def _types(header: list[str], texts: set[str]) -> dict[str, type]:
    """Return the type of each column that is used."""
    used = {name for name in header if name.startswith(("hparam:", "metric:"))} | {*_EMPTY_OR_NUMBERS}
    return {
        "arm": str,
        **dict.fromkeys(_WHOLE_NUMBERS, int),
        **{name: str if name in texts else float for name in used},
    }


def _parsed(file: IO[str], types: Mapping[str, type]) -> pd.DataFrame:
    texts, numbers = ([name for name, kind in types.items() if (kind is str) == text] for text in (True, False))
    table = pd.read_csv(
        file,
        usecols=list(types),
        dtype=types,
        index_col=False,
        keep_default_na=False,
        na_values={name: ["", "nan", "NaN"] for name in numbers},
        float_precision="round_trip",  # the default only since pandas 3, which deprecates the argument
    )
    return table.fillna(dict.fromkeys(texts, ""))


def _mistake(file: IO[str], types: Mapping[str, type]) -> str | None:
    """Return the first cell that is not a number where one is expected, with its line and column; None without one."""
    table = pd.read_csv(file, dtype=str, index_col=False, keep_default_na=False)
    wrong = {}
    for name, kind in types.items():
        if kind is not str:
            # A cell that a short row lacks is NaN; an empty one is no mistake in a column of floats.
            cells = table[name]
            empty = (cells == "") if kind is float else False
            bad = pd.to_numeric(cells, errors="coerce").isna() & ~cells.str.casefold().eq("nan") & ~empty
            if bad.any():
                wrong[int(bad.argmax())] = name
    if not wrong:
        return None
    row = min(wrong)
    return f"line {row + 2}: {wrong[row]} = {table[wrong[row]].iloc[row]!r}: allowed: a number"
