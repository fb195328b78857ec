"""The frozen records that a report is made from: those of `results.json`, and the rows of `segments.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo.results.document import Measurement, Results, Sitting

Value = float | str | None
"""A hyperparameter in a row: a number for floats and ints, the text of a choice for categoricals, None where absent."""


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
class Spread:
    """How all members of an arm in a replicate are spread, where only some of their rows are there."""

    members: int  # all of them
    shown: int  # whose rows are there
    every: int  # rows are there, and quantiles, of every so many intervals
    quantiles: Mapping[int, tuple[float, ...]]  # by interval: of the primary metric, at 5, 25, 50, 75 and 95%


@dataclass(frozen=True)
class Run:
    """Everything a report is made from.

    `segments` holds the rows of each seed, in the file's order; `spreads`, by seed and arm, the whole where they are a part.
    """

    results: Results
    segments: Mapping[int, tuple[SegmentRow, ...]]
    has_segments: bool
    sittings: tuple[Sitting, ...]
    spreads: Mapping[int, Mapping[str, Spread]] = field(default_factory=dict)
