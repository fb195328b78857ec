"""What is exported: a run directory's results, and all of its segments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from hpo.core.errors import InputError
from hpo.core.run_files import SEGMENTS, check_readable
from hpo.report.segments_csv import read_segments
from hpo.results.document import Results
from hpo.results.file import read_results


@dataclass(frozen=True)
class Run:
    """A run directory whose study may be running, and may have been killed.

    Args:
        folder: the directory.
        results: what its results.json holds.
    """

    folder: Path
    results: Results

    @cached_property
    def table(self) -> pd.DataFrame:
        """All rows of segments.csv.

        Raises:
            InputError: the file is missing or malformed.
        """
        path = self.folder / SEGMENTS
        if not path.is_file():
            raise InputError(f"{self.folder}: no {SEGMENTS} here, so there is nothing to export yet")
        return read_segments(path, self.results, exact=True)


def read_run(folder: Path) -> Run:
    """Read the results of a run directory.

    Raises:
        InputError: they are missing or malformed.
    """
    check_readable(folder)
    return Run(folder, read_results(folder))
