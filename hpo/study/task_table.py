"""The `[task]` table of a study file, and what depends on it: the search space, initial members, and the data."""

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from hpo.core import options, registry
from hpo.core.errors import DataError, OptionError, did_you_mean
from hpo.core.options import Mistakes
from hpo.core.parameters import Categorical, Float, Int, Parameter, conditions
from hpo.core.reach import name_of
from hpo.core.segments import HParams, Value
from hpo.core.space import Rule, SearchSpace, mistakes
from hpo.core.task import Task
from hpo.study.bound import BoundTask
from hpo.study.importing import NameTaken, check_helpers, import_named


def _module(module: str) -> str:
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("a module's dotted name, like my_tasks")
    return module


Module = Annotated[str, AfterValidator(_module)]


@dataclass(frozen=True)
class _TaskTable:
    module: Module | tuple[Module, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        return (self.module,) if isinstance(self.module, str) else self.module


_PLAIN = (str, bool, int, float, list, tuple, Mapping, type(None))


def spelled(task: object) -> tuple[object, dict[str, Any]]:
    """Return `[task]` as a study file has it, and by option the objects of a program that are not named as `module:name` there."""
    if not isinstance(task, Mapping):
        return task, {}
    table = {str(key): value for key, value in task.items()}
    objects = {key: value for key, value in table.items() if not isinstance(value, _PLAIN)}
    implied = _implied(table)
    references = registry.tasks.get(implied).references if objects and implied is not None else ()
    objects = {key: value for key, value in objects.items() if key in references}
    table |= {key: name_of(value) for key, value in objects.items()}
    if isinstance(space := table.get("search_space"), Mapping):
        table["search_space"] = {
            name: _entry(entry) if isinstance(entry, Parameter) else entry for name, entry in space.items()
        }
    return table, objects


def _implied(table: Mapping[str, Any]) -> str | None:
    """Return the task that a table without a name is for."""
    return next((name for name in ("function", "loop") if name in table), None)


def _entry(parameter: Parameter) -> dict[str, Any]:
    """Return a hyperparameter as an entry of `[task.search_space]`."""
    kind = next(name for name, cls in options.PARAMETERS.items() if type(parameter) is cls)
    given = {item.name: getattr(parameter, item.name) for item in fields(parameter)}
    return {"type": kind} | {key: value for key, value in given.items() if value is not None}


def read_task(
    tables: Mapping[str, Any],
    folders: tuple[str, ...],
    problems: Mistakes,
    objects: Mapping[str, Any] | None = None,
) -> BoundTask | None:
    """Return the task that `[task]` describes, built from its options; None if something is wrong with it.

    Args:
        tables: of the study file.
        folders: where modules are looked for.
        problems: collects all mistakes.
        objects: by option, what stands for a `module:name`; see `spelled`.
    """
    if "task" not in tables:
        problems.add("task", "missing; required: a table [task] with a name")
        return None
    table = options.as_table(tables["task"], "task", problems)
    if table is None:
        return None
    entries = table.pop("search_space", {})
    own = {key: table.pop(key) for key in ["module"] if key in table}
    chosen = options.build(_TaskTable, own, "task", problems)
    if chosen is None or not all(_imported(module, folders, problems) for module in chosen.modules):
        return None
    name = table.pop("name", _implied(table))
    cls = options.plugin_class(registry.tasks, name, "task.name", problems)
    if cls is None:
        return None
    objects = objects or {}
    task = built(cls, table, objects, problems, also=["name", "module", "search_space"])
    if task is None:
        return None
    given = {f"task.{option}": getattr(task, option) for option in cls.references if option not in objects}
    named = {key: str(value).partition(":")[0] for key, value in given.items() if value is not None}
    if not all(_imported(module, folders, problems, key) for key, module in named.items()):
        return None
    modules = tuple(dict.fromkeys([*chosen.modules, *named.values()]))
    return bind(task, str(name), entries, problems, modules=modules, folders=folders)


def built(
    cls: type[Task[Any]], table: Mapping[str, Any], objects: Mapping[str, Any], problems: Mistakes, also: Iterable[str]
) -> Task[Any] | None:
    """Return a task with its options; None if something is wrong with them.

    Args:
        cls: its class.
        table: the options.
        objects: by option, what a program gives in the place of a `module:name`.
        problems: collects all mistakes.
        also: further valid keys, for messages.
    """
    task = options.build(cls, {**table, **dict.fromkeys(objects, "given:directly")}, "task", problems, also=also)
    return None if task is None else replace(task, **objects)  # type: ignore[type-var]


def bind(
    task: Task[Any],
    name: str,
    entries: object,
    problems: Mistakes,
    *,
    modules: tuple[str, ...] = (),
    folders: tuple[str, ...] = (),
) -> BoundTask | None:
    """Return a task with the search space that a study gives it; None if something is wrong.

    Args:
        task: the task with its options.
        name: its registered name.
        entries: the table `[task.search_space]`.
        problems: collects all mistakes.
        modules: the modules that the study names.
        folders: where they are looked for.
    """
    before = len(problems)
    space = _space(task, entries, problems)
    return None if len(problems) > before else BoundTask(name, modules, folders, task, space)


def _imported(module: str, folders: tuple[str, ...], problems: Mistakes, key: str = "task.module") -> bool:
    """Import a module that the study names at a key; return whether that worked, and report why not."""
    try:
        check_helpers(import_named(module, folders))
    except NameTaken as error:
        problems.add(key, error.allowed, module, error.hint)
        return False
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        near = None
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}"
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            near = did_you_mean(module, (file.stem for folder in folders for file in Path(folder).glob("*.py")))
            where = f"looked in {', '.join(folders)}"
        problems.add(key, f"cannot be imported: {type(error).__name__}: {error}; {where}", module, near)
        return False
    return True


def _space(task: Task[Any], entries: object, problems: Mistakes) -> SearchSpace:
    """Return a task's space, with the entries of `[task.search_space]` replacing those of the same name.

    Optional hyperparameters are included only if they have an entry.
    """
    key = "task.search_space"
    table = options.as_table(entries, key, problems) or {}
    try:
        own = task.search_space
    except OptionError as missing:
        problems.add_option("task", missing)
        return SearchSpace({})
    known = [*table] if task.free_space else [*own, *task.addable_space]
    if not known:
        problems.add(key, "missing; required: a table with an entry for each hyperparameter")
    options.unknown_keys(table, known, key, problems)
    before = len(problems)
    parameters = dict(own)
    for name in [name for name in known if name in table]:
        parameter = options.read_parameter(table[name], f"{key}.{name}", problems)
        if parameter is not None:
            parameters[name] = parameter
    parameters = _narrowed(parameters, table)
    wrong = list(mistakes(parameters))
    if len(problems) == before:  # a mistake in an entry would only repeat for those that depend on it
        for error in wrong:
            control = error.option.rpartition(".")[2]
            hint = None if control in (*parameters, "when") else did_you_mean(control, parameters)
            problems.add(f"{key}.{error.option}", f"allowed: {error.allowed}", error.given, hint)
    rule = own.feasible if type(task).is_feasible is Task.is_feasible else task.is_feasible
    return SearchSpace({} if wrong else parameters, rule)


def search_space(
    given: Mapping[str, Parameter], problems: Mistakes, feasible: Rule | None = None
) -> SearchSpace | None:
    """Return the space of hyperparameters that were given as objects; None if something is wrong with them.

    Args:
        given: the hyperparameters by name; a search space may have a rule of its own.
        problems: collects all mistakes.
        feasible: a rule in place of that one.
    """
    if feasible is None:
        feasible = getattr(given, "feasible", None)
    before = len(problems)
    found = options.as_table(given, "search_space", problems) or {}
    if not found and len(problems) == before:
        problems.add("search_space", "allowed: at least one hyperparameter by name", found)
    for name, parameter in found.items():
        if not isinstance(parameter, Parameter):
            allowed = "allowed: hpo.Float(...), hpo.Int(...) or hpo.Categorical(...)"
            problems.add(f"search_space.{name}", allowed, parameter)
    if len(problems) == before:
        for error in mistakes(found):
            problems.add_option("search_space", error)
    if feasible is not None and not callable(feasible):
        problems.add("feasible", "allowed: a function of hyperparameters that returns True or False", feasible)
    return None if len(problems) > before else SearchSpace(found, feasible)


def _narrowed(parameters: Mapping[str, Parameter], entries: Mapping[str, Any]) -> dict[str, Parameter]:
    """Return a space whose own conditions name only values that the study has left to their controls.

    A hyperparameter without an entry, and without a possible value of its controls, is removed, and so is what depends on it.
    """
    kept = dict(parameters)
    while True:
        changed = dict(kept)
        for name, parameter in kept.items():
            if name in entries or parameter.when is None:
                continue
            left = {
                control: tuple(value for value in values if control in kept and kept[control].contains(value))
                for control, values in conditions(parameter.when).items()
            }
            if all(left.values()):
                changed[name] = replace(parameter, when=left)
            else:
                del changed[name]
        if changed == kept:
            return kept
        kept = changed


def read_initial(given: Iterable[HParams], space: SearchSpace, problems: Mistakes) -> tuple[HParams, ...]:
    """Return the hyperparameters of `[[study.initial]]`: all active ones, and inside the space."""
    before = len(problems)
    read = [read_hparams(each, f"study.initial[{index}]", space, problems) for index, each in enumerate(given)]
    return () if len(problems) > before else tuple(hparams for hparams in read if hparams is not None)


def read_hparams(hparams: HParams, key: str, space: SearchSpace, problems: Mistakes) -> HParams | None:
    """Return given hyperparameters with the types of the space; None if there are mistakes.

    What depends on a control with a wrong value is not checked.

    Args:
        hparams: the hyperparameters.
        key: their key in the file, for messages.
        space: the space: exactly its active hyperparameters are required.
        problems: collects all mistakes.
    """
    before = len(problems)
    options.unknown_keys(hparams, space, key, problems)
    _check_hparams(hparams, key, space, problems)
    return None if len(problems) > before else space.cast(hparams)


def _check_hparams(hparams: HParams, key: str, space: SearchSpace, problems: Mistakes) -> None:
    right: dict[str, Value] = {}
    wrong: set[str] = set()
    for name in space.ordered:
        controls = space[name].when or {}
        if wrong.intersection(controls):
            wrong.add(name)
        elif not space.is_active(name, right):
            if name in hparams:
                allowed = f"not allowed with {', '.join(f'{control} = {right.get(control)!r}' for control in controls)}"
                problems.add(f"{key}.{name}", f"{allowed}; it is active when {dict(controls)!r}", hparams[name])
        elif name not in hparams:
            problems.add(f"{key}.{name}", "missing; required: all active hyperparameters of the search space")
            wrong.add(name)
        elif _is_inside(hparams[name], space[name], f"{key}.{name}", problems):
            right[name] = space[name].cast(hparams[name])
        else:
            wrong.add(name)


def _is_inside(value: Value, parameter: Parameter, key: str, problems: Mistakes) -> bool:
    """Return whether a value has the type of a hyperparameter and is inside its bounds; report it if not."""
    failed = len(problems)
    kinds: dict[type[Parameter], object] = {Float: float, Int: int}
    options.read(kinds.get(type(parameter), Value), value, key, problems)
    if len(problems) > failed:
        return False
    try:
        inside = parameter.contains(parameter.cast(value))
    except OptionError:
        inside = False
    if not inside:
        hint = None if isinstance(parameter, Categorical) else "[task.search_space] can widen it"
        problems.add(key, f"allowed: a value inside {parameter}", value, hint)
    return inside


def check_data(interval: Fraction, found: BoundTask, problems: Mistakes, key: str = "study.interval") -> None:
    """Check that the data exist, and that they can be split and divided into intervals.

    Args:
        interval: the length of an interval in the task's unit.
        found: the task with its search space.
        problems: collects all mistakes.
        key: the key of the interval.
    """
    task = found.task
    try:
        task.check()
        data = task.development_data()
        examples = None
        if data is not None:
            examples, _ = len(data), data.fingerprint
    except OptionError as error:
        problems.add_option("task", error)
        return
    except DataError:
        if problems:  # report mistakes in the file first
            return
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}"
        problems.add("task", f"its data cannot be loaded: {type(error).__name__}: {error}; {where}")
        return
    if examples is None or task.is_function:
        if interval.denominator != 1:
            allowed = f"allowed: a whole number, because the task has no data and its unit is {task.unit}"
            problems.add(key, allowed, float(interval))
        return
    sizes = _batch_sizes(found, problems)
    size = task.validation_size
    if not 1 <= size < examples:
        allowed = f"a whole number from 1 to {examples - 1}: the task has {examples} development examples"
        problems.add("task.validation_size", f"allowed: {allowed}", size)
    elif interval * (examples - size) < 1:
        allowed = f"a length of at least one of {examples - size} training examples"
        problems.add("study.interval", f"allowed: {allowed}", float(interval))
    elif task.drop_last and interval * (examples - size) < max(sizes):
        allowed = f"false: an interval has less than one batch of {max(sizes)}, which would be left out"
        problems.add("task.drop_last", f"allowed: {allowed}", True)


def _batch_sizes(found: BoundTask, problems: Mistakes) -> list[int]:
    """Return the batch sizes that a study may use, among them the largest."""
    parameter = found.space.parameters.get("batch_size")
    sizes: list[Value] = [] if parameter is not None and parameter.when is None else [found.task.batch_size]
    if isinstance(parameter, Int | Float):
        sizes += [parameter.low, parameter.high]
    elif parameter is not None:
        sizes += parameter.choices
    whole = [size for size in sizes if type(size) is int and size > 0]
    if len(whole) < len(sizes):
        allowed = "allowed: an int or a categorical of whole numbers above 0: the examples per training batch"
        problems.add("task.search_space.batch_size", allowed, parameter)
    return whole or [1]
