"""From a run directory to the records that a report is made from."""

from __future__ import annotations

from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.layout import EXECUTION, SEGMENTS, check_names
from hpo.report.records import Run
from hpo.report.segment_rows import load_segments
from hpo.results.file import read_executions, read_results


def load_run(run_dir: Path) -> Run:
    """Read `results.json`, and `segments.csv` and `execution.json` where they exist.

    Raises:
        InputError: one of them cannot be read; the message names the file, and the key or line.
    """
    if not run_dir.is_dir():
        raise InputError(f"{run_dir}: no such directory")
    check_names(run_dir, write=False)
    results = read_results(run_dir)
    rows, timed = run_dir / SEGMENTS, run_dir / EXECUTION
    segments, spreads = load_segments(rows, results) if rows.is_file() else ({}, {})
    sittings = read_executions(run_dir).sittings if timed.is_file() else ()
    return Run(results, segments, rows.is_file(), sittings, spreads)
