"""From a run directory to the records that a report is made from."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from hpo.core.run_files import EXECUTION, MODELS, SEGMENTS, check_readable
from hpo.report.members import Member, members_of
from hpo.report.segments_csv import MAX_SEEDS, ArmPart, MemberSpread, SegmentRow, parts_of, read_segments, records_of
from hpo.results.document import Results, Session
from hpo.results.file import read_executions, read_results

MAX_TRIALS = 300
"""The most members of an arm that Optuna's figures show."""


@dataclass(frozen=True)
class RunData:
    """Everything a report is made from.

    Attributes:
        results: what results.json holds.
        table: what segments.csv holds; None without one.
        sessions: how it was run.
        models: the names of the files of retrained winners.
    """

    results: Results
    table: pd.DataFrame | None
    sessions: tuple[Session, ...]
    models: frozenset[str] = frozenset()

    @cached_property
    def parts(self) -> dict[tuple[int, str], ArmPart]:
        """By seed and arm, the rows to draw of each finished replicate."""
        return {} if self.table is None else parts_of(self.table, self.results)

    @cached_property
    def segments(self) -> dict[int, tuple[SegmentRow, ...]]:
        """The rows of each seed that has static figures, in the file's order."""
        seeds = sorted({seed for seed, _ in self.parts})[:MAX_SEEDS]
        return {seed: records_of(part for (of, _), part in self.parts.items() if of == seed) for seed in seeds}

    @cached_property
    def spreads(self) -> dict[int, dict[str, MemberSpread]]:
        """By seed and arm, how all members are spread where only a part of their rows is there."""
        found: dict[int, dict[str, MemberSpread]] = {}
        for (seed, arm), part in self.parts.items():
            if part.spread is not None and part.spread.quantiles:
                found.setdefault(seed, {})[arm] = part.spread
        return found

    @cached_property
    def members(self) -> dict[str, tuple[Member, ...]]:
        """By arm, its members in all finished replicates, whole; of many, `MAX_TRIALS` evenly spaced.

        Raises:
            InputError: a hyperparameter has a value outside the search space; the message names the row.
        """
        if self.table is None:
            return {}
        finished = self.table[self.table["seed"].isin(self.results.finished_seeds)]
        arms = {label: finished[finished["arm"] == label] for label in self.results.labels}
        return {label: members_of(rows, self.results, MAX_TRIALS) for label, rows in arms.items()}


def load_run(run_dir: Path) -> RunData:
    """Read `results.json`, and `segments.csv` and `execution.json` if they exist.

    Raises:
        InputError: one of them cannot be read; the message names the file, and the key or line.
    """
    check_readable(run_dir)
    results = read_results(run_dir)
    rows, timed = run_dir / SEGMENTS, run_dir / EXECUTION
    sessions = read_executions(run_dir).sessions if timed.is_file() else ()
    models = frozenset(path.name for path in (run_dir / MODELS).glob("*.safetensors"))
    run = RunData(results, read_segments(rows, results) if rows.is_file() else None, sessions, models)
    run.members  # noqa: B018 - checks the hyperparameters
    return run
