"""`hpo.tune`: a search in one call. It is a study with one arm and one seed, with the same store, resume and report."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpo.core import options
from hpo.core.errors import OptionError, SpecError
from hpo.core.optimizer import OptimizerOptions
from hpo.core.options import Mistakes
from hpo.core.parameters import Parameter
from hpo.core.task import Direction
from hpo.engine.session import Observer, StudyResult, run_study
from hpo.study.arms_table import arm_table
from hpo.study.file import parse_study
from hpo.study.task_table import search_space
from hpo.tasks.function import FunctionTask


def tune(
    function: Callable[..., Any],
    space: Mapping[str, Parameter],
    *,
    metric: str = "value",
    direction: Direction = "minimize",
    trials: int = 100,
    optimizer: str | Mapping[str, Any] | OptimizerOptions = "tpe",
    seed: int = 0,
    workers: int = 1,
    threads: int = 1,
    concurrency: int | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    on_error: str = "fail",
    version: str | None = None,
    report: bool = True,
    observer: Observer | None = None,
) -> StudyResult:
    """Search for the hyperparameters with which a function returns the best value.

    The same call again returns the same result at once; with more `trials` it goes on from those that are finished.

    Args:
        function: receives the hyperparameters as a dict, and returns the metric, or a mapping that contains it. A parameter named
            `seed` receives a number from the trial's own stream.
        space: the hyperparameters by name.
        metric: the metric to optimize.
        direction: whether a low or a high value is good.
        trials: how often the function is called.
        optimizer: a registered optimizer or sampler by name; or a table as in a study file, `{"optimizer": "tpe", "initial": 10}`;
            or its options as an object.
        seed: of the search. Another seed is another search, so it needs another `out`.
        workers: the number of processes; with 1, the function is called in this one. The result is the same.
        threads: of linear-algebra libraries and torch in each trial; the result depends on it.
        concurrency: how many trials are proposed before one of them must be finished; by default the optimizer's own choice. More
            workers than that are idle.
        out: the run directory; `runs/<name of the function>` by default.
        store: a folder that several studies share; see `hpo.run_study`.
        on_error: what an exception in the function means: `fail` ends the search, and finished trials are kept; `diverge`: the
            trial has no value.
        version: stands for the source of the function and of all that it reaches; raise it whenever results change.
        report: write report.html and its figures at the end.
        observer: receives events.

    Raises:
        InputError: something is wrong that the user can fix; nothing was started.
        StudyFailed: the function raised, or returned something else than its metrics; finished trials were kept.
    """
    if not callable(function):
        raise OptionError("function", function, "a function of the hyperparameters")
    name = (
        re.sub(r"[^A-Za-z0-9_.-]+", "-", getattr(function, "__name__", type(function).__name__)).strip("-.")
        or "function"
    )
    table = {"metric": metric, "direction": direction, "on_error": on_error, "version": version}
    given = {key: value for key, value in table.items() if value is not None}
    problems = Mistakes()
    described = options.build(FunctionTask, {"function": "called:directly", **given}, "task", problems)
    entries = _entries(space, problems)
    if problems or described is None:
        raise SpecError("hpo.tune", problems)
    arm = arm_table(optimizer)
    document = {
        "study": {"name": name, "trials": trials, "seeds": [seed]},
        "task": {"name": "function", "function": name, **given, "search_space": entries},
        "arms": [
            {"label": str(arm.get("optimizer")), **arm, **({} if concurrency is None else {"concurrency": concurrency})}
        ],
    }
    spec = parse_study(document, file="hpo.tune", task=replace(described, function=function))
    executor = "serial" if workers == 1 else "process"
    return run_study(
        spec,
        executor=executor,  # type: ignore[arg-type]
        workers=None if workers == 1 else workers,
        threads=threads,
        out=out,
        store=store,
        report=report,
        observer=observer,
    )


def _entries(space: Mapping[str, Parameter], problems: Mistakes) -> dict[str, Any]:
    """Return a space as the table of a study file."""
    found = search_space(space, problems)
    entries = {} if found is None else found.to_json()
    return {name: {key: value for key, value in entry.items() if value is not None} for name, entry in entries.items()}
