"""What is exported: the results of a run directory, and all of its segments."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from hpo.core.errors import InputError
from hpo.core.run_files import SEGMENTS, check_names
from hpo.report.segments_csv import read_segments
from hpo.results.document import Results
from hpo.results.file import read_results


@dataclass(frozen=True)
class Run:
    """A run directory's results.json and segments.csv. The study may be running, and may have been killed.

    Args:
        results: what results.json holds.
        table: all rows of segments.csv.
    """

    results: Results
    table: pd.DataFrame


def read_run(run_dir: Path) -> Run:
    """Read the files of a run directory, and nothing else.

    Raises:
        InputError: one of them is missing or malformed.
    """
    if not run_dir.is_dir():
        raise InputError(f"{run_dir}: no such directory")
    check_names(run_dir, write=False)
    results, path = read_results(run_dir), run_dir / SEGMENTS
    if not path.is_file():
        raise InputError(f"{run_dir}: no {SEGMENTS} here, so there is nothing to export yet")
    return Run(results, read_segments(path, results, exact=True))
