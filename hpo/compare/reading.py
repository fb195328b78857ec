"""From the command line's inputs to checked records: run directories, or one CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hpo.compare.data import Inputs, Request
from hpo.compare.runs import read_runs
from hpo.compare.table_file import read_table
from hpo.errors import InputError, did_you_mean
from hpo.report.reading import ReportError


def read_inputs(paths: Sequence[Path], request: Request) -> Inputs:
    """Read run directories (one task each) or one CSV file (any number of tasks).

    Raises:
        InputError: they cannot be compared; the message says which file, what was found and what is expected.
    """
    if request.alpha is not None and not 0 < request.alpha < 1:
        raise InputError(f"--alpha {request.alpha:g}: allowed: a number strictly between 0 and 1")
    try:
        # What is no directory is a table: a pipe, too.
        tables = [path for path in paths if path.exists() and not path.is_dir() and path.name != "results.json"]
        if tables and len(paths) > 1:
            raise InputError(
                f"{tables[0]}: a CSV file is compared on its own, got {len(paths)} inputs; give one CSV file, or run"
                " directories only"
            )
        inputs = read_table(tables[0], request) if tables else read_runs(paths, request)
    except (ReportError, OSError) as error:
        raise InputError(str(error)) from None
    if len(inputs.arms) < 2:
        raise InputError(f"{paths[0]}: a comparison needs 2 or more arms, got {inputs.arms[0]!r} only")
    if inputs.baseline is not None and inputs.baseline not in inputs.arms:
        hint = did_you_mean(inputs.baseline, inputs.arms)
        raise InputError(
            f"--baseline {inputs.baseline!r}: allowed: one of the arms {', '.join(inputs.arms)}"
            + (f" ({hint})" if hint else "")
        )
    return inputs
