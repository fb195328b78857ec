"""From the command line's inputs to checked records: run directories, CSV files, and searches of other tools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hpo.compare.data import Inputs, Request
from hpo.compare.names import chosen, hint
from hpo.compare.phrases import say
from hpo.compare.runs import read_runs
from hpo.compare.table.csv_file import read_tables
from hpo.core.errors import InputError
from hpo.core.run_files import RESULTS


def read_inputs(inputs: Sequence[Path | str], request: Request) -> Inputs:
    """Read run directories (one task each) and CSV files (any number of tasks).

    Raises:
        InputError: they cannot be compared; the message says which file, what was found and what is expected.
    """
    if request.alpha is not None and not 0 < request.alpha < 1:
        raise InputError(f"--alpha {request.alpha:g}: allowed: a number strictly between 0 and 1")
    if request.rope is not None and not 0 < request.rope < math.inf:
        raise InputError(f"--rope {request.rope:g}: allowed: a positive number, in the unit of the metric")
    try:
        found = _read([Path(each) for each in inputs], request)
    except OSError as error:
        raise InputError(str(error)) from None
    if len(found.arms) < 2:
        raise InputError(f"{inputs[0]}: a comparison needs 2 or more arms, got {found.arms[0]!r} only")
    if found.baseline is None:
        return found
    baseline = chosen(found.baseline, found.arms)
    if baseline is None:
        raise InputError(
            f"--baseline {found.baseline!r}: allowed: one of the arms {', '.join(found.arms)}"
            + hint(found.baseline, found.arms)
        )
    return replace(found, baseline=baseline)


def _read(paths: Sequence[Path], request: Request) -> Inputs:
    tables = [path for path in paths if path.exists() and not path.is_dir() and path.name != RESULTS]
    runs = [path for path in paths if path not in tables]
    if not tables:
        options = {"--columns": request.columns, "--column": request.roles, "--names": request.names}
        for option, value in options.items():
            if value:
                given = next(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else value
                raise InputError(f"{option} {given}: allowed with a CSV file only; {paths[0]} is not one")
        return read_runs(runs, request)
    _check_given_once(tables)
    of_tables = read_tables(tables, request)
    if not runs:
        return of_tables
    return _joined([read_runs(runs, replace(request, direction=None)), of_tables], request)


def _check_given_once(paths: Sequence[Path]) -> None:
    seen: dict[Path, Path] = {}
    for path in paths:
        real = path.resolve()
        if real in seen:
            raise InputError(f"{path}: is given twice (as {seen[real]}); a value counts once")
        seen[real] = path


def _joined(parts: Sequence[Inputs], request: Request) -> Inputs:
    """Return inputs of several kinds as one: the same arms, on other tasks.

    Raises:
        InputError: their arms differ, or a task is in two of them.
    """
    first = parts[0]
    tasks = [task for part in parts for task in part.tasks]
    for part in parts[1:]:
        lacks, has = (sorted(set(a) - set(b)) for a, b in ((first.arms, part.arms), (part.arms, first.arms)))
        if lacks or has:
            words = [f"lacks {', '.join(map(repr, lacks))}"] if lacks else []
            words += [f"also has {', '.join(map(repr, has))}"] if has else []
            raise InputError(
                f"{part.tasks[0].source}: arms: {' and '.join(words)}, compared with {first.tasks[0].source}; allowed: the same"
                " arms in all"
            )
    names: dict[str, str] = {}
    for task in tasks:
        if task.name in names:
            raise InputError(
                f"{task.source}: task {task.name!r} is also in {names[task.name]}; values of two kinds are compared on different"
                " tasks only: rename one"
            )
        names[task.name] = task.source
    return replace(
        first,
        tasks=tuple(tasks),
        rope=request.rope,
        rope_given=request.rope is not None,
        planned=False,
        exploratory=next((part.exploratory for part in parts if part.exploratory is not None), None),
        layout="; ".join(part.layout for part in parts if part.layout is not None),
        cautions=(*(caution for part in parts for caution in part.cautions), say("mixed")),
    )
