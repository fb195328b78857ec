"""Study files: TOML -> `StudySpec`, validated and frozen.

Every error names the file, the key, what was given, what is allowed and the nearest valid name, and all the errors of a
file come together. Of the tables, `[study]`, `[task]` and `[comparison]` occur once, `[[arms]]` once per arm; plug-ins
(tasks, optimizers, selections, perturbations) are validated against their dataclasses by `hpo.options`.
"""

import importlib
import re
import sys
import tomllib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic import AfterValidator

from hpo import options, protocols, registry
from hpo.errors import DataError, OptionError, Problem, SpecError, did_you_mean
from hpo.options import Problems
from hpo.protocols import OptimizerOptions, Task
from hpo.seeding import Streams
from hpo.segments import HParams, Value
from hpo.space import Categorical, Float, Int, Parameter, SearchSpace

_PARAMETERS: dict[str, type[Parameter]] = {"float": Float, "int": Int, "categorical": Categorical}
_MOST = 1_000_000
_LARGEST_SEED = 2**53 - 1  # what JSON readers of every language hold exactly


def _study_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}", name):
        raise ValueError("a name, not a path: 1 to 100 letters, digits, '_', '-', '.'; not starting with '.'")
    return name


def _label(label: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_+()-][A-Za-z0-9 _.+()-]{0,59}", label) or label.endswith(" "):
        raise ValueError(
            "1 to 60 letters, digits, spaces, '_', '-', '.', '+', '(', ')'; not starting with '.', no space at the ends"
        )
    return label


def _module(module: str) -> str:
    if not all(part.isidentifier() for part in module.split(".")):
        raise ValueError("a module's dotted name, like my_tasks")
    return module


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("seeds that are all different")
    return seeds


Seed = Annotated[int, Ge(0), Le(_LARGEST_SEED)]


@dataclass(frozen=True)
class _StudyTable:
    name: Annotated[str, AfterValidator(_study_name)]
    population_size: Annotated[int, Ge(1), Le(_MOST)]
    budget: Annotated[float, Gt(0)]
    interval: Annotated[float, Gt(0)]
    replicates: Annotated[int, Ge(1), Le(_MOST)] | None = None
    seeds: Annotated[tuple[Seed, ...], MinLen(1), AfterValidator(_distinct)] | None = None
    initial: tuple[dict[str, Value], ...] = ()

    def __post_init__(self) -> None:
        if self.replicates is not None and self.seeds is not None:
            raise OptionError("replicates", self.replicates, "either replicates or seeds, not both")
        if len(self.initial) > self.population_size:
            allowed = f"at most population_size = {self.population_size} tables"
            raise OptionError("initial", f"{len(self.initial)} tables", allowed)
        count = Fraction(str(self.budget)) / Fraction(str(self.interval))
        if count.denominator != 1 or count > _MOST:
            allowed = f"a length that divides the budget {self.budget:g} into whole intervals, at most {_MOST}"
            raise OptionError("interval", self.interval, f"{allowed}; this one gives {float(count):g}")


@dataclass(frozen=True)
class _TaskTable:
    module: Annotated[str, AfterValidator(_module)] | None = None


@dataclass(frozen=True)
class _ArmTable:
    label: Annotated[str, AfterValidator(_label)]
    concurrency: Annotated[int, Ge(1), Le(_MOST)] | None = None
    stream: Seed = 0


@dataclass(frozen=True)
class Arm:
    """One configured optimizer of a study.

    Args:
        label: its name in the report; never enters a random stream.
        optimizer_name: the registered name.
        optimizer: the options.
        concurrency: virtual workers.
        stream: arms with the same stream draw the same noise.
    """

    label: str
    optimizer_name: str
    optimizer: OptimizerOptions
    concurrency: int
    stream: int = 0


@dataclass(frozen=True)
class Comparison:
    """What the study is to decide.

    Args:
        baseline: the label of the arm that the others are compared with.
        metric: one of the task's metrics, on the test set.
        alpha: the level of the test.
    """

    baseline: str
    metric: str
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05


@dataclass(frozen=True)
class StudySpec:
    """A study file, validated.

    Args:
        name: the study's name, and its run directory's.
        seeds: one per replicate.
        population_size: members of the initial population.
        budget: of one member, in the task's unit.
        interval: between two evaluations, in the task's unit.
        intervals: budget / interval.
        initial: hyperparameters of the first slots, instead of draws from the prior.
        task_name: the registered name.
        task_module: the module that registers it, when the study names one.
        task: the task with its options.
        space: the task's search space, with the study's overrides.
        arms: in the order of the file.
        comparison: None where the study compares nothing.
        document: the study as written: plain JSON values, no defaults filled in.
        search_path: the folders in which `task_module` is looked for.
    """

    name: str
    seeds: tuple[int, ...]
    population_size: int
    budget: Fraction
    interval: Fraction
    intervals: int
    initial: tuple[HParams, ...]
    task_name: str
    task_module: str | None
    task: Task[Any]
    space: SearchSpace
    arms: tuple[Arm, ...]
    comparison: Comparison | None
    document: Mapping[str, Any]
    search_path: tuple[str, ...]

    def problem(self, seed: int, arm: Arm) -> protocols.Problem:
        """Return what an arm's optimizer is asked to solve in the replicate of a seed."""
        return protocols.Problem(
            space=self.space,
            population_size=self.population_size,
            intervals=self.intervals,
            interval=self.interval,
            unit=self.task.unit,
            streams=Streams(seed, arm.stream),
            concurrency=arm.concurrency,
            initial=self.initial,
        )


def load_study(path: str | Path) -> StudySpec:
    """Return the study of a TOML file.

    Raises:
        SpecError: with everything that is wrong with the file.
        DataError: the task's data are missing or damaged.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_bytes().decode("utf-8"))
    except FileNotFoundError:
        near = did_you_mean(path.name, (file.name for file in path.parent.glob("*.toml")))
        raise SpecError(str(path), [Problem("study file", "there is no such file", hint=near)]) from None
    except OSError as error:
        raise SpecError(str(path), [Problem("study file", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise SpecError(str(path), [Problem("not UTF-8 text", f"byte {error.start}: {error.reason}")]) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(str(path), [Problem("not TOML", str(error))]) from None
    return parse_study(document, file=str(path), search_path=[str(path.resolve().parent)])


def parse_study(
    document: Mapping[str, Any], *, file: str = "<study>", search_path: Iterable[str | Path] = ()
) -> StudySpec:
    """Return the study of a document: what `load_study` finds in a file, as nested mappings.

    Args:
        document: the tables by name.
        file: what error messages call it.
        search_path: folders in which the task's module is looked for, before the current one.

    Raises:
        SpecError: with everything that is wrong with it.
        DataError: the task's data are missing or damaged.
    """
    problems = Problems()
    folders = tuple(dict.fromkeys(str(Path(folder).resolve()) for folder in (*search_path, Path.cwd())))
    tables = {str(name): value for name, value in document.items()}
    options.unknown_keys(tables, ["study", "task", "arms", "comparison"], "", problems)
    study = _table(tables, _StudyTable, problems)
    found = _task(tables, folders, problems)
    initial: tuple[HParams, ...] = ()
    if study is not None and found is not None:
        initial = _initial(study.initial, found.space, problems)
        _check_data(study, found.task, problems)
    arms = _arms(tables, study, problems)
    metrics = None if found is None else [metric.name for metric in found.task.metrics]
    comparison = _comparison(tables, metrics, problems)
    if problems or study is None or found is None:
        raise SpecError(file, problems)
    spec = StudySpec(
        name=study.name,
        seeds=tuple(range(study.replicates or 1)) if study.seeds is None else study.seeds,
        population_size=study.population_size,
        budget=Fraction(str(study.budget)),
        interval=Fraction(str(study.interval)),
        intervals=int(Fraction(str(study.budget)) / Fraction(str(study.interval))),
        initial=initial,
        task_name=found.name,
        task_module=found.module,
        task=found.task,
        space=found.space,
        arms=arms,
        comparison=comparison,
        document={name: _plain(value) for name, value in tables.items()},
        search_path=folders,
    )
    _check_starts(spec, problems)
    if problems:
        raise SpecError(file, problems)
    return spec


@dataclass(frozen=True)
class _Task:
    name: str
    module: str | None
    task: Task[Any]
    space: SearchSpace


def _table(tables: Mapping[str, Any], cls: type[_StudyTable], problems: Problems) -> _StudyTable | None:
    if "study" not in tables:
        problems.add("study", f"missing; required: a table [study] with {', '.join(options.field_names(cls)[:4])}")
        return None
    table = options.as_table(tables["study"], "study", problems)
    return None if table is None else options.build(cls, table, "study", problems)


def _task(tables: Mapping[str, Any], folders: tuple[str, ...], problems: Problems) -> _Task | None:
    before = len(problems)
    if "task" not in tables:
        problems.add("task", "missing; required: a table [task] with a name")
        return None
    table = options.as_table(tables["task"], "task", problems)
    if table is None:
        return None
    entries = table.pop("search_space", {})
    own = {key: table.pop(key) for key in ["module"] if key in table}
    module = options.build(_TaskTable, own, "task", problems)
    if module is None or (module.module is not None and not _imported(module.module, folders, problems)):
        return None
    name = table.pop("name", None)
    cls = options.plugin_class(registry.tasks, name, "task.name", problems)
    if cls is None:
        return None
    task = options.build(cls, table, "task", problems, also=["name", "module", "search_space"])
    if task is None:
        return None
    space = _space(task.search_space, entries, problems)
    return None if len(problems) > before else _Task(str(name), module.module, task, space)


def _imported(module: str, folders: tuple[str, ...], problems: Problems) -> bool:
    """Import the task's module with the folders first on the path; they stay on it, last, for imports made later."""
    importlib.invalidate_caches()
    top = module.partition(".")[0]
    loaded, found = sys.modules.get(top), PathFinder.find_spec(top, list(folders))
    if loaded is not None and found is not None and found.origin is not None:
        file = getattr(loaded, "__file__", None)
        if file is None or Path(file).resolve() != Path(found.origin).resolve():
            hint = f"rename {found.origin}"
            problems.add("task.module", f"another module of that name is loaded already, {file}", module, hint)
            return False
    sys.path[:0] = folders
    try:
        importlib.import_module(module)
    except (Exception, SystemExit) as error:
        near = None
        frame = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{frame.filename}, line {frame.lineno}"
        if isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}."):
            near = did_you_mean(module, (file.stem for folder in folders for file in Path(folder).glob("*.py")))
            where = f"looked in {', '.join(folders)}"
        problems.add("task.module", f"cannot be imported: {type(error).__name__}: {error}; {where}", module, near)
        return False
    finally:
        for folder in folders:
            if folder in sys.path:
                sys.path.remove(folder)
            if folder not in sys.path:
                sys.path.append(folder)
    return True


def _space(own: SearchSpace, entries: object, problems: Problems) -> SearchSpace:
    """Return a task's space with the entries of `[task.search_space]` in place of its own of the same name."""
    key = "task.search_space"
    table = options.as_table(entries, key, problems) or {}
    options.unknown_keys(table, own, key, problems)
    parameters = dict(own)
    for name in [name for name in table if name in own]:
        entry = options.as_table(table[name], f"{key}.{name}", problems)
        if entry is None:
            continue
        kind = entry.pop("type", None)
        if not isinstance(kind, str) or kind not in _PARAMETERS:
            allowed = f"one of {', '.join(map(repr, _PARAMETERS))}"
            if kind is None:
                problems.add(f"{key}.{name}.type", f"missing; required: {allowed}")
            else:
                problems.add(f"{key}.{name}.type", f"allowed: {allowed}", kind, did_you_mean(str(kind), _PARAMETERS))
            continue
        parameter = options.build(_PARAMETERS[kind], entry, f"{key}.{name}", problems, also=["type"])
        if parameter is not None:
            parameters[name] = parameter
    return SearchSpace(parameters)


def _initial(given: Iterable[HParams], space: SearchSpace, problems: Problems) -> tuple[HParams, ...]:
    """Return the hyperparameters of `[[study.initial]]`, each complete and inside the space."""
    before = len(problems)
    kinds: dict[type[Parameter], object] = {Float: float, Int: int}
    for index, hparams in enumerate(given):
        key = f"study.initial[{index}]"
        options.unknown_keys(hparams, space, key, problems)
        for name, parameter in space.items():
            if name not in hparams:
                problems.add(f"{key}.{name}", "missing; required: every hyperparameter of the search space")
                continue
            failed = len(problems)
            options.read(kinds.get(type(parameter), Value), hparams[name], f"{key}.{name}", problems)
            if len(problems) == failed:
                try:
                    inside = parameter.contains(parameter.cast(hparams[name]))
                except OptionError:
                    inside = False
                if not inside:
                    problems.add(f"{key}.{name}", f"allowed: a value inside {parameter}", hparams[name])
    return () if len(problems) > before else tuple(space.cast(hparams) for hparams in given)


def _check_data(study: _StudyTable, task: Task[Any], problems: Problems) -> None:
    interval = Fraction(str(study.interval))
    try:
        task.check()
        data = task.development_data()
    except DataError:
        if problems:  # what is wrong with the file is said first
            return
        raise
    if data is None:
        if interval.denominator != 1:
            allowed = f"allowed: a whole number, because the task has no data and its unit is {task.unit}"
            problems.add("study.interval", allowed, study.interval)
        return
    size = getattr(task, "validation_size", None)
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size < len(data):
        allowed = f"a whole number from 1 to {len(data) - 1}: the task has {len(data)} development examples"
        problems.add("task.validation_size", f"allowed: {allowed}", size)
    elif interval * (len(data) - size) < 1:
        allowed = f"a length of at least one training example of {len(data) - size}"
        problems.add("study.interval", f"allowed: {allowed}", study.interval)


def _arms(tables: Mapping[str, Any], study: _StudyTable | None, problems: Problems) -> tuple[Arm, ...]:
    given = tables.get("arms")
    if not isinstance(given, (list, tuple)) or not given:
        if given is None:
            problems.add("arms", "missing; required: at least one table [[arms]] with a label and an optimizer")
        else:
            problems.add("arms", "allowed: one table [[arms]] (two brackets) for each arm, at least one", given)
        return ()
    arms: list[Arm] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(given):
        key, found = f"arms[{index}]", Problems()
        table = options.as_table(item, key, found)
        label = None if table is None else table.get("label")
        arm = None if table is None else _arm(table, key, study, found)
        if isinstance(label, str) and seen.setdefault(label, index) != index:
            found.add(f"{key}.label", f"allowed: a label of its own; arms[{seen[label]}] has this one", label)
        problems += _named(found, label)
        if arm is not None:
            arms.append(arm)
    return tuple(arms)


def _arm(table: dict[str, Any], key: str, study: _StudyTable | None, problems: Problems) -> Arm | None:
    common = options.field_names(_ArmTable)
    own = {name: table.pop(name) for name in common if name in table}
    base = options.build(_ArmTable, own, key, problems)
    name = table.pop("optimizer", None)
    cls = options.plugin_class(registry.optimizers, name, f"{key}.optimizer", problems)
    if cls is None:
        return None
    optimizer = options.build(cls, table, key, problems, also=["label", "optimizer", "concurrency", "stream"])
    if base is None or optimizer is None or study is None:
        return None
    concurrency = base.concurrency
    if concurrency is None:
        concurrency = optimizer.default_concurrency(study.population_size)
    return Arm(base.label, str(name), optimizer, concurrency, base.stream)


def _named(found: Iterable[Problem], label: object) -> list[Problem]:
    """Return an arm's problems with the arm's label in their hints."""
    if not isinstance(label, str):
        return list(found)
    arm = f"arm {options.shown(label)}"
    return [replace(problem, hint="; ".join(filter(None, [problem.hint, arm]))) for problem in found]


def _check_starts(spec: StudySpec, problems: Problems) -> None:
    """Start every arm's optimizer once: what does not fit the study is said now."""
    for index, arm in enumerate(spec.arms):
        found = Problems()
        try:
            arm.optimizer.start(spec.problem(spec.seeds[0], arm))
        except OptionError as error:
            found.add_option(f"arms[{index}]", error)
        problems += _named(found, arm.label)


def _comparison(tables: Mapping[str, Any], metrics: list[str] | None, problems: Problems) -> Comparison | None:
    if "comparison" not in tables:
        return None
    table = options.as_table(tables["comparison"], "comparison", problems)
    comparison = None if table is None else options.build(Comparison, table, "comparison", problems)
    if table is None or comparison is None:
        return None
    arms = tables.get("arms")
    arms = arms if isinstance(arms, (list, tuple)) else []
    labels = [arm["label"] for arm in arms if isinstance(arm, Mapping) and isinstance(arm.get("label"), str)]
    if len(arms) < 2:
        problems.add("comparison", f"needs two arms at least; the study has {len(arms)}")
    if comparison.baseline not in labels:
        near = did_you_mean(comparison.baseline, labels)
        allowed = f"allowed: the label of an arm, one of {', '.join(map(repr, labels))}"
        problems.add("comparison.baseline", allowed, comparison.baseline, near)
    if metrics is not None and comparison.metric not in metrics:
        near = did_you_mean(comparison.metric, metrics)
        problems.add("comparison.metric", f"allowed: one of {', '.join(map(repr, metrics))}", comparison.metric, near)
    return comparison


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def flatten(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a study document's leaf values by dotted key; arms go by their label, other tables in lists by position.

    >>> flatten({"arms": [{"label": "pbt", "selection": {"name": "none"}}]})
    {'arms[pbt].label': 'pbt', 'arms[pbt].selection.name': 'none'}
    """
    leaves: dict[str, Any] = {}

    def walk(key: str, value: Any) -> None:
        if isinstance(value, Mapping) and (value or not key):
            for name, item in value.items():
                walk(f"{key}.{name}" if key else str(name), item)
        elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            for index, item in enumerate(value):
                label = item.get("label", index) if key == "arms" and isinstance(item, Mapping) else index
                walk(f"{key}[{label}]", item)
        else:
            leaves[key] = _plain(value)

    walk("", document)
    return leaves


def changed_keys(old_document: Mapping[str, Any], new_document: Mapping[str, Any]) -> list[str]:
    """Return the changes between two study documents that would alter finished work, one line each.

    More seeds, new arms, the order of keys, another spelling of the same seeds and anything in `[comparison]` alter none.

    >>> changed_keys({"study": {"interval": 0.5}}, {"study": {"interval": 1.0}})
    ['study.interval: 0.5 -> 1.0']
    """
    old, new = (_settings(document) for document in (old_document, new_document))
    old_arms, new_arms = (_labels(document) for document in (old_document, new_document))
    lines = []
    removed = sorted(_seeds(old_document) - _seeds(new_document))
    if removed:
        lines.append(f"study.seeds: removed {', '.join(map(str, removed))}")
    lines += [f"arms[{label}]: removed" for label in old_arms if label not in new_arms]
    others = tuple(f"arms[{label}]." for label in {*old_arms} ^ {*new_arms})
    for key in dict.fromkeys([*old, *new]):
        before, after = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if not key.startswith(others) and not _same(before, after):
            lines.append(f"{key}: {_spelled(before)} -> {_spelled(after)}")
    return lines


_ABSENT = object()


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    leaves = flatten({name: value for name, value in document.items() if name != "comparison"})
    return {key: value for key, value in leaves.items() if key not in ("study.seeds", "study.replicates")}


def _labels(document: Mapping[str, Any]) -> list[object]:
    return [arm.get("label", index) for index, arm in enumerate(document.get("arms", []))]


def _seeds(document: Mapping[str, Any]) -> set[int]:
    study = document.get("study", {})
    seeds = study.get("seeds")
    return set(range(study.get("replicates") or 1) if seeds is None else seeds)


def _same(before: Any, after: Any) -> bool:
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after) and all(map(_same, before, after))
    return before == after and isinstance(before, bool) == isinstance(after, bool)


def _spelled(value: Any) -> str:
    return "(absent)" if value is _ABSENT else repr(value)
