"""segments.csv: one row per search segment; finished replicates in the order of results.json.

The rows of a replicate are written once, when it finishes, to an unnamed temporary file, from which segments.csv is assembled.
So only the segments of running replicates are held in memory. While the study runs, their rows come last, in the order in
which they finished.
"""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hpo.core.csv_files import cell, rows_into
from hpo.core.locks import explained
from hpo.core.run_files import SEGMENTS
from hpo.core.segments import Key, Result
from hpo.engine.results import ArmRecord
from hpo.engine.search import SearchRecord
from hpo.results.segments_reader import LEADING, transform_cells, transform_columns
from hpo.store import Stored
from hpo.study.spec import StudySpec


@dataclass(frozen=True)
class _Rows:
    """The place of a replicate's rows, and their last columns: those of metrics and of weight transforms."""

    start: int
    stop: int
    columns: tuple[str, ...]


class SegmentsTable:
    """The rows of finished and running replicates.

    Args:
        spec: the study.
        run_dir: an existing folder, on whose file system the temporary file is made.
    """

    def __init__(self, spec: StudySpec, run_dir: Path) -> None:
        self._hparams = tuple(spec.space)
        self._path = run_dir / SEGMENTS
        with explained(self._path):
            self._file = tempfile.TemporaryFile(dir=run_dir)  # noqa: SIM115 - open as long as the table
        self._rows: dict[int, _Rows] = {}
        self._running: dict[int, dict[bytes, tuple[str, ...]]] = {}
        """The rows of running replicates by seed, with their last columns."""
        self._columns: tuple[str, ...] | None = None
        """The last columns of the last table that included running replicates; None if there is none."""

    def close(self) -> None:
        """Close the temporary file."""
        self._file.close()

    def add(self, seed: int, records: Sequence[ArmRecord]) -> None:
        """Add the rows of a finished replicate.

        Args:
            seed: the replicate's seed.
            records: of its arms, in the study's order.

        Raises:
            StoreError: the disk is full.
        """
        columns = _columns_of([result for record in records for result in record.search.results.values()])
        with explained(self._path):
            start = self._file.seek(0, io.SEEK_END)
            text = io.TextIOWrapper(self._file, encoding="utf-8", newline="")
            try:
                writer = rows_into(text)
                for record in records:
                    writer.writerows(_rows_of(record, self._hparams, columns))
                text.flush()
            finally:
                text.detach()
            self._rows[seed] = _Rows(start, self._file.seek(0, io.SEEK_END), columns)
        self._running.pop(seed, None)

    def note(self, seed: int, label: str, parent_member: int | None, result: Stored) -> bytes | None:
        """Add a segment of a running replicate.

        Args:
            seed: the replicate's seed.
            label: the arm's label.
            parent_member: the member whose checkpoint it started from.
            result: the segment's result.

        Returns:
            Its row, to append to the table that `write` wrote last; empty if the table has the row already; None if the table must
            be rewritten because it lacks a column or was not written yet.
        """
        own = _columns_of([result])
        # It is not yet known whether it is on the winning lineage.
        row = _text([_row(seed, label, parent_member, None, result, self._hparams, own)])
        known = self._running.setdefault(seed, {})
        if row in known:
            return b""
        columns = self._columns
        known[row] = columns if own == columns else own  # one tuple for all rows
        if columns is None or not set(own) <= set(columns):
            return None
        return self._arranged(row, own, columns)

    def write(self, file: IO[bytes], seeds: Iterable[int], *, running: bool = False) -> None:
        """Write the table of some replicates, in this order, with a column for each metric and transform that any of them has.

        Args:
            file: the file to write.
            seeds: of the replicates.
            running: whether to append the rows of running replicates.
        """
        seeds = list(seeds)
        parts = [self._rows[seed] for seed in seeds]
        others: list[tuple[bytes, tuple[str, ...]]] = []
        if running:
            parts += [part for seed, part in self._rows.items() if seed not in seeds]
            others = [row for of_seed in self._running.values() for row in of_seed.items()]
        columns = _ordered(
            name for names in (*(part.columns for part in parts), *(names for _, names in others)) for name in names
        )
        self._columns = columns if running else None
        file.write(_text([[*LEADING, *(f"hparam:{name}" for name in self._hparams), *columns]]))
        for part in parts:
            self._file.seek(part.start)
            if part.columns == columns:
                _copy(self._file, file, part.stop - part.start)
            else:
                file.write(self._arranged(self._file.read(part.stop - part.start), part.columns, columns))
        for row, names in others:
            file.write(self._arranged(row, names, columns))

    def _arranged(self, rows: bytes, own: Sequence[str], columns: Sequence[str]) -> bytes:
        """Return rows with their last cells moved to the columns of the whole table."""
        if own == columns:
            return rows
        leading = len(LEADING) + len(self._hparams)
        places = [leading + own.index(name) if name in own else None for name in columns]
        text = io.TextIOWrapper(io.BytesIO(rows), encoding="utf-8", newline="")
        return _text(row[:leading] + ["" if at is None else row[at] for at in places] for row in csv.reader(text))


def _columns_of(results: Sequence[Result | Stored]) -> tuple[str, ...]:
    """Return the last columns of results' rows."""
    metrics = dict.fromkeys(name for result in results for name in result.metrics)
    transforms = transform_columns(result.segment.transform for result in results)
    return (*(f"metric:{name}" for name in metrics), *transforms)


def _ordered(columns: Iterable[str]) -> tuple[str, ...]:
    """Return columns without repetitions, as they first occur, those of metrics first."""
    return tuple(sorted(dict.fromkeys(columns), key=lambda name: not name.startswith("metric:")))


def _rows_of(record: ArmRecord, hparams: Sequence[str], columns: Sequence[str]) -> Iterator[Iterator[object]]:
    results = record.search.results
    best = set(_lineage_keys(record.search))
    for key, result in results.items():
        parent = result.segment.parent
        parent_member = None if parent is None else results[parent].segment.member
        yield _row(record.seed, record.label, parent_member, key in best, result, hparams, columns)


def _row(
    seed: int,
    label: str,
    parent_member: int | None,
    best: bool | None,
    result: Result | Stored,
    hparams: Sequence[str],
    columns: Sequence[str],
) -> Iterator[object]:
    """Yield the cells of a row. The csv module writes nothing for None, and a float as `repr` does."""
    segment = result.segment
    yield from (seed, cell(label), segment.member, segment.interval, parent_member)
    yield from (None if best is None else int(best), int(result.diverged))
    yield from (cell(segment.hparams.get(name)) for name in hparams)
    last = {f"metric:{name}": value for name, value in result.metrics.items()} | transform_cells(segment.transform)
    yield from map(last.get, columns)


def _text(rows: Iterable[Iterable[object]]) -> bytes:
    out = io.StringIO()
    rows_into(out).writerows(rows)
    return out.getvalue().encode()


def _lineage_keys(search: SearchRecord) -> Iterable[Key]:
    at: Key | None = search.best
    while at is not None:
        yield at
        at = search.results[at].segment.parent


def _copy(source: IO[bytes], target: IO[bytes], length: int) -> None:
    while length:
        data = source.read(min(length, 1 << 20))
        target.write(data)
        length -= len(data)
