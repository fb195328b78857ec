"""From segments.csv to the rows that figures draw: all of them, or of a large population a part, with how the whole is spread.

The file is read line by line, twice: to count, then to take. So a study of a million segments is read in seconds, and held as
the few thousand rows that a figure can show.
"""

from __future__ import annotations

import csv
import math
import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpo.core.csv_files import text_of
from hpo.core.errors import InputError
from hpo.core.files import open_regular
from hpo.core.parameters import Categorical
from hpo.report.records import SegmentRow, Spread, Value
from hpo.results.document import Measurement, Results

MAX_SEEDS = 30
"""Figures of a replicate are drawn for the first so many: the page must still open."""
MAX_ROWS = 5000
"""Rows of an arm in one replicate up to which all of them are drawn."""
MAX_MEMBERS = 100
"""Members that are drawn where there are more rows."""
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Of the quantiles of all members, where only some are drawn."""

_COLUMNS = ("seed", "arm", "member", "interval", "parent_member", "on_best_lineage", "diverged")
Place = tuple[int, str]
"""A replicate's seed and an arm's label."""


@dataclass
class _Part:
    """What is taken of one arm in one replicate: every so many intervals, of these members and of the best lineage."""

    members: frozenset[str]
    total: int
    every: int
    intervals: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def spread(self) -> Spread:
        """Return how all members are spread, by interval; where none has a value there is no entry."""
        at = np.frombuffer(self.intervals, dtype=np.int64)
        order = np.argsort(at, kind="stable")
        starts = np.flatnonzero(np.diff(at[order], prepend=-1))
        groups = np.split(np.frombuffer(self.values, dtype=np.float64)[order], starts[1:])
        quantiles = {
            int(interval): tuple(float(value) for value in np.quantile(finite, LEVELS))
            for interval, group in zip(at[order][starts], groups, strict=True)
            if (finite := group[np.isfinite(group)]).size
        }
        return Spread(self.total, len(self.members), self.every, quantiles)


def load_segments(
    path: Path, results: Results
) -> tuple[dict[int, tuple[SegmentRow, ...]], dict[int, dict[str, Spread]]]:
    """Read the rows of the replicates that are drawn; finished ones alone: nothing is shown of one before its end.

    Returns:
        The rows by seed, in the file's order; and by seed and arm how all members are spread where not all rows are there.

    Raises:
        InputError: the file is malformed; the message names the line.
    """
    seeds = frozenset(sorted(replicate.seed for replicate in results.replicates)[:MAX_SEEDS])
    labels = frozenset(arm.label for arm in results.arms)
    parts = {place: _part(members, count) for place, (members, count) in _counted(path, seeds, labels).items()}
    rows: dict[int, list[SegmentRow]] = {}
    with _lines(path) as (header, lines):
        make = _RowMaker(header, results)
        primary = f"metric:{results.task.primary}"
        metric = header.index(primary) if primary in header else None
        seed_at, arm_at, member_at, interval_at, _, best_at, _ = (header.index(name) for name in _COLUMNS)
        for line in lines:
            place = (int(line[seed_at]), text_of(line[arm_at]))
            part = parts.get(place)
            if part is None:
                continue
            if part.total > len(part.members) or part.every > 1:
                interval = int(line[interval_at])
                if (interval + 1) % part.every:
                    continue
                if metric is not None and line[metric]:
                    part.intervals.append(interval)
                    part.values.append(float(line[metric]))
                if line[member_at] not in part.members and line[best_at] != "1":
                    continue
            rows.setdefault(place[0], []).append(make(line))
    spreads: dict[int, dict[str, Spread]] = {}
    for (seed, label), part in parts.items():
        if part.intervals:
            spreads.setdefault(seed, {})[label] = part.spread()
    return {seed: tuple(of_seed) for seed, of_seed in rows.items()}, spreads


def _counted(path: Path, seeds: frozenset[int], labels: frozenset[str]) -> dict[Place, tuple[set[str], int]]:
    """Return the members and the number of rows of each arm in each replicate."""
    members: dict[Place, set[str]] = {}
    counts: dict[Place, int] = {}
    with _lines(path) as (header, lines):
        seed_at, arm_at, member_at = (header.index(name) for name in _COLUMNS[:3])
        for line in lines:
            place = (int(line[seed_at]), text_of(line[arm_at]))
            if place[0] in seeds and place[1] in labels:
                members.setdefault(place, set()).add(line[member_at])
                counts[place] = counts.get(place, 0) + 1
    return {place: (found, counts[place]) for place, found in members.items()}


def _part(members: set[str], count: int) -> _Part:
    """Return what to take of so many rows: of large populations members that are evenly spaced, by slot."""
    if count <= MAX_ROWS:
        return _Part(frozenset(members), len(members), 1)
    ordered = sorted(members, key=lambda member: (len(member), member))
    shown = min(len(ordered), MAX_MEMBERS)
    chosen = frozenset(ordered[round(at * (len(ordered) - 1) / max(shown - 1, 1))] for at in range(shown))
    return _Part(chosen, len(ordered), max(1, -(-count * shown // (len(ordered) * MAX_ROWS))))


@contextmanager
def _lines(path: Path) -> Iterator[tuple[list[str], Iterator[list[str]]]]:
    """Open the file, and say of what is wrong with a line which it is."""
    number = 0

    def read(file: Iterator[str]) -> Iterator[list[str]]:
        nonlocal number
        reader = csv.reader(file)
        for line in reader:
            number = reader.line_num
            if line:
                yield line

    try:
        with os.fdopen(open_regular(path), encoding="utf-8", newline="") as file:
            lines = read(file)
            header = next(lines, [])
            missing = [name for name in _COLUMNS if name not in header]
            if missing:
                raise InputError(f"{path.name}: no column {', '.join(missing)}")
            yield header, lines
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, IndexError, csv.Error) as error:
        raise InputError(f"{path.name}: line {number}: {str(error).splitlines()[0]}") from None


class _RowMaker:
    """Makes records of lines.

    Args:
        header: the names of the columns.
        results: knows which hyperparameters are categorical.
    """

    def __init__(self, header: Sequence[str], results: Results) -> None:
        categorical = {name for name, found in results.task.space.items() if isinstance(found, Categorical)}
        columns = [(at, *name.partition(":")[::2]) for at, name in enumerate(header)]
        self._width = len(header)
        self._at = [header.index(name) for name in _COLUMNS[1:]]
        self._hparams = [(at, name, name in categorical) for at, kind, name in columns if kind == "hparam"]
        self._metrics = [(at, name) for at, kind, name in columns if kind == "metric"]

    def __call__(self, line: Sequence[str]) -> SegmentRow:
        if len(line) != self._width:
            raise ValueError(f"{len(line)} columns where the first line has {self._width}")
        arm, member, interval, parent, best, diverged = (line[at] for at in self._at)
        hparams: dict[str, Value] = {}
        for at, name, categorical in self._hparams:
            hparams[name] = (text_of(line[at]) or None) if categorical else _finite(line[at])
        return SegmentRow(
            arm=text_of(arm),
            member=int(member),
            interval=int(interval),
            parent=int(parent) if parent else None,
            best=best == "1",
            diverged=diverged == "1",
            hparams=hparams,
            metrics={name: _finite(line[at]) for at, name in self._metrics},
        )


def _finite(text: str) -> Measurement:
    if not text:
        return None
    number = float(text)
    return number if math.isfinite(number) else None
