"""From the command line's inputs to checked records: run directories, CSV files, and searches of other tools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Literal

from hpo.compare.data import Inputs, Request
from hpo.compare.names import chosen, hint
from hpo.compare.naming import Wanted, parse_pattern
from hpo.compare.phrases import say
from hpo.compare.runs import read_runs
from hpo.compare.searches.optuna_storage import read_storage
from hpo.compare.searches.ray_folder import experiments, read_experiment
from hpo.compare.searches.read import place
from hpo.compare.searches.search import Search
from hpo.compare.table.csv_file import read_tables
from hpo.core.databases import MAGIC
from hpo.core.errors import InputError
from hpo.core.run_files import RESULTS

Kind = Literal["runs", "tables", "searches"]


def read_inputs(inputs: Sequence[Path | str], request: Request) -> Inputs:
    """Read run directories (one task each), CSV files and searches of other tools (any number of tasks).

    Args:
        inputs: paths, or URLs of Optuna storages.
        request: the command line.

    Raises:
        InputError: they cannot be compared; the message says which file, what was found and what is expected.
    """
    if request.alpha is not None and not 0 < request.alpha < 1:
        raise InputError(f"--alpha {request.alpha:g}: allowed: a number strictly between 0 and 1")
    if request.rope is not None and not 0 < request.rope < math.inf:
        raise InputError(f"--rope {request.rope:g}: allowed: a positive number, in the unit of the metric")
    try:
        found = replace(_read(inputs, request), rope_given=request.rope is not None)
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


def _read(given: Sequence[Path | str], request: Request) -> Inputs:
    by_kind: dict[Kind, list[Path | str]] = {"runs": [], "tables": [], "searches": []}
    for each in given:
        by_kind[_kind(each)].append(each)
    runs, tables, searches = by_kind.values()
    _check_options(given[0], request, tables=bool(tables), searches=bool(searches))
    _check_given_once([*tables, *searches])
    parts = []
    if runs:
        own = replace(request, direction=None) if tables or searches else request  # studies state their own
        parts.append(read_runs([*map(Path, runs)], own))
    if tables:
        parts.append(read_tables([*map(Path, tables)], request))
    if searches:
        parts.append(_read_searches(searches, request))
    return parts[0] if len(parts) == 1 else _joined(parts, request)


def _kind(given: Path | str) -> Kind:
    if "://" in str(given):
        return "searches"
    path = Path(given)
    if path.is_dir():
        return "runs" if (path / RESULTS).exists() or not experiments(path) else "searches"
    if not path.exists() or path.name == RESULTS:
        return "runs"
    # An odd file, such as a pipe, is refused by the reader of tables.
    with path.open("rb") if path.is_file() else nullcontext(BytesIO()) as file:
        return "searches" if file.read(len(MAGIC)) == MAGIC else "tables"


def _read_searches(given: Sequence[Path | str], request: Request) -> Inputs:
    wanted = Wanted(None if request.names is None else parse_pattern(request.names))
    searches: list[Search] = []
    for each in given:
        if "://" not in str(each) and Path(each).is_dir():
            folders = [folder for folder in experiments(Path(each)) if wanted(folder.resolve().parts)]
            searches += [read_experiment(folder, request) for folder in folders]
        else:
            searches += read_storage(str(each), request, wanted)
    return place(searches, wanted, request)


def _check_options(first: Path | str, request: Request, *, tables: bool, searches: bool) -> None:
    """Raise `InputError` for an option that would do nothing."""
    role = next((f"{role}={name}" for role, name in request.roles.items()), None)
    for option, value, allowed, what in (
        ("--columns", request.columns, tables, "with a CSV file only"),
        ("--column", role, tables or searches, "with a CSV file, Optuna or Ray Tune only"),
        ("--names", request.names, tables or searches, "with a CSV file, Optuna or Ray Tune only"),
        ("--trials", request.trials, searches, "with Optuna or Ray Tune only"),
        ("--value", request.value, searches, "with Ray Tune only"),
    ):
        if value is not None and not allowed:
            raise InputError(f"{option} {value}: allowed {what}; {first} is not one")
    if request.trials is not None and request.trials < 1:
        raise InputError(f"--trials {request.trials}: allowed: a whole number above 0")


def _check_given_once(given: Sequence[Path | str]) -> None:
    seen: dict[str, Path | str] = {}
    for each in given:
        real = str(each) if "://" in str(each) else str(Path(each).resolve())
        if real in seen:
            raise InputError(f"{each}: is given twice (as {seen[real]}); a value counts once")
        seen[real] = each


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
        planned=False,
        origin="several",
        exploratory=next((part.exploratory for part in parts if part.exploratory is not None), None),
        layout="; ".join(part.layout for part in parts if part.layout is not None),
        cautions=(*(caution for part in parts for caution in part.cautions), say("mixed")),
    )
