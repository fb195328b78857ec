"""`hpo.tune`: a search in one call. It is a study with one arm and one seed, with the same store, resume and report."""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpo.core import registry
from hpo.core.errors import SpecError
from hpo.core.observer import Observer
from hpo.core.optimizer import OptimizerOptions
from hpo.core.options import Mistakes
from hpo.core.parameters import Parameter
from hpo.core.task import Direction, Task
from hpo.engine.session import run_study
from hpo.engine.study_result import StudyResult
from hpo.study.arms_table import arm_table
from hpo.study.file import parse_study
from hpo.study.task_table import built, search_space


def tune(
    target: Callable[..., Any] | Task[Any],
    space: Mapping[str, Parameter] | None = None,
    *,
    metric: str | None = None,
    direction: Direction | None = None,
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
    on_finish: str | None = None,
    observer: Observer | None = None,
    track: str | Sequence[str] = (),
    progress: bool = True,
    **task: Any,
) -> StudyResult:
    """Search for the hyperparameters with which a function, a training class or a task reaches the best value.

    The same call again returns the same result at once. With more `trials` it goes on from those that are finished.

    Args:
        target: a function, which receives the hyperparameters as a dict and returns the metric, or a mapping that contains it; see
            `FunctionTask`. A class with the methods `train` and `evaluate`, which trains one interval at a time; see `LoopTask`.
            Or a registered task, or its class.
        space: the hyperparameters by name; of a task, only those that replace its own.
        metric: the metric to optimize; by default `value` of a function and `loss` of a class. A task has its own.
        direction: whether a low or a high value is good; low by default. A task has its own.
        trials: how often a function is called; 100 by default.
        population_size: the number of members, if they are trained in intervals; 20 by default.
        budget: how long each of these members is trained, in epochs, or in steps if there are no data.
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
        on_finish: a command of the shell, run when the search is done, has failed, was interrupted or is out of time; see
            docs/how_to/messages.md.
        observer: receives events; see docs/reference/events.md.
        track: trackers that the search is written to, each as `name:destination`, such as `tensorboard:runs/tensorboard`; see
            docs/how_to/trackers.md.
        progress: show the progress of a search that takes more than a second, in a notebook or on a terminal (standard error).
        task: further options: of the task `function`, such as `on_error` and `folds`; of the task `loop`, such as `data`; of both,
            `feasible`, a rule across hyperparameters; or those of a task's class.

    Raises:
        InputError: something is wrong that the user can fix; nothing was started.
        StudyFailed: the function or class raised, or returned something else than its metrics; finished work was kept.
    """
    problems = Mistakes()
    rule = getattr(space, "feasible", None)
    given = {"metric": metric, "direction": direction, "feasible": rule, **task}
    found = _target(target, {key: value for key, value in given.items() if value is not None}, problems)
    entries = _entries(space, found, problems)
    lengths = _lengths(found, trials, population_size, budget, interval, problems)
    if problems or found is None:
        raise SpecError("hpo.tune", problems)
    arm = arm_table(optimizer)
    document = {
        "study": {"name": _name(target), **lengths, "seeds": [seed]},
        "task": {**found.table, "search_space": entries},
        "arms": [
            {"label": str(arm.get("optimizer")), **arm, **({} if concurrency is None else {"concurrency": concurrency})}
        ],
    }
    spec = parse_study(document, file="hpo.tune", task=found.task)
    executor = "serial" if workers == 1 else "process"
    return run_study(
        spec,
        executor=executor,  # type: ignore[arg-type]
        workers=None if workers == 1 else workers,
        threads=threads,
        time_limit=time_limit,
        on_finish=on_finish,
        out=out,
        store=store,
        report=report,
        observer=observer,
        track=track,
        progress=progress,
    )


@dataclass(frozen=True)
class _Target:
    """What is tuned.

    Args:
        task: the task.
        table: the table `[task]` that describes it, without its search space.
    """

    task: Task[Any]
    table: Mapping[str, Any]


def _target(target: Any, given: Mapping[str, Any], problems: Mistakes) -> _Target | None:
    """Return a function, a class or a task as a task with some options."""
    if isinstance(target, Task) or (isinstance(target, type) and issubclass(target, Task)):
        return _registered(target, given, problems)
    if not callable(target):
        allowed = "allowed: a function of the hyperparameters, a class with the methods train and evaluate, or a task"
        problems.add("target", allowed, target)
        return None
    name = "loop" if isinstance(target, type) else "function"
    cls = registry.tasks.get(name)
    table = {name: target, **given}
    objects = {key: value for key, value in table.items() if key in cls.references and not isinstance(value, str)}
    task = built(cls, table, objects, problems, also=_arguments())
    spelled = {key: _name(value) if key in objects else value for key, value in table.items()}
    return None if task is None else _Target(task, {"name": name, **spelled})


def _registered(target: Task[Any] | type[Task[Any]], given: Mapping[str, Any], problems: Mistakes) -> _Target | None:
    """Return a registered task, or the task of a registered class, with some options."""
    task = built(target, given, {}, problems, also=_arguments()) if isinstance(target, type) else target
    if target is task and given:
        problems.add(next(iter(given)), "allowed for a function or a class; a task has its options already")
    if task is None:
        return None
    name = registry.tasks.find(task)
    if name is None:
        problems.add("target", "allowed: a registered task; decorate its class with @hpo.register_task", target)
        return None
    return _Target(task, {"name": name, **registry.to_table(task)})


def _arguments() -> list[str]:
    """Return the names of the arguments of `tune`, which messages about unknown options list as valid."""
    return [*inspect.signature(tune).parameters][:-1]


def _name(target: object) -> str:
    name = getattr(target, "__name__", type(target).__name__)
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.") or "function"


def _lengths(
    found: _Target | None,
    trials: int | None,
    population_size: int | None,
    budget: float | None,
    interval: float | None,
    problems: Mistakes,
) -> dict[str, Any]:
    """Return how many members there are, and how long they train, as in `[study]`."""
    of_members = {"population_size": population_size, "budget": budget, "interval": interval}
    if found is not None and not found.task.is_function:
        if trials is not None:
            problems.add("trials", "allowed for a function; here it is population_size, budget and interval", trials)
        if budget is None:
            problems.add("budget", f"missing; required: how long each member is trained, in {found.task.unit}")
        defaults = {"population_size": 20, "budget": 1, "interval": 1}
        return {key: defaults[key] if value is None else value for key, value in of_members.items()}
    for key, value in of_members.items():
        if value is not None:
            problems.add(key, "allowed for what is trained in intervals; a function has trials", value)
    return {"trials": 100 if trials is None else trials}


def _entries(space: Mapping[str, Parameter] | None, found: _Target | None, problems: Mistakes) -> dict[str, Any]:
    """Return a space as the table of a study file."""
    if space is None and found is not None and not found.task.free_space:
        return {}
    given = search_space({} if space is None else space, problems)
    entries = {} if given is None else given.to_json()
    return {name: {key: value for key, value in entry.items() if value is not None} for name, entry in entries.items()}
