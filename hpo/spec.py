"""A study, validated and frozen: what `load_study` makes of a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from annotated_types import Gt, Lt

from hpo import protocols
from hpo.protocols import OptimizerOptions, Task
from hpo.seeding import Streams
from hpo.segments import HParams
from hpo.space import SearchSpace


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
        task_modules: the modules that register it and other plug-ins, where the study names some.
        task: the task with its options.
        space: the task's search space, with the study's overrides.
        arms: in the order of the file.
        comparison: None where the study compares nothing.
        document: the study as written: plain JSON values, no defaults filled in.
        search_path: the folders in which `task_modules` are looked for.
        identity: what makes the task this task: its options, data and code as they were loaded.
    """

    name: str
    seeds: tuple[int, ...]
    population_size: int
    budget: Fraction
    interval: Fraction
    intervals: int
    initial: tuple[HParams, ...]
    task_name: str
    task_modules: tuple[str, ...]
    task: Task[Any]
    space: SearchSpace
    arms: tuple[Arm, ...]
    comparison: Comparison | None
    document: Mapping[str, Any]
    search_path: tuple[str, ...]
    identity: Mapping[str, Any]

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


def plain(value: Any) -> Any:
    """Return a document of nested mappings and sequences as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
