"""Study files: TOML -> `StudySpec`, validated and frozen.

Every error names the file, the key, what was given, what is allowed and the nearest valid name, and all the errors of a
file come together. Of the tables, `[study]`, `[task]` and `[comparison]` occur once, `[[arms]]` once per arm; plug-ins
(tasks, optimizers, selections, perturbations) are validated against their dataclasses by `hpo.options`.
"""

import re
import tomllib
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Gt, Le, MinLen
from pydantic import AfterValidator

from hpo import options, registry
from hpo.errors import Mistake, OptionError, SpecError, did_you_mean
from hpo.identity import task_identity
from hpo.options import Mistakes
from hpo.segments import HParams, Value
from hpo.spec import Arm, Comparison, StudySpec, plain
from hpo.study_task import check_data, read_initial, read_task

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


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("seeds that are all different")
    return seeds


Seed = Annotated[int, Ge(0), Le(_LARGEST_SEED)]


def _no_nulls(value: object, key: str, problems: Mistakes) -> None:
    """A study file cannot hold a null: a document that does could not be written as one."""
    if value is None:
        problems.add(key, "null; leave the key out instead")
    elif isinstance(value, Mapping):
        for name, item in value.items():
            _no_nulls(item, f"{key}.{name}" if key else str(name), problems)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _no_nulls(item, f"{key}[{index}]", problems)


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
            gives = "more" if count > _MOST else f"{float(count):g}"
            raise OptionError("interval", self.interval, f"{allowed}; this one gives {gives}")


@dataclass(frozen=True)
class _ArmTable:
    label: Annotated[str, AfterValidator(_label)]
    concurrency: Annotated[int, Ge(1), Le(_MOST)] | None = None
    stream: Seed = 0


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
        raise SpecError(str(path), [Mistake("study file", "there is no such file", hint=near)]) from None
    except OSError as error:
        raise SpecError(str(path), [Mistake("study file", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise SpecError(str(path), [Mistake("not UTF-8 text", f"byte {error.start}: {error.reason}")]) from None
    except (ValueError, RecursionError) as error:
        raise SpecError(str(path), [Mistake("not TOML", str(error))]) from None
    return parse_study(document, file=str(path), search_path=[str(path.resolve().parent)])


def parse_study(
    document: Mapping[str, Any], *, file: str = "<study>", search_path: Iterable[str | Path] = ()
) -> StudySpec:
    """Return the study of a document: what `load_study` finds in a file, as nested mappings.

    Args:
        document: the tables by name.
        file: what error messages call it.
        search_path: folders in which the modules are looked for, before the current one.

    Raises:
        SpecError: with everything that is wrong with it.
        DataError: the task's data are missing or damaged.
    """
    problems = Mistakes()
    folders = tuple(dict.fromkeys(str(Path(folder).resolve()) for folder in (*search_path, Path.cwd())))
    tables = {str(name): value for name, value in document.items()}
    _no_nulls(tables, "", problems)
    options.unknown_keys(tables, ["study", "task", "arms", "comparison"], "", problems)
    study = _table(tables, _StudyTable, problems)
    found = read_task(tables, folders, problems)
    initial: tuple[HParams, ...] = ()
    if study is not None and found is not None:
        initial = read_initial(study.initial, found.space, problems)
        check_data(Fraction(str(study.interval)), found.task, problems)
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
        task_modules=found.modules,
        task=found.task,
        space=found.space,
        arms=arms,
        comparison=comparison,
        document={name: plain(value) for name, value in tables.items()},
        search_path=folders,
        identity=task_identity(found.task, found.name),
    )
    _check_starts(spec, problems)
    if problems:
        raise SpecError(file, problems)
    return spec


def _table(tables: Mapping[str, Any], cls: type[_StudyTable], problems: Mistakes) -> _StudyTable | None:
    if "study" not in tables:
        problems.add("study", f"missing; required: a table [study] with {', '.join(options.field_names(cls)[:4])}")
        return None
    table = options.as_table(tables["study"], "study", problems)
    return None if table is None else options.build(cls, table, "study", problems)


def _arms(tables: Mapping[str, Any], study: _StudyTable | None, problems: Mistakes) -> tuple[Arm, ...]:
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
        key, found = f"arms[{index}]", Mistakes()
        table = options.as_table(item, key, found)
        label = None if table is None else table.get("label")
        arm = None if table is None else _arm(table, key, study, found)
        if isinstance(label, str) and seen.setdefault(label, index) != index:
            found.add(f"{key}.label", f"allowed: a label of its own; arms[{seen[label]}] has this one", label)
        problems += _named(found, label)
        if arm is not None:
            arms.append(arm)
    return tuple(arms)


def _arm(table: dict[str, Any], key: str, study: _StudyTable | None, problems: Mistakes) -> Arm | None:
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


def _named(found: Iterable[Mistake], label: object) -> list[Mistake]:
    """Return an arm's problems with the arm's label in their hints."""
    if not isinstance(label, str):
        return list(found)
    arm = f"arm {options.shown(label)}"
    return [replace(problem, hint="; ".join(filter(None, [problem.hint, arm]))) for problem in found]


def _check_starts(spec: StudySpec, problems: Mistakes) -> None:
    """Start every arm's optimizer once: what does not fit the study is said now."""
    for index, arm in enumerate(spec.arms):
        found = Mistakes()
        try:
            arm.optimizer.start(spec.problem(spec.seeds[0], arm))
        except OptionError as error:
            found.add_option(f"arms[{index}]", error)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"the optimizer cannot start: {type(error).__name__}: {error}; {frame.filename}, line {frame.lineno}"
            found.add(f"arms[{index}]", what)
        problems += _named(found, arm.label)


def _comparison(tables: Mapping[str, Any], metrics: list[str] | None, problems: Mistakes) -> Comparison | None:
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
