"""`hpo.ask_tell`: an optimizer for a training loop of your own."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Ge, Le

from hpo.core import options, registry
from hpo.core.errors import OptionError, SpecError
from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.options import Mistakes
from hpo.core.parameters import Parameter
from hpo.core.seeding import Streams
from hpo.core.space import Rule
from hpo.core.task import Direction
from hpo.engine.asking import AskTell
from hpo.engine.trials_file import TrialsFile
from hpo.study.arms_table import MOST, Seed, arm_table, read_arm
from hpo.study.spec import Arm
from hpo.study.task_table import search_space

Count = Annotated[int, Ge(1), Le(MOST)]
_OF_STUDIES = ("label", "without", "derived_from", "replay")
"""Keys of an arm that have no meaning outside a study."""


@dataclass(frozen=True)
class _Size:
    """How much a search may train."""

    seed: Seed
    direction: Direction
    intervals: Count
    trials: Count | None
    population_size: Count | None

    def __post_init__(self) -> None:
        if self.trials is not None and self.population_size is not None:
            raise OptionError("trials", self.trials, "either trials or population_size, not both")
        if self.intervals > 1 and self.population_size is None:
            allowed = f"a whole number of at least 1, instead of trials, with intervals = {self.intervals}"
            raise OptionError("population_size", None, allowed)

    @property
    def members(self) -> int:
        return self.population_size or self.trials or 100


def ask_tell(
    space: Mapping[str, Parameter],
    *,
    feasible: Rule | None = None,
    optimizer: str | Mapping[str, Any] | OptimizerOptions = "tpe",
    seed: int = 0,
    direction: Direction = "minimize",
    trials: int | None = None,
    population_size: int | None = None,
    intervals: int = 1,
    concurrency: int | None = None,
    file: str | Path | None = None,
) -> AskTell:
    """Return a search for a training loop of your own: it says what to train, and you say what came out.

    The same arguments and values give the same trials, which are also those of an arm of a study.

    Args:
        space: the hyperparameters by name.
        feasible: a rule across them: says whether active hyperparameters may be tried together; nothing else is asked for.
        optimizer: a registered optimizer or sampler by name; or a table as in a study file, `{"optimizer": "tpe", "initial": 10}`;
            or its options as an object. Durations are in intervals; the `perturbation_interval` of `pbt` is 1 by default.
        seed: of the search.
        direction: whether a low or a high value is good.
        trials: how many there are, with one interval each; 100 by default.
        population_size: with more than one interval, the number of trials that the budget trains to the end. An optimizer that
            stops some of them starts further ones.
        intervals: how often a trial is trained and evaluated, at most.
        concurrency: how many trials can be open at the same time; by default the optimizer's own choice, as in a study. With
            1, each proposal knows the values of all trials before it.
        file: keeps the finished trials. The same call goes on from there, also with more `trials`. None: nothing is kept.

    Raises:
        InputError: an argument is wrong; or the file is in use, is damaged, or belongs to another search.
        ReplayMismatch: the optimizer no longer asks for the trials in the file.
    """
    problems = Mistakes()
    found = search_space(space, problems, feasible)
    given = {"seed": seed, "direction": direction, "intervals": intervals, "trials": trials}
    size = options.build(_Size, {**given, "population_size": population_size}, "", problems)
    arm = _arm(arm_table(optimizer), concurrency, size, problems)
    if found is None or size is None or arm is None or problems:
        raise SpecError("hpo.ask_tell", problems)
    problem = Problem(
        space=found,
        population_size=size.members,
        intervals=size.intervals,
        interval=Fraction(1),
        unit="intervals",
        streams=Streams(size.seed, arm.stream),
        concurrency=arm.concurrency,
        direction=size.direction,
    )
    try:
        running = arm.optimizer.start(problem)
    except OptionError as error:
        problems.add(error.option, f"allowed: {error.allowed}", error.given)
        raise SpecError("hpo.ask_tell", problems) from error
    opened = None if file is None else TrialsFile(Path(file), _identity(problem, arm, concurrency))
    return AskTell(problem, running, opened)


def _arm(table: dict[str, Any], concurrency: int | None, size: _Size | None, problems: Mistakes) -> Arm | None:
    """Return the optimizer as an arm of a study."""
    if table.get("optimizer") == "pbt" and size is not None and size.intervals == 1:
        allowed = (
            "allowed: at least 2 for pbt, in which members copy each other between intervals; pass population_size too"
        )
        problems.add("intervals", allowed, size.intervals)
    for name in _OF_STUDIES:
        if name in table:
            problems.add(name, "not allowed here: it is for an arm of a study", table[name])
    if problems:
        return None
    given = {} if concurrency is None else {"concurrency": concurrency}
    wrong = Mistakes()
    arm = read_arm({"label": "optimizer", **table, **given}, "arm", None if size is None else size.members, None, wrong)
    problems += [replace(mistake, key=mistake.key.removeprefix("arm.")) for mistake in wrong]
    return arm if isinstance(arm, Arm) else None


def _identity(problem: Problem, arm: Arm, concurrency: int | None) -> dict[str, Any]:
    """Return what determines the trials; more trials with one interval each change none of the others."""
    size = {} if problem.intervals == 1 else {"population_size": problem.population_size}
    return {
        "search_space": problem.space.to_json(),
        "optimizer": {"optimizer": arm.optimizer_name, **registry.to_table(arm.optimizer)},
        "seed": problem.streams.seed,
        "stream": arm.stream,
        "direction": problem.direction,
        "intervals": problem.intervals,
        "concurrency": concurrency,
        **size,
    }
