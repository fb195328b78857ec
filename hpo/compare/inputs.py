"""From the command line's inputs to checked records: run directories, or one CSV file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpo.compare.data import Inputs, Request
from hpo.compare.names import chosen, hint
from hpo.compare.runs import read_runs
from hpo.compare.table.csv_file import read_table
from hpo.core.errors import InputError


def read_inputs(paths: Sequence[Path], request: Request) -> Inputs:
    """Read run directories (one task each) or one CSV file (any number of tasks).

    Raises:
        InputError: they cannot be compared; the message says which file, what was found and what is expected.
    """
    if request.alpha is not None and not 0 < request.alpha < 1:
        raise InputError(f"--alpha {request.alpha:g}: allowed: a number strictly between 0 and 1")
    if request.rope is not None and not 0 < request.rope < math.inf:
        raise InputError(f"--rope {request.rope:g}: allowed: a positive number, in the unit of the metric")
    try:
        tables = [path for path in paths if path.exists() and not path.is_dir() and path.name != "results.json"]
        if tables and len(paths) > 1:
            raise InputError(
                f"{tables[0]}: a CSV file is compared on its own, got {len(paths)} inputs; pass one CSV file, or run"
                " directories only"
            )
        if request.columns is not None and not tables:
            raise InputError(f"--columns {request.columns}: allowed with a CSV file only; {paths[0]} is not one")
        inputs = read_table(tables[0], request) if tables else read_runs(paths, request)
    except OSError as error:
        raise InputError(str(error)) from None
    if len(inputs.arms) < 2:
        raise InputError(f"{paths[0]}: a comparison needs 2 or more arms, got {inputs.arms[0]!r} only")
    if inputs.baseline is None:
        return inputs
    baseline = chosen(inputs.baseline, inputs.arms)
    if baseline is None:
        raise InputError(
            f"--baseline {inputs.baseline!r}: allowed: one of the arms {', '.join(inputs.arms)}"
            + hint(inputs.baseline, inputs.arms)
        )
    return replace(inputs, baseline=baseline)
