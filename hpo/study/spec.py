"""A validated, frozen study: the result of `load_study`."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Annotated, Any, Literal

from annotated_types import Gt, Le, Lt

from hpo.core import optimizer
from hpo.core.derived_arms import Replay
from hpo.core.errors import OptionError
from hpo.core.optimizer import OptimizerOptions
from hpo.core.seeding import Streams
from hpo.core.segments import HParams
from hpo.core.space import SearchSpace
from hpo.core.task import Direction, Task
from hpo.study.bound import BoundTask


@dataclass(frozen=True)
class Arm:
    """One configured optimizer of a study.

    Args:
        label: its name in the report; never enters a random stream.
        optimizer_name: the registered name.
        optimizer: the options.
        concurrency: virtual workers.
        stream: arms with the same stream draw the same noise.
        without: optional hyperparameters of the study that this arm does not search: they keep the task's default.
        derived_from: the label of the arm whose answer this one retrains in another way; its search is that arm's, and so are
            all entries above except the label. None: a search of its own.
        replay: how a derived arm is retrained.
    """

    label: str
    optimizer_name: str
    optimizer: OptimizerOptions
    concurrency: int
    stream: int = 0
    without: tuple[str, ...] = ()
    derived_from: str | None = None
    replay: Replay | None = None


@dataclass(frozen=True)
class Comparison:
    """What the study decides, written down before the data.

    Args:
        baseline: the label of the arm with which the others are compared.
        metric: one of the task's metrics, on the test set.
        direction: whether a small or a large metric is good; must agree with the task.
        alpha: the level of the test.
        rope: the region of practical equivalence is (-rope, +rope), in the metric's unit; without it, nothing is called equivalent.
        target: a value of the primary metric on the validation part; the report shows when each arm reaches it.
        planned_seeds: the number of the study's seeds, stated a second time to detect slips.
        stopping: `fixed`: test once, when all planned replicates are done; `anytime`: add replicates, in the order of their seeds,
            until the anytime-valid test decides.
        max_replicates: where `anytime` gives up.
    """

    baseline: str
    metric: str
    direction: Direction | None = None
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05
    rope: Annotated[float, Gt(0)] | None = None
    target: float | None = None
    planned_seeds: Annotated[int, Gt(0)] | None = None
    stopping: Literal["fixed", "anytime"] = "fixed"
    max_replicates: Annotated[int, Gt(0), Le(1_000_000)] | None = None

    def __post_init__(self) -> None:
        if self.max_replicates is not None and self.stopping != "anytime":
            raise OptionError("max_replicates", self.max_replicates, 'only with stopping = "anytime"')
        if self.planned_seeds is not None and self.stopping == "anytime":
            allowed = 'only with stopping = "fixed"; use max_replicates with stopping = "anytime"'
            raise OptionError("planned_seeds", self.planned_seeds, allowed)


@dataclass(frozen=True)
class StudySpec:
    """A study file, validated.

    Args:
        name: the study's name, and that of its run directory.
        seeds: one per replicate.
        population_size: the number of members of the initial population.
        budget: the budget of one member, in the task's unit.
        interval: the length between two evaluations, in the task's unit.
        intervals: budget / interval.
        initial: hyperparameters of the first slots, instead of draws from the prior.
        retrains: how often each arm's best lineage is retrained within a replicate; the tests are averaged.
        bound: the task with its options, modules and search space.
        arms: in the order of the file.
        comparison: None if the study compares nothing.
        document: the study as written: plain JSON values without defaults.
    """

    name: str
    seeds: tuple[int, ...]
    population_size: int
    budget: Fraction
    interval: Fraction
    intervals: int
    initial: tuple[HParams, ...]
    retrains: int
    bound: BoundTask
    arms: tuple[Arm, ...]
    comparison: Comparison | None
    document: Mapping[str, Any]

    def __repr__(self) -> str:
        arms = ", ".join(arm.label for arm in self.arms)
        return f"StudySpec({self.name!r}: task {self.bound.name!r}, arms {arms}, {len(self.seeds)} seeds)"

    @property
    def task(self) -> Task[Any]:
        """The task with its options."""
        return self.bound.task

    @property
    def space(self) -> SearchSpace:
        """The task's search space, as the study has it."""
        return self.bound.space

    def problem(self, seed: int, arm: Arm) -> optimizer.Problem:
        """Return the problem of an arm's optimizer in the replicate of a seed."""
        space, prior = self.space, None
        if arm.without:
            # The whole space is drawn and the rest dropped, so that what the arms have in common is paired.
            kept = {name: found for name, found in self.space.items() if name not in arm.without}
            space = replace(self.space, parameters=kept)
            prior = self.space
        return optimizer.Problem(
            space=space,
            population_size=self.population_size,
            intervals=self.intervals,
            interval=self.interval,
            unit=self.task.unit,
            streams=Streams(seed, arm.stream),
            concurrency=arm.concurrency,
            initial=self.initial,
            prior=prior,
            direction=self.task.metrics[0].direction,
            transforms=self.task.transforms,
        )

    def retrains_of(self, arm: Arm) -> int:
        """Return how often an arm's best lineage is retrained in one replicate; never if the search's own model is the answer."""
        return 0 if arm.replay == "inherited_weights" or not self.task.tested else self.retrains

    def tests_of(self, arm: Arm) -> int:
        """Return how many models of an arm are tested in one replicate; none if the task has no test set."""
        return max(1, self.retrains_of(arm)) if self.task.tested else 0


def plain(value: Any) -> Any:
    """Return a document of nested mappings and sequences as plain dicts and lists."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
