"""From segments.csv to the rows that figures draw: all of them, or of a large population a part, with how the whole is spread.

The file is read into columns of numbers, so that a study of a million segments takes seconds; records are made only of the few
thousand rows that a figure can show.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hpo.core.csv_files import text_of
from hpo.core.errors import InputError, OptionError
from hpo.core.files import open_regular
from hpo.core.parameters import Categorical, Int, Parameter
from hpo.core.run_files import SEGMENTS
from hpo.core.segments import ShrinkPerturb
from hpo.results.document import Evidence, Measurement
from hpo.results.segments_reader import LEADING, transform_of

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

Value = float | str | None
"""A hyperparameter in a row: a number for floats and ints, the text of a choice for categoricals, None if absent."""


@dataclass(frozen=True)
class SegmentRow:
    """One line of `segments.csv`: a member after one interval of the search. `parent` is None at a root.

    `transform` is what happened to the weights before the interval.
    """

    arm: str
    member: int
    interval: int
    parent: int | None
    best: bool
    diverged: bool
    hparams: Mapping[str, Value]
    metrics: Mapping[str, Measurement]
    transform: ShrinkPerturb | None = None


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

    @property
    def words(self) -> str:
        """The rows that are there, for a title; empty if all are."""
        members = f"{self.shown} of {self.members:,} members" if self.shown < self.members else ""
        intervals = f"every {self.every}th interval" if self.every > 1 else ""
        return ", ".join(said for said in (members, intervals) if said)


@dataclass(frozen=True)
class ArmPart:
    """Rows of an arm in one replicate: all of them, or of a large population a part.

    Attributes:
        table: the columns of the file that are used.
        origin: of each row, the position in `table` of the row that it started from, or of the nearest ancestor that is there; -1
            at a root.
        spread: how all members are spread; None if all rows are there.
    """

    table: pd.DataFrame
    origin: NDArray[np.int64]
    spread: MemberSpread | None = None


def read_segments(path: Path, results: Evidence, *, exact: bool = False) -> pd.DataFrame:
    """Read all rows in the file's order: numbers, NaN if there is none, and the texts of the arm and of choices.

    Args:
        path: of the file.
        results: of the same run.
        exact: read integers that no float may hold as texts.

    Raises:
        InputError: the file is malformed; the message names the line and the column.
    """
    space = results.task.space.items()
    texts = {name for name, found in space if isinstance(found, Categorical) or (exact and is_large(found))}
    return _read(path, {f"hparam:{name}" for name in texts})


def is_large(parameter: Parameter, limit: int = 2**53) -> bool:
    """Return whether a hyperparameter is an integer that may be larger than a limit; by default, than a float holds exactly."""
    return isinstance(parameter, Int) and max(-parameter.low, parameter.high) > limit


def plain_names(columns: Sequence[str]) -> dict[str, str]:
    """Return the columns' names without `hparam:` and `metric:`, but as they are if another column has the plain name, too."""
    plain = {name: re.sub("^(hparam|metric):", "", name) for name in columns}
    counts = Counter([*plain.values(), *columns])
    return {name: short if counts[short] == 1 else name for name, short in plain.items() if name != short}


def parts_of(table: pd.DataFrame, results: Evidence) -> dict[tuple[int, str], ArmPart]:
    """Return the rows to draw of all finished replicates, by seed and arm."""
    known = table[table["seed"].isin(results.finished_seeds) & table["arm"].isin(results.labels)]
    primary = f"metric:{results.task.primary}"
    return {
        (int(seed), str(arm)): part_of(rows, primary)
        for (seed, arm), rows in known.groupby(["seed", "arm"], sort=False)
    }


def part_of(rows: pd.DataFrame, metric: str) -> ArmPart:
    """Return the rows to draw of one arm in one replicate.

    Of a large population these are the members evenly spaced by slot, and the best lineage.

    Args:
        rows: all of them, as `read_segments` returns them.
        metric: the column of which the spread is taken.
    """
    origin = origins(rows)
    if len(rows) <= MAX_ROWS:
        return ArmPart(rows, origin)
    members = np.sort(rows["member"].unique())
    shown = min(len(members), MAX_MEMBERS)
    chosen = members[np.linspace(0, len(members) - 1, shown).round().astype(int)]
    every = max(1, -(-len(rows) * shown // (len(members) * MAX_ROWS)))
    at_times = (rows["interval"] + 1) % every == 0
    timed = rows[at_times]
    finite = timed[np.isfinite(timed[metric])] if metric in timed else timed.head(0)
    quantiles = {
        int(interval): tuple(map(float, np.quantile(of_interval[metric], LEVELS)))
        for interval, of_interval in finite.groupby("interval")
    }
    kept = (at_times & (rows["member"].isin(chosen) | (rows["on_best_lineage"] == 1))).to_numpy()
    return ArmPart(rows[kept], _among_kept(origin, kept), MemberSpread(len(members), shown, every, quantiles))


def origins(rows: pd.DataFrame) -> NDArray[np.int64]:
    """Return the position of the row that each row started from; -1 at a root.

    The file names the parent's member and not its interval: it is the latest one before, or the one on the best lineage.
    """
    member, interval = rows["member"].to_numpy(np.int64), rows["interval"].to_numpy(np.int64)
    parent = rows["parent_member"].to_numpy(np.float64)
    has_parent = np.isfinite(parent)
    parent = np.where(has_parent, parent, -1).astype(np.int64)
    order = np.lexsort((interval, member))
    # A row's place among all (member, interval), in that order; its parent's is the last one before (parent, interval).
    stride = int(interval.max(initial=0)) + 2
    keys = (member * stride + interval)[order]
    found = order[np.maximum(np.searchsorted(keys, parent * stride + interval) - 1, 0)] if len(rows) else order
    origin = np.where(has_parent & (member[found] == parent) & (interval[found] < interval), found, -1)
    best = np.flatnonzero(rows["on_best_lineage"].to_numpy(np.float64) == 1)
    best = best[np.argsort(interval[best], kind="stable")]
    if best.size:
        origin[best] = np.append(-1, best[:-1])
    return origin.astype(np.int64)


def _among_kept(origin: NDArray[np.int64], kept: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the nearest kept ancestor of each kept row, as a position among the kept rows."""
    places = np.where(kept, np.cumsum(kept) - 1, -1)
    found = origin[kept]
    while (lost := (found >= 0) & ~kept[found]).any():
        found = np.where(lost, origin[found], found)
    return np.where(found >= 0, places[found], -1)


def records_of(parts: Iterable[ArmPart]) -> tuple[SegmentRow, ...]:
    """Return the rows of parts as records, in the file's order."""
    tables = [part.table for part in parts]
    return records(pd.concat(tables).sort_index()) if tables else ()


def records(rows: pd.DataFrame) -> tuple[SegmentRow, ...]:
    """Return rows as records, in their order."""
    hparams, metrics = (
        {name: name.removeprefix(kind) for name in rows if name.startswith(kind)} for kind in ("hparam:", "metric:")
    )
    transforms = transforms_of(rows)
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
            transform,
        )
        for row, transform in zip(rows.to_dict("records"), transforms, strict=True)
    )


def transforms_of(rows: pd.DataFrame) -> list[ShrinkPerturb | None]:
    """Return the weight transform of each row.

    Raises:
        InputError: one has a factor that is not allowed; the message names the row.
    """
    columns = [name for name in rows if name.startswith("transform:")]
    if not columns:
        return [None] * len(rows)
    found: list[ShrinkPerturb | None] = []
    for place, cells in enumerate(rows[columns].to_dict("records")):
        try:
            found.append(transform_of({name: value for name, value in cells.items() if value == value}))
        except OptionError as error:
            raise InputError(f"{SEGMENTS}: {place_of(rows.iloc[place])}: {error}") from None
    return found


def place_of(row: pd.Series) -> str:
    """Return in words which row it is."""
    return f"seed {row['seed']}, arm {row['arm']}, member {row['member']}, interval {row['interval']}"


# --- the file ------------------------------------------------------------------------------------------------------------


def _read(path: Path, texts: set[str]) -> pd.DataFrame:
    """Return the columns that are used: numbers, NaN if there is none, and the texts of the arm and of choices."""
    try:
        with os.fdopen(open_regular(path), encoding="utf-8", newline="") as file, warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            warnings.filterwarnings("ignore", "The 'float_precision' argument")
            header = list(pd.read_csv(file, nrows=0))
            if missing := [name for name in LEADING if name not in header]:
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
    used = {name for name in header if name.startswith(("hparam:", "metric:", "transform:"))} | {*_EMPTY_OR_NUMBERS}
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
