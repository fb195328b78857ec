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
from hpo.core.task import Direction, Task
from hpo.engine.session import Observer, StudyResult, run_study
from hpo.study.arms_table import arm_table
from hpo.study.file import parse_study
from hpo.study.task_table import search_space
from hpo.tasks.function import FunctionTask
from hpo.tasks.loop import LoopTask


def tune(
    target: Callable[..., Any],
    space: Mapping[str, Parameter],
    *,
    metric: str | None = None,
    direction: Direction = "minimize",
    trials: int | None = None,
    population_size: int | None = None,
    budget: float | None = None,
    interval: float | None = None,
    optimizer: str | Mapping[str, Any] | OptimizerOptions = "tpe",
    seed: int = 0,
    workers: int = 1,
    threads: int = 1,
    concurrency: int | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    report: bool = True,
    time_limit: float | None = None,
    observer: Observer | None = None,
    **task: Any,
) -> StudyResult:
    """Search for the hyperparameters with which a function, or a training class, reaches the best value.

    The same call again returns the same result at once. With more `trials` it goes on from those that are finished.

    Args:
        target: a function, which receives the hyperparameters as a dict and returns the metric, or a mapping that contains it; see
            `FunctionTask`. Or a class with the methods `train` and `evaluate`, which trains one interval at a time; see `LoopTask`.
        space: the hyperparameters by name.
        metric: the metric to optimize; by default `value` of a function and `loss` of a class.
        direction: whether a low or a high value is good.
        trials: how often a function is called; 100 by default.
        population_size: the number of members of a class; 20 by default.
        budget: how long each member of a class is trained, in epochs, or in steps if it has no data.
        interval: the training between two evaluations, in the same unit; 1 by default.
        optimizer: a registered optimizer or sampler by name; or a table as in a study file, `{"optimizer": "tpe", "initial": 10}`;
            or its options as an object.
        seed: of the search. Another seed is another search, so it needs another `out`.
        workers: the number of processes; with 1, everything runs in this one. The result is the same.
        threads: of linear-algebra libraries and torch in each member; the result depends on it.
        concurrency: how many members are trained before one of them must be finished; by default the optimizer's own choice. More
            workers than that are idle.
        out: the run directory; `runs/<name of the function or class>` by default.
        store: a folder that several studies share; see `hpo.run_study`.
        report: write report.html and its figures at the end.
        time_limit: seconds after which no further trial starts; the result then has `out_of_time` and the best so far, and the same
            call goes on. With several workers, trials that are running are dropped.
        observer: receives events.
        task: further options of the task `function`, such as `on_error` and `folds`, or of the task `loop`, such as `data`; or
            `feasible`, a rule across hyperparameters.

    Raises:
        InputError: something is wrong that the user can fix; nothing was started.
        StudyFailed: the function or class raised, or returned something else than its metrics; finished work was kept.
    """
    if not callable(target):
        raise OptionError(
            "target", target, "a function of the hyperparameters, or a class with the methods train and evaluate"
        )
    is_loop = isinstance(target, type)
    name = "loop" if is_loop else "function"
    rule = getattr(space, "feasible", None)
    table = {"metric": metric, "direction": direction, "feasible": rule, **task}
    given = {key: value for key, value in table.items() if value is not None}
    problems = Mistakes()
    described = _task(LoopTask if is_loop else FunctionTask, {name: target, **given}, problems)
    entries = _entries(space, problems)
    lengths = _lengths(is_loop, trials, population_size, budget, interval, problems)
    if problems or described is None:
        raise SpecError("hpo.tune", problems)
    arm = arm_table(optimizer)
    document = {
        "study": {"name": _name(target), **lengths, "seeds": [seed]},
        "task": {"name": name, **_spelled({name: target, **given}), "search_space": entries},
        "arms": [
            {"label": str(arm.get("optimizer")), **arm, **({} if concurrency is None else {"concurrency": concurrency})}
        ],
    }
    spec = parse_study(document, file="hpo.tune", task=described)
    executor = "serial" if workers == 1 else "process"
    return run_study(
        spec,
        executor=executor,  # type: ignore[arg-type]
        workers=None if workers == 1 else workers,
        threads=threads,
        time_limit=time_limit,
        out=out,
        store=store,
        report=report,
        observer=observer,
    )


_ARGUMENTS = (
    "trials",
    "population_size",
    "budget",
    "interval",
    "optimizer",
    "seed",
    "workers",
    "concurrency",
    "out",
    "store",
)


def _task(cls: type[LoopTask | FunctionTask], table: Mapping[str, Any], problems: Mistakes) -> Task[Any] | None:
    """Return a task with its options, some of which are objects where a study file has their names."""
    objects = {key: value for key, value in table.items() if key in cls.references and not isinstance(value, str)}
    built = options.build(cls, {**table, **dict.fromkeys(objects, "given:directly")}, "task", problems, also=_ARGUMENTS)
    return None if built is None else replace(built, **objects)


def _name(target: Callable[..., Any]) -> str:
    name = getattr(target, "__name__", type(target).__name__)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "function"


def _spelled(table: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a task as they are recorded: objects by their names."""
    return {key: value if isinstance(value, str | bool | int | float) else _name(value) for key, value in table.items()}


def _lengths(
    is_loop: bool,
    trials: int | None,
    population_size: int | None,
    budget: float | None,
    interval: float | None,
    problems: Mistakes,
) -> dict[str, Any]:
    """Return how many members there are, and how long they train, as in `[study]`."""
    of_loop = {"population_size": population_size, "budget": budget, "interval": interval}
    if is_loop:
        if trials is not None:
            problems.add("trials", "allowed for a function; a class has population_size, budget and interval", trials)
        if budget is None:
            problems.add("budget", "missing; required: how long each member is trained, in epochs or steps")
        defaults = {"population_size": 20, "budget": 1, "interval": 1}
        return {key: defaults[key] if value is None else value for key, value in of_loop.items()}
    for key, value in of_loop.items():
        if value is not None:
            problems.add(key, "allowed for a class with the methods train and evaluate; a function has trials", value)
    return {"trials": 100 if trials is None else trials}


def _entries(space: Mapping[str, Parameter], problems: Mistakes) -> dict[str, Any]:
    """Return a space as the table of a study file."""
    found = search_space(space, problems)
    entries = {} if found is None else found.to_json()
    return {name: {key: value for key, value in entry.items() if value is not None} for name, entry in entries.items()}
