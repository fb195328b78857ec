"""The `[[arms]]` tables of a study file: configured optimizers, and arms derived from their answers."""

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import AfterValidator

from hpo.core import options, registry
from hpo.core.derived_arms import Replay
from hpo.core.errors import Mistake, OptionError, did_you_mean
from hpo.core.optimizer import OptimizerOptions
from hpo.core.options import Mistakes
from hpo.core.run_files import Label
from hpo.core.seeding import LARGEST_STREAM
from hpo.study.bound import BoundTask
from hpo.study.spec import Arm, StudySpec

MOST = 1_000_000
"""The largest count in a study file."""
_DRAWS = 32
"""Members for which a rule is tried before a study starts."""
Seed = Annotated[int, Ge(0), Le(LARGEST_STREAM)]


def _distinct(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names that are all different")
    return names


@dataclass(frozen=True)
class ArmTable:
    """The keys of every arm's table, apart from its optimizer and the optimizer's options."""

    label: Label
    concurrency: Annotated[int, Ge(1), Le(MOST)] | None = None
    stream: Seed = 0
    without: Annotated[tuple[str, ...], AfterValidator(_distinct)] = ()
    derived_from: str | None = None
    replay: Replay | None = None


_DERIVED = ("label", "derived_from", "replay")
_OWN = ("label", "optimizer", "concurrency", "stream", "without")


def read_arms(
    tables: Mapping[str, Any], population_size: int | None, found: BoundTask | None, problems: Mistakes
) -> tuple[Arm, ...]:
    """Return the arms of `[[arms]]`, in order, without those that have mistakes.

    Args:
        tables: the study file.
        population_size: the study's; None if it is invalid.
        found: the study's task; None if it is invalid.
        problems: collects all mistakes.
    """
    given = tables.get("arms")
    if not isinstance(given, (list, tuple)) or not given:
        if given is None:
            problems.add("arms", "missing; required: at least one table [[arms]] with a label and an optimizer")
        else:
            problems.add("arms", "allowed: one table [[arms]] (two brackets) for each arm, at least one", given)
        return ()
    searches: dict[str, Arm | None] = {}
    """The arms with an optimizer, by label; None for an arm with a mistake."""
    read: list[Arm | ArmTable | None] = []
    notes: list[Mistakes] = []
    seen: dict[str, int] = {}
    for index, item in enumerate(given):
        key, wrong = f"arms[{index}]", Mistakes()
        table = options.as_table(item, key, wrong)
        label = None if table is None else table.get("label")
        arm = None if table is None else read_arm(table, key, population_size, found, wrong)
        if isinstance(label, str):
            if seen.setdefault(label, index) != index:
                wrong.add(
                    f"{key}.label", f"allowed: a label that no other arm has; arms[{seen[label]}] has this one", label
                )
            elif table is not None and not _is_derived(item):
                searches[label] = arm if isinstance(arm, Arm) else None
        read.append(arm)
        notes.append(wrong)
    arms = []
    for index, arm in enumerate(read):
        if isinstance(arm, ArmTable):
            arm = _derived(arm, f"arms[{index}].derived_from", searches, notes[index])
        problems += _named(notes[index], given[index])
        if arm is not None:
            arms.append(arm)
    return tuple(arms)


def arm_table(optimizer: str | Mapping[str, Any] | OptimizerOptions) -> dict[str, Any]:
    """Return an optimizer that was given by name, as a table or as its options, as an arm's table without a label.

    Raises:
        OptionError: it is something else, or its class is not registered.
    """
    if isinstance(optimizer, str):
        return {"optimizer": optimizer}
    if isinstance(optimizer, Mapping):
        return dict(optimizer)
    name = registry.optimizers.find(optimizer)
    if name is None:
        raise OptionError("optimizer", optimizer, "a name, a table, or the options of a registered optimizer")
    return {"optimizer": name, **registry.to_table(optimizer)}


def _is_derived(table: Mapping[str, Any]) -> bool:
    return "derived_from" in table or "replay" in table


def read_arm(
    table: dict[str, Any], key: str, population_size: int | None, found: BoundTask | None, problems: Mistakes
) -> Arm | ArmTable | None:
    """Return an arm, or only the table of a derived arm, because its source may come after it; None if it has mistakes.

    Args:
        table: the arm's own; it is emptied.
        key: its key, for messages.
        population_size: the study's; None if it is invalid.
        found: the study's task; None if it is invalid, or if there is none.
        problems: collects all mistakes.
    """
    own = {name: table.pop(name) for name in options.field_names(ArmTable) if name in table}
    if _is_derived(own):
        return _derived_table(own | table, key, problems)
    base = options.build(ArmTable, own, key, problems)
    name = _unaliased(table, key, problems)
    cls = options.plugin_class(registry.optimizers, name, f"{key}.optimizer", problems)
    if cls is None:
        return None
    optimizer = options.build(cls, table, key, problems, also=_OWN)
    if base is None or optimizer is None:
        return None
    if found is not None:
        _check_without(base.without, key, found, problems)
    if population_size is None:
        return None
    concurrency = base.concurrency
    if concurrency is None:
        concurrency = optimizer.default_concurrency(population_size)
    return Arm(base.label, str(name), optimizer, concurrency, base.stream, base.without)


def _unaliased(table: dict[str, Any], key: str, problems: Mistakes) -> object:
    """Remove the optimizer's name from an arm's table and return it.

    A sampler's name means `optuna` with that sampler, whose options may be in the arm's table.
    """
    name = table.pop("optimizer", None)
    if name not in registry.samplers.names() or name in registry.optimizers.names():
        return name
    if "sampler" in table:
        problems.add(f"{key}.sampler", f'not allowed with optimizer = "{name}", which is a sampler', table["sampler"])
    own = options.field_names(registry.samplers.get(str(name)))
    table["sampler"] = {"name": name} | {option: table.pop(option) for option in own if option in table}
    return "optuna"


def _check_without(without: tuple[str, ...], key: str, found: BoundTask, problems: Mistakes) -> None:
    optional = [name for name in found.space if name in found.task.addable_space]
    for index, name in enumerate(without):
        if name not in optional:
            names = f"one of {', '.join(map(repr, optional))}" if optional else "this study has none"
            allowed = f"allowed: the optional hyperparameters that [task.search_space] adds: {names}"
            problems.add(f"{key}.without[{index}]", allowed, name, did_you_mean(name, optional))
        for other, parameter in found.space.items():
            if name in (parameter.when or ()) and other not in without:
                allowed = (
                    f"allowed: a hyperparameter that controls no others which the arm searches; {name} controls {other}"
                )
                problems.add(f"{key}.without[{index}]", allowed, name)


def _derived_table(table: dict[str, Any], key: str, problems: Mistakes) -> ArmTable | None:
    """Return the table of a derived arm."""
    before = len(problems)
    for name in [name for name in table if name not in _DERIVED]:
        allowed = "not allowed with derived_from and replay: the search is that of the source"
        problems.add(f"{key}.{name}", f"{allowed}; allowed: {', '.join(_DERIVED)}", table.pop(name))
    if "derived_from" not in table:
        problems.add(f"{key}.derived_from", "missing; required with replay: the label of an arm with an optimizer")
    if "replay" not in table:
        allowed = options.describe(Replay)
        problems.add(f"{key}.replay", f"missing; required with derived_from: {allowed}")
    built = options.build(ArmTable, table, key, problems)
    return None if len(problems) > before else built


def _derived(table: ArmTable, key: str, searches: Mapping[str, Arm | None], problems: Mistakes) -> Arm | None:
    """Return a derived arm: its source with another label."""
    assert table.derived_from is not None
    if table.derived_from not in searches:
        labels = ", ".join(map(repr, searches)) or "this study has none"
        allowed = f"allowed: the label of an arm with its own optimizer: {labels}"
        problems.add(key, allowed, table.derived_from, did_you_mean(table.derived_from, searches))
        return None
    source = searches[table.derived_from]
    if source is None:
        return None
    return replace(source, label=table.label, derived_from=table.derived_from, replay=table.replay)


def _named(found: Iterable[Mistake], table: object) -> list[Mistake]:
    """Return an arm's mistakes with the arm's label added to their hints."""
    label = table.get("label") if isinstance(table, Mapping) else None
    if not isinstance(label, str):
        return list(found)
    arm = f"arm {options.shown(label)}"
    return [replace(problem, hint="; ".join(filter(None, [problem.hint, arm]))) for problem in found]


def check_rule(spec: StudySpec, problems: Mistakes) -> None:
    """Apply the rule of the search space to initial members, to report one that fails, or leaves almost nothing."""
    if spec.space.feasible is None:
        return
    for arm in {arm.without: arm for arm in spec.arms}.values():
        problem = spec.problem(spec.seeds[0], arm)
        try:
            for slot, given in enumerate(spec.initial):
                hparams = {name: given[name] for name in problem.space if name in given}
                if not problem.space.is_feasible(hparams):
                    problems.add(f"study.initial[{slot}]", "allowed: hyperparameters that are feasible", hparams)
            for slot in range(len(spec.initial), len(spec.initial) + _DRAWS):
                problem.hparams(slot)
        except OptionError as error:
            problems.add_option("task", error)
            return


def check_starts(spec: StudySpec, problems: Mistakes) -> None:
    """Start every arm's optimizer once, to report options that do not suit the study."""
    for index, arm in enumerate(spec.arms):
        if arm.derived_from is not None:  # its source reports them
            if not spec.task.tested:
                allowed = (
                    "allowed with a test set: a derived arm is its source's answer, retrained in another way and tested"
                )
                problems.add(f"arms[{index}].derived_from", allowed, arm.derived_from)
            continue
        found = Mistakes()
        try:
            arm.optimizer.start(spec.problem(spec.seeds[0], arm))
        except OptionError as error:
            found.add_option(f"arms[{index}]", error)
        except Exception as error:
            frame = traceback.extract_tb(error.__traceback__)[-1]
            what = f"the optimizer cannot start: {type(error).__name__}: {error}; {frame.filename}, line {frame.lineno}"
            found.add(f"arms[{index}]", what)
        problems += _named(found, {"label": arm.label})
