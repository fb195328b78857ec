"""Reads segments.csv row by row while it grows and is replaced, and gives each row once."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from math import isfinite

from hpo.core.csv_files import text_of
from hpo.core.errors import InputError, OptionError
from hpo.core.parameters import Categorical, Float, Int
from hpo.core.segments import ShrinkPerturb
from hpo.core.space import SearchSpace
from hpo.core.task import Metric

Settled = tuple[int, bool | None]
"""The id of a row, and whether it is on the best lineage."""

LEADING = ("seed", "arm", "member", "interval", "parent_member", "on_best_lineage", "diverged")
"""The first columns of segments.csv."""
_TRANSFORM = "transform:"


def transform_cells(transform: ShrinkPerturb | None) -> dict[str, float]:
    """Return the cells of a weight transform by column, such as `transform:shrink`; none without one.

    Booleans are 1 if they are true, and left out otherwise.
    """
    if transform is None:
        return {}
    values = {f"{_TRANSFORM}{field.name}": getattr(transform, field.name) for field in fields(transform)}
    return {name: 1 if value is True else value for name, value in values.items() if value is not False}


def transform_columns(transforms: Iterable[ShrinkPerturb | None]) -> tuple[str, ...]:
    """Return the columns of a table with these transforms."""
    return tuple(dict.fromkeys(name for transform in transforms for name in transform_cells(transform)))


def transform_of(cells: Mapping[str, float | None]) -> ShrinkPerturb | None:
    """Return the transform with these cells by column; those of other columns are ignored, and so are empty ones.

    Raises:
        OptionError: a factor is not allowed.
    """
    shrink, perturb, reset = (cells.get(f"{_TRANSFORM}{field.name}") for field in fields(ShrinkPerturb))
    return None if shrink is None or perturb is None else ShrinkPerturb(shrink, perturb, bool(reset))


@dataclass(frozen=True, slots=True)
class FollowedSegment:
    """A row of segments.csv.

    Args:
        id: its number among all rows, in the order in which they were first seen, from 0.
        seed: of the replicate.
        arm: the label.
        member: the member.
        interval: from 0.
        parent_member: the member whose checkpoint it started from; None for an initialization.
        best: whether it is on the lineage of the arm's answer; None until the replicate is finished.
        diverged: whether it diverged.
        hparams: the active hyperparameters: numbers, and the texts of other values.
        metrics: the validation metrics.
        transform: what happened to the weights before it trained.
    """

    id: int
    seed: int
    arm: str
    member: int
    interval: int
    parent_member: int | None
    best: bool | None
    diverged: bool
    hparams: Mapping[str, float | str]
    metrics: Mapping[str, float]
    transform: ShrinkPerturb | None = None


class SegmentsReader:
    """Knows the rows that were given, by their content.

    A row keeps its cells from when it is first written, except for `on_best_lineage`, but it may move. Different segments may have
    the same cells: then the k-th such row in a version of the file is the k-th one in every other version.
    """

    def __init__(self) -> None:
        self._ids: dict[tuple[int, int], int] = {}
        """The ids of all rows, by the hash of their cells and k."""
        self._best: list[bool | None] = []
        """What was last given of each row."""
        self.begin()

    def begin(self) -> None:
        """Start to read a version of the file."""
        self._seen: Counter[int] = Counter()
        self._header: _Header | None = None

    def read(self, data: bytes, space: SearchSpace) -> tuple[list[FollowedSegment], list[Settled]]:
        """Return the rows that were not given before, and those given ones whose `on_best_lineage` changed.

        Args:
            data: whole lines: the next ones of the version.
            space: of the study.

        Raises:
            InputError: the version does not begin with the columns of segments.csv.
        """
        lines = csv.reader(io.StringIO(data.decode("utf-8", "replace"), newline=""))
        rows: list[FollowedSegment] = []
        settled: list[Settled] = []
        with suppress(csv.Error):  # as for a line that cannot be read
            for cells in lines:
                if self._header is None:
                    self._header = _Header.of(cells, space)
                    continue
                segment = self._header.segment(len(self._best), cells)
                if segment is None:
                    continue
                place = self._place(self._header.hash(cells))
                known = self._ids.setdefault(place, segment.id)
                if known == segment.id:
                    self._best.append(segment.best)
                    rows.append(segment)
                elif self._best[known] is not segment.best:
                    self._best[known] = segment.best
                    settled.append((known, segment.best))
        return rows, settled

    def _place(self, cells: int) -> tuple[int, int]:
        self._seen[cells] += 1
        return cells, self._seen[cells]


@dataclass(frozen=True)
class _Header:
    """The columns of a version of the file.

    Args:
        names: of all columns, sorted, without `on_best_lineage`.
        at: their places.
        numbers: (place, name) of hyperparameters that are numbers; so are `whole`, `texts` and `metrics`.
        transforms: (place, column) of what happened to the weights.
    """

    names: Sequence[str]
    at: Sequence[int]
    width: int
    numbers: Sequence[tuple[int, str]]
    whole: Sequence[tuple[int, str]]
    texts: Sequence[tuple[int, str]]
    metrics: Sequence[tuple[int, str]]
    transforms: Sequence[tuple[int, str]]

    @staticmethod
    def of(cells: Sequence[str], space: SearchSpace) -> "_Header":
        if tuple(cells[: len(LEADING)]) != LEADING:
            raise InputError(f"allowed: a first line that begins with {','.join(LEADING)}")
        columns = sorted((name, at) for at, name in enumerate(cells) if name != "on_best_lineage")
        kinds = (Float, Int, Categorical, Metric, ShrinkPerturb)
        found: dict[type, list[tuple[int, str]]] = {kind: [] for kind in kinds}
        for at, name in enumerate(cells[len(LEADING) :], len(LEADING)):
            kind, _, short = name.partition(":")
            if kind == "metric":
                found[Metric].append((at, short))
            elif kind == "hparam" and short in space:
                found[type(space[short])].append((at, short))
            elif kind == "transform":
                found[ShrinkPerturb].append((at, name))
        names, places = zip(*columns, strict=True)
        return _Header(names, places, len(cells), *(found[kind] for kind in kinds))

    def hash(self, cells: Sequence[str]) -> int:
        """Return a number for what a row holds, whatever the order of the columns, and without what may change."""
        return hash(tuple((name, cells[at]) for name, at in zip(self.names, self.at, strict=True) if cells[at]))

    def segment(self, number: int, cells: Sequence[str]) -> FollowedSegment | None:
        """Return a row as a record; None for a line that no study writes."""
        if len(cells) != self.width:
            return None
        seed, arm, member, interval, parent, best, diverged = cells[: len(LEADING)]
        try:
            hparams: dict[str, float | str] = {name: float(cells[at]) for at, name in self.numbers if cells[at]}
            hparams |= {name: int(cells[at]) for at, name in self.whole if cells[at]}
            hparams |= {name: text_of(cells[at]) for at, name in self.texts if cells[at]}
            return FollowedSegment(
                number,
                _whole(seed),
                text_of(arm),
                _whole(member),
                _whole(interval),
                _whole(parent) if parent else None,
                best == "1" if best else None,
                diverged == "1",
                hparams,
                {name: value for at, name in self.metrics if cells[at] and isfinite(value := float(cells[at]))},
                transform_of({name: float(cells[at]) for at, name in self.transforms if cells[at]}),
            )
        except (ValueError, OptionError):
            return None


def _whole(text: str) -> int:
    """Return a whole number of 64 bits.

    Raises:
        ValueError: it is not one.
    """
    found = int(text)
    if abs(found) >= 2**63:
        raise ValueError(f"{text}: not a number of 64 bits")
    return found
