"""Study files: TOML -> `StudySpec`, validated and frozen.

Every error names the file, the key, what was given, what is allowed and the nearest valid name, and all errors of a file are
reported together. `[study]`, `[task]` and `[comparison]` occur once, `[[arms]]` once per arm. Plug-ins (tasks, optimizers,
selections, perturbations) are validated against their dataclasses by `hpo.core.options`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator

from hpo.core import options
from hpo.core.errors import Mistake, OptionError, SpecError, did_you_mean
from hpo.core.options import Mistakes
from hpo.core.parsing import TOO_DEEP, is_too_deep, read_toml
from hpo.core.run_files import StudyName
from hpo.core.segments import HParams, Value
from hpo.core.task import Metric, Task
from hpo.study.arms_table import MOST, Seed, check_rule, check_starts, read_arms
from hpo.study.bound import BoundTask
from hpo.study.spec import Comparison, StudySpec, plain
from hpo.study.task_table import bind, check_data, read_initial, read_task, spelled


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("seeds that are all different")
    return seeds


def _no_nulls(value: object, key: str, problems: Mistakes) -> None:
    """Report nulls, which documents in memory may have but TOML files cannot."""
    if value is None:
        problems.add(key, "null; leave the key out instead")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _no_nulls(item, f"{key}.{name}" if key else str(name), problems)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _no_nulls(item, f"{key}[{index}]", problems)


@dataclass(frozen=True, kw_only=True)
class _StudyTable:
    """The keys of `[study]` for tasks that train in intervals."""

    name: StudyName
    population_size: Annotated[int, Ge(1), Le(MOST)]
    budget: Annotated[float, Gt(0)]
    interval: Annotated[float, Gt(0)]
    replicates: Annotated[int, Ge(1), Le(MOST)] | None = None
    seeds: Annotated[tuple[Seed, ...], MinLen(1), AfterValidator(_distinct)] | None = None
    initial: tuple[dict[str, Value], ...] = ()
    retrains: Annotated[int, Ge(1), Le(100)] = 1

    def __post_init__(self) -> None:
        _check_numbers(self, self.population_size, "population_size")
        count = Fraction(str(self.budget)) / Fraction(str(self.interval))
        if count.denominator != 1 or count > MOST:
            allowed = f"a length that divides the budget {self.budget:g} into whole intervals, at most {MOST}"
            gives = "more" if count > MOST else f"{float(count):g}"
            raise OptionError("interval", self.interval, f"{allowed}; this one gives {gives}")


@dataclass(frozen=True, kw_only=True)
class _TrialsTable:
    """The keys of `[study]` for functions: a trial is a member with one interval, and nothing is retrained."""

    name: StudyName
    trials: Annotated[int, Ge(1), Le(MOST)]
    replicates: Annotated[int, Ge(1), Le(MOST)] | None = None
    seeds: Annotated[tuple[Seed, ...], MinLen(1), AfterValidator(_distinct)] | None = None
    initial: tuple[dict[str, Value], ...] = ()

    def __post_init__(self) -> None:
        _check_numbers(self, self.trials, "trials")

    @property
    def population_size(self) -> int:
        """Every trial is a member."""
        return self.trials

    budget: ClassVar[float] = 1
    interval: ClassVar[float] = 1
    retrains: ClassVar[int] = 1


def _check_numbers(table: "_StudyTable | _TrialsTable", members: int, key: str) -> None:
    if table.replicates is not None and table.seeds is not None:
        raise OptionError("replicates", table.replicates, "either replicates or seeds, not both")
    if len(table.initial) > members:
        raise OptionError("initial", f"{len(table.initial)} tables", f"at most {key} = {members} tables")


def load_study(path: str | Path) -> StudySpec:
    """Return the study of a TOML file.

    Raises:
        SpecError: the file is invalid; lists all mistakes.
        DataError: the task's data are missing or damaged.
    """
    document = read_toml(Path(path), "study file")
    if "studies" in document:
        raise SpecError(str(path), [Mistake("studies", "one study, not a list; `hpo run` runs lists of them")])
    return _parse(document, Path(path))


def load_studies(path: str | Path) -> tuple[StudySpec, ...]:
    """Return the study of a TOML file, or all studies of a file that lists study files: `studies = ["win.toml", "lose.toml"]`.

    Listed paths are relative to the file that lists them.

    Raises:
        SpecError: a file is invalid; lists all mistakes.
        DataError: a task's data are missing or damaged.
    """
    path = Path(path)
    document = read_toml(path, "study file")
    if "studies" not in document:
        return (_parse(document, path),)
    mistakes = [
        Mistake(key, "unknown key; a list of studies has no other keys") for key in document if key != "studies"
    ]
    listed = document["studies"]
    if not isinstance(listed, list) or not listed or not all(isinstance(name, str) for name in listed):
        mistakes.append(Mistake("studies", "a list of at least one path of a study file", repr(listed)))
    if mistakes:
        raise SpecError(str(path), mistakes)
    specs = tuple(load_study(path.parent / name) for name in listed)
    check_names(str(path), specs)
    return specs


def check_names(file: str, specs: Iterable[StudySpec]) -> None:
    """Check that no two studies would run in the same directory.

    Args:
        file: the name in error messages.
        specs: the studies.

    Raises:
        SpecError: two studies have the same name.
    """
    names = [spec.name for spec in specs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        allowed = "studies with different names, because each has its own run directory"
        raise SpecError(file, [Mistake("studies", allowed, ", ".join(twice))])


def _parse(document: Mapping[str, Any], path: Path) -> StudySpec:
    return parse_study(document, file=str(path), search_path=[str(path.resolve().parent)])


def parse_study(
    document: Mapping[str, Any],
    *,
    file: str = "<study>",
    search_path: Iterable[str | Path] = (),
    task: Task[Any] | None = None,
) -> StudySpec:
    """Return the study of a document with the content of a study file, as nested mappings.

    Args:
        document: the tables by name. In `[task]`, a function, class or data set may stand for its `module:name`, and `hpo.Float()`
            for an entry of the search space.
        file: its name in error messages.
        search_path: folders to search for the modules before the current one.
        task: a task that the document only describes: `[task]` gives its name and search space.

    Raises:
        SpecError: the document is invalid; lists all mistakes.
        DataError: the task's data are missing or damaged.
    """
    problems = Mistakes()
    folders = tuple(dict.fromkeys(str(Path(folder).resolve()) for folder in (*search_path, Path.cwd())))
    tables = {str(name): value for name, value in document.items()}
    if is_too_deep(tables):
        raise SpecError(file, [Mistake("the study", TOO_DEEP)])
    objects: dict[str, Any] = {}
    if "task" in tables and task is None:
        tables["task"], objects = spelled(tables["task"])
    _no_nulls(tables, "", problems)
    options.unknown_keys(tables, ["study", "task", "arms", "comparison"], "", problems)
    of_task = Mistakes()
    found = read_task(tables, folders, of_task, objects) if task is None else _described(task, tables, folders, of_task)
    function = _has_trials(tables) if found is None else found.task.is_function
    study = _table(tables, _TrialsTable if function else _StudyTable, problems)
    problems += of_task
    initial: tuple[HParams, ...] = ()
    if study is not None and found is not None:
        initial = read_initial(study.initial, found.space, problems)
        check_data(Fraction(str(study.interval)), found, problems)
    arms = read_arms(tables, None if study is None else study.population_size, found, problems)
    comparison = _comparison(tables, None if found is None else found.task.metrics, problems)
    seeds = () if study is None else _seeds(study, comparison, problems)
    if problems or study is None or found is None:
        raise SpecError(file, problems)
    spec = StudySpec(
        name=study.name,
        seeds=seeds,
        population_size=study.population_size,
        budget=Fraction(str(study.budget)),
        interval=Fraction(str(study.interval)),
        intervals=int(Fraction(str(study.budget)) / Fraction(str(study.interval))),
        initial=initial,
        retrains=study.retrains,
        bound=found,
        arms=arms,
        comparison=comparison,
        document={name: plain(value) for name, value in tables.items()},
    )
    found.identity  # noqa: B018 - the sources are read now: an edit after this one does not change what was loaded
    check_rule(spec, problems)
    if not problems:
        check_starts(spec, problems)
    if problems:
        raise SpecError(file, problems)
    return spec


def _has_trials(tables: Mapping[str, Any]) -> bool:
    return isinstance(tables.get("study"), Mapping) and "trials" in tables["study"]


def _described(
    task: Task[Any], tables: Mapping[str, Any], folders: tuple[str, ...], problems: Mistakes
) -> BoundTask | None:
    table = tables["task"]
    return bind(task, table["name"], table.get("search_space", {}), problems, folders=folders)


def _table(
    tables: Mapping[str, Any], cls: type[_StudyTable | _TrialsTable], problems: Mistakes
) -> _StudyTable | _TrialsTable | None:
    if "study" not in tables:
        problems.add("study", f"missing; required: a table [study] with {', '.join(options.field_names(cls)[:4])}")
        return None
    table = options.as_table(tables["study"], "study", problems)
    return None if table is None else options.build(cls, table, "study", problems)


def _seeds(study: _StudyTable | _TrialsTable, comparison: Comparison | None, problems: Mistakes) -> tuple[int, ...]:
    """Return the planned seeds: all that the study may use."""
    if comparison is None or comparison.stopping == "fixed":
        seeds = tuple(range(study.replicates or 1)) if study.seeds is None else study.seeds
        planned = None if comparison is None else comparison.planned_seeds
        if planned is not None and planned != len(seeds):
            allowed = f"allowed: {len(seeds)}, the number of the study's seeds"
            problems.add("comparison.planned_seeds", allowed, planned, "the plan and the study disagree")
        return seeds
    most = comparison.max_replicates
    if study.replicates is not None:
        allowed = 'no replicates with stopping = "anytime", which continues until decided, or until max_replicates'
        problems.add("study.replicates", f"allowed: {allowed}", study.replicates)
    if most is None and study.seeds is None:
        problems.add("comparison.max_replicates", 'missing; required with stopping = "anytime"')
    if study.seeds is None:
        return tuple(range(most or 1))
    if most is not None and most > len(study.seeds):
        problems.add("comparison.max_replicates", f"allowed: 1 to {len(study.seeds)}, the study's seeds", most)
    return study.seeds[:most]


def _comparison(tables: Mapping[str, Any], metrics: Sequence[Metric] | None, problems: Mistakes) -> Comparison | None:
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
        problems.add("comparison", f"needs at least two arms; the study has {len(arms)}")
    if comparison.baseline not in labels:
        near = did_you_mean(comparison.baseline, labels)
        allowed = f"allowed: the label of an arm, one of {', '.join(map(repr, labels))}"
        problems.add("comparison.baseline", allowed, comparison.baseline, near)
    if metrics is not None:
        names = [metric.name for metric in metrics]
        if comparison.metric not in names:
            near = did_you_mean(comparison.metric, names)
            problems.add("comparison.metric", f"allowed: one of {', '.join(map(repr, names))}", comparison.metric, near)
        elif comparison.direction not in (None, (direction := metrics[names.index(comparison.metric)].direction)):
            allowed = f"allowed: {direction!r}, the task's own direction of {comparison.metric}"
            problems.add("comparison.direction", allowed, comparison.direction)
    return comparison
