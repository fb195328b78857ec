"""The segments of one arm in one replicate, as columns that grow while the study runs."""

import math
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from hpo.core.segments import Segment, ShrinkPerturb, Step, schedule_of
from hpo.core.task import Metric
from hpo.report.charts import Record, rounded, rows_record, steps_record
from hpo.report.segments_csv import part_of
from hpo.results.document import Results
from hpo.results.segments_reader import FollowedSegment, transform_cells, transform_of

Cell = float | str | None


@dataclass(frozen=True)
class Best:
    """The best segment so far.

    Args:
        value: of the metric that searches optimise.
        row: its place.
    """

    value: float
    row: int


class ArmRows:
    """The rows in the order in which they came.

    Args:
        results: of the study.
    """

    def __init__(self, results: Results) -> None:
        self._metric: Metric = results.task.metric(results.task.primary)
        self._leading: dict[str, list[float]] = {
            name: [] for name in ("member", "interval", "parent_member", "on_best_lineage", "diverged")
        }
        self._others: dict[str, list[Cell]] = {f"hparam:{name}": [] for name in results.task.space}
        self._last: dict[tuple[int, int], int] = {}
        """The last row of each (member, interval)."""
        self._bests = array("d")
        """The best value so far at each row; NaN if there is none."""
        self.best: Best | None = None
        self.version = 0
        """Grows with each change."""
        self._sent: tuple[int, Record] | None = None
        """What `record` returned last, and for which version."""

    def __len__(self) -> int:
        return len(self._leading["member"])

    def add(self, segment: FollowedSegment) -> None:
        """Add a row."""
        row = len(self)
        parent = math.nan if segment.parent_member is None else segment.parent_member
        values = (segment.member, segment.interval, parent, _mark(segment.best), int(segment.diverged))
        for column, value in zip(self._leading.values(), values, strict=True):
            column.append(value)
        found: dict[str, Cell] = {f"hparam:{name}": value for name, value in segment.hparams.items()}
        found |= {f"metric:{name}": value for name, value in segment.metrics.items()}
        found |= transform_cells(segment.transform)
        for name in found.keys() - self._others.keys():
            self._others[name] = [None] * row
        for name, others in self._others.items():
            others.append(found.get(name))
        self._last[segment.member, segment.interval] = row
        self._note_best(segment.metrics.get(self._metric.name), row)
        self.version += 1

    def settle(self, row: int, best: bool | None) -> None:
        """Change whether a row is on the best lineage."""
        self._leading["on_best_lineage"][row] = _mark(best)
        self.version += 1

    def record(self, results: Results) -> Record:
        """Return what charts show of the rows: all of them, or of a large population a part; and the schedule of the best."""
        if self._sent is None or self._sent[0] != self.version:
            part = part_of(self._table(results), f"metric:{self._metric.name}")
            record = {"rows": rows_record(part, results.task.space), "steps": steps_record(self._schedule(results))}
            self._sent = self.version, record
        return self._sent[1]

    def curve(self, results: Results) -> list[float | None]:
        """Return the best value so far at each of the budgets that the rows reach."""
        return [rounded(self._bests[budget - 1]) for budget in results.budgets if budget <= len(self)]

    def _note_best(self, value: float | None, row: int) -> None:
        score = -math.inf if value is None else self._metric.oriented(value)
        if value is not None and (self.best is None or score > self._metric.oriented(self.best.value)):
            self.best = Best(value, row)
        self._bests.append(math.nan if self.best is None else self.best.value)

    def _table(self, results: Results) -> pd.DataFrame:
        """Return the rows as `hpo.report.segments_csv.read_segments` does."""
        whole = {name: np.array(self._leading[name], np.int64) for name in ("member", "interval", "diverged")}
        maybe = {name: np.array(self._leading[name], np.float64) for name in ("parent_member", "on_best_lineage")}
        others = {name: _column(column) for name, column in self._others.items()}
        return pd.DataFrame({**whole, **maybe, **others})

    def _schedule(self, results: Results) -> tuple[Step, ...]:
        """Return the schedule along the answer's lineage, or else along that of the best segment so far."""
        marked = [row for row, mark in enumerate(self._leading["on_best_lineage"]) if mark == 1]
        if marked:
            path = sorted(marked, key=self._leading["interval"].__getitem__)
        else:
            path = [] if self.best is None else list(self._lineage(self.best.row))[::-1]
        member, interval = self._leading["member"], self._leading["interval"]
        names = {f"hparam:{name}": name for name in results.task.space}
        return schedule_of(
            Segment(
                int(member[row]),
                None,
                int(interval[row]),
                {short: value for name, short in names.items() if (value := self._others[name][row]) is not None},
                transform=self._transform(row),
            )
            for row in path
        )

    def _transform(self, row: int) -> ShrinkPerturb | None:
        cells = {name: cells[row] for name, cells in self._others.items() if name.startswith("transform:")}
        return transform_of({name: value for name, value in cells.items() if isinstance(value, int | float)})

    def _lineage(self, row: int) -> Iterator[int]:
        """Yield a row, the one that it started from, and so on to the root."""
        at: int | None = row
        while at is not None:
            yield at
            parent, interval = self._leading["parent_member"][at], int(self._leading["interval"][at])
            earlier = [] if math.isnan(parent) else range(interval - 1, -1, -1)
            at = next((self._last[int(parent), k] for k in earlier if (int(parent), k) in self._last), None)


def _mark(best: bool | None) -> float:
    return math.nan if best is None else float(best)


def _column(cells: Sequence[Cell]) -> np.ndarray:
    """Return a column of numbers, NaN where there is none, or of texts, empty where there is none."""
    if any(isinstance(cell, str) for cell in cells):
        return np.array(["" if cell is None else str(cell) for cell in cells], object)
    return np.array([math.nan if cell is None else cell for cell in cells], np.float64)
