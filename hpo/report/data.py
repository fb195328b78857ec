"""From a run directory to the records that a report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.run_files import EXECUTION, MODELS, SEGMENTS, check_names
from hpo.report.members import Member, members_of
from hpo.report.segments_csv import MemberSpread, SegmentRow, drawn_segments, read_segments
from hpo.results.document import Results, Session
from hpo.results.file import read_executions, read_results

MAX_TRIALS = 300
"""The most members of an arm that Optuna's figures show."""


@dataclass(frozen=True)
class RunData:
    """Everything a report is made from.

    Attributes:
        results: what results.json holds.
        segments: the rows of each seed, in the file's order.
        has_segments: whether there is a segments.csv.
        sessions: how it was run.
        spreads: by seed and arm, how all members are spread where `segments` has a part of their rows.
        members: by arm, its members in all finished replicates, whole; of many, `MAX_TRIALS` evenly spaced.
        models: the names of the files of retrained winners.
    """

    results: Results
    segments: Mapping[int, tuple[SegmentRow, ...]]
    has_segments: bool
    sessions: tuple[Session, ...]
    spreads: Mapping[int, Mapping[str, MemberSpread]] = field(default_factory=dict)
    members: Mapping[str, tuple[Member, ...]] = field(default_factory=dict)
    models: frozenset[str] = frozenset()


def load_run(run_dir: Path) -> RunData:
    """Read `results.json`, and `segments.csv` and `execution.json` if they exist.

    Raises:
        InputError: one of them cannot be read; the message names the file, and the key or line.
    """
    if not run_dir.is_dir():
        raise InputError(f"{run_dir}: no such directory")
    check_names(run_dir, write=False)
    results = read_results(run_dir)
    rows, timed = run_dir / SEGMENTS, run_dir / EXECUTION
    sessions = read_executions(run_dir).sessions if timed.is_file() else ()
    models = frozenset(path.name for path in (run_dir / MODELS).glob("*.safetensors"))
    if not rows.is_file():
        return RunData(results, {}, False, sessions, models=models)
    table = read_segments(rows, results)
    segments, spreads = drawn_segments(table, results)
    finished = table[table["seed"].isin(results.finished_seeds)]
    members = {label: members_of(finished[finished["arm"] == label], results, MAX_TRIALS) for label in results.labels}
    return RunData(results, segments, True, sessions, spreads, members, models)
