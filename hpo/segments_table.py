"""segments.csv: every search segment of the finished replicates, one row each, in the order in which they were told.

The rows of a replicate are written once, when it is finished, into a file without a name; segments.csv is put together from
there. So a study holds the segments of the replicates that are going on, and of no others, in memory.
"""

import csv
import io
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from hpo.core.files import cell
from hpo.core.layout import SEGMENTS
from hpo.engine.results import ArmRecord
from hpo.rundir import explained
from hpo.search import SearchRecord
from hpo.segments import Key
from hpo.spec import StudySpec

_LEADING = ("seed", "arm", "member", "interval", "parent_member", "on_best_lineage", "diverged")


@dataclass(frozen=True)
class _Rows:
    """Where the rows of a replicate are, and the metrics that are their last columns."""

    start: int
    stop: int
    metrics: tuple[str, ...]


class SegmentsTable:
    """The rows of finished replicates.

    Args:
        spec: the study.
        run_dir: an existing folder with room for the rows.
    """

    def __init__(self, spec: StudySpec, run_dir: Path) -> None:
        self._hparams = tuple(spec.space)
        self._path = run_dir / SEGMENTS
        with explained(self._path):
            self._file = tempfile.TemporaryFile(dir=run_dir)  # noqa: SIM115 - as long as the table
        self._rows: dict[int, _Rows] = {}

    def close(self) -> None:
        """Let the rows go."""
        self._file.close()

    def add(self, seed: int, records: Sequence[ArmRecord]) -> None:
        """Take the rows of a finished replicate.

        Args:
            seed: the replicate's.
            records: of its arms, in the study's order.

        Raises:
            StoreError: the disk is full.
        """
        found = (name for record in records for result in record.search.results.values() for name in result.metrics)
        metrics = tuple(dict.fromkeys(found))
        with explained(self._path):
            start = self._file.seek(0, io.SEEK_END)
            text = io.TextIOWrapper(self._file, encoding="utf-8", newline="")
            try:
                writer = csv.writer(text, lineterminator="\n")
                for record in records:
                    writer.writerows(_rows_of(record, self._hparams, metrics))
                text.flush()
            finally:
                text.detach()
            self._rows[seed] = _Rows(start, self._file.seek(0, io.SEEK_END), metrics)

    def write(self, file: IO[bytes], seeds: Iterable[int]) -> None:
        """Write the table of some replicates, in this order; no column is there for a metric that none of them has."""
        parts = [self._rows[seed] for seed in seeds]
        metrics = tuple(dict.fromkeys(name for part in parts for name in part.metrics))
        columns = [f"hparam:{name}" for name in self._hparams] + [f"metric:{name}" for name in metrics]
        header = io.StringIO()
        csv.writer(header, lineterminator="\n").writerow([*_LEADING, *columns])
        file.write(header.getvalue().encode())
        for part in parts:
            self._file.seek(part.start)
            if part.metrics == metrics:
                _copy(self._file, file, part.stop - part.start)
            else:
                self._rearrange(part, metrics, file)

    def _rearrange(self, part: _Rows, metrics: Sequence[str], file: IO[bytes]) -> None:
        """Write rows whose metrics are others than those of the whole table, or in another order."""
        leading = len(_LEADING) + len(self._hparams)
        places = [leading + part.metrics.index(name) if name in part.metrics else None for name in metrics]
        text = io.TextIOWrapper(io.BytesIO(self._file.read(part.stop - part.start)), encoding="utf-8", newline="")
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        for row in csv.reader(text):
            writer.writerow(row[:leading] + ["" if place is None else row[place] for place in places])
        file.write(out.getvalue().encode())


def _rows_of(record: ArmRecord, hparams: Sequence[str], metrics: Sequence[str]) -> Iterator[tuple[object, ...]]:
    results = record.search.results
    best = set(_lineage_keys(record.search))
    for key, result in results.items():
        segment = result.segment
        # The csv module writes nothing for None, and a float as `repr` does.
        yield (
            record.seed,
            cell(record.label),
            segment.member,
            segment.interval,
            None if segment.parent is None else results[segment.parent].segment.member,
            int(key in best),
            int(result.diverged),
            *(cell(segment.hparams.get(name)) for name in hparams),
            *map(result.metrics.get, metrics),
        )


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
