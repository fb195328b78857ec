"""The schema of results.json as records.

`hpo.results.file` reads and writes them. The statistics are the records of `hpo.statistics`, so a field added there is also in
the file.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal, NotRequired

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MinLen
from numpy.typing import NDArray
from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    WrapSerializer,
    WrapValidator,
    with_config,
)
from typing_extensions import TypedDict  # of which pydantic knows the fields on Python 3.11, too

from hpo.core.derived_arms import Replay
from hpo.core.errors import OptionError, SpecError
from hpo.core.options import Mistakes, read_parameter
from hpo.core.run_files import Label, StudyName
from hpo.core.seeding import LARGEST_STREAM
from hpo.core.segments import SHRINK_PERTURB, Step
from hpo.core.space import SearchSpace, mistakes
from hpo.core.task import Direction, Metric
from hpo.statistics import (
    AnytimeResult,
    BudgetEquivalence,
    Crossed,
    ManyComparison,
    NestedVariance,
    NoiseFloor,
    PairedComparison,
    Reach,
    TimeToTarget,
    Verdict,
)
from hpo.statistics.decision import Looked

SCHEMA_VERSION = 4
READABLE = (3, SCHEMA_VERSION)
"""Versions that can be read. A file of version 3 has counts of PBT for every arm, 0 where the optimizer counts nothing."""
RECOMPUTABLE = (2, *READABLE)
"""Versions whose replicates can be read, so that their statistics can be recomputed."""

_MOST = 2**53
Count = Annotated[int, Ge(0), Le(_MOST)]
Seed = Annotated[int, Ge(0), Le(LARGEST_STREAM)]
Measurement = float | None
"""A number, or None if it is undefined: JSON has no NaN."""
Metrics = dict[str, Annotated[int, Ge(-_MOST), Le(_MOST)] | float | None]
Table = dict[str, Any]

STRICT = ConfigDict(strict=True, allow_inf_nan=False)


# --- the study -----------------------------------------------------------------------------------------------------------


@with_config(ConfigDict(extra="allow", **STRICT))
class StudyTable(TypedDict):
    """The part of a study file's table `[study]` that is read here."""

    name: StudyName
    population_size: NotRequired[Annotated[int, Ge(1), Le(_MOST)]]
    trials: NotRequired[Annotated[int, Ge(1), Le(_MOST)]]


@with_config(ConfigDict(extra="allow", **STRICT))
class StudyDocument(TypedDict):
    """A study file."""

    study: StudyTable


@dataclass(frozen=True)
class TaskRecord:
    """The task.

    Args:
        name: of the task.
        unit: of its budget.
        primary: the metric that searches optimise.
        metrics: all declared metrics.
        search_space: complete, in the form of `[task.search_space]`.
        data: numbers of examples by part; None for a task without data.
        fingerprint: of the development data; None for a task without data.
    """

    name: str
    unit: str
    primary: str
    metrics: Annotated[tuple[Metric, ...], MinLen(1)]
    search_space: dict[str, Table]
    data: dict[str, Count] | None
    fingerprint: str | None

    @cached_property
    def space(self) -> SearchSpace:
        """The search space.

        Raises:
            SpecError: it is invalid.
        """
        key, problems = "task.search_space", Mistakes()
        read = {name: read_parameter(entry, f"{key}.{name}", problems) for name, entry in self.search_space.items()}
        parameters = {name: parameter for name, parameter in read.items() if parameter is not None}
        for error in mistakes(parameters) if not problems else ():
            problems.add_option(key, error)
        if problems:
            raise SpecError("results.json", problems)
        return SearchSpace(parameters)

    def metric(self, name: str) -> Metric:
        """Return the metric with this name."""
        return next(metric for metric in self.metrics if metric.name == name)

    def examples(self, part: str) -> int | None:
        """Return the number of examples of a part of the data, or None if the task has no such part."""
        return (self.data or {}).get(part)


@dataclass(frozen=True)
class Environment:
    """The environment, which may differ between machines.

    Args:
        versions: of Python and libraries.
        numerics: the numerics fingerprint.
        commit: of the checkout; None for an installed package.
    """

    versions: dict[str, str]
    numerics: dict[str, str]
    commit: str | None


@dataclass(frozen=True)
class ArmSettings:
    """One configured optimizer, all defaults filled in; see `hpo.study.spec.Arm`."""

    label: Label
    optimizer: str
    options: Table
    stream: Seed
    concurrency: Count
    without: tuple[str, ...]
    derived_from: str | None
    replay: Replay | None

    @property
    def select(self) -> object:
        """The rule by which the arm's answer is chosen."""
        return self.options.get("select", "final")


@dataclass(frozen=True)
class DecisionRule:
    """The study's comparison with all defaults filled in; see `hpo.study.spec.Comparison`."""

    baseline: str
    metric: str
    direction: Direction
    alpha: Annotated[float, Gt(0), Lt(1)]
    rope: Annotated[float, Gt(0)] | None
    target: float | None
    stopping: Literal["fixed", "anytime"]

    @property
    def anytime(self) -> bool:
        """Whether replicates are added until the comparison is decided."""
        return self.stopping == "anytime"


@dataclass(frozen=True)
class AfterLooking:
    """Why the plan in force is exploratory."""

    kind: Looked
    why: str


@dataclass(frozen=True)
class PlanChange:
    """A change of the plan, and for how many models the test set had been opened by then."""

    tests_opened: Count
    changes: tuple[str, ...]


@dataclass(frozen=True)
class RegisteredPlan:
    """The plan as it was when the study began, and its changes.

    Args:
        exploratory: why the plan in force allows no verdict; None if it allows one.
        plan: `comparison`, `seeds` and `arms`.
        sha256: of the plan, as `json.dumps(plan, sort_keys=True)` writes it.
        amendments: the changes, in order.
    """

    exploratory: AfterLooking | None
    plan: Table
    sha256: str
    amendments: tuple[PlanChange, ...]


# --- the replicates ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Selected:
    """The segment whose lineage is an arm's answer."""

    member: Count
    interval: Count


@dataclass(frozen=True)
class Correctness:
    """Which test examples each retrained model classifies correctly.

    Args:
        count: of examples.
        bits: a base64 text per model, eight examples to a byte, the first one in the highest bit.
    """

    count: Count
    bits: Annotated[tuple[str, ...], MinLen(1)]

    @staticmethod
    def of(rows: Sequence[NDArray[np.bool_]]) -> "Correctness":
        """Pack one row per model."""
        packed = tuple(base64.b64encode(np.packbits(row).tobytes()).decode("ascii") for row in rows)
        return Correctness(len(rows[0]), packed)

    def rows(self) -> NDArray[np.bool_]:
        """Return the unpacked booleans, shape (models, examples)."""
        packed = np.stack([np.frombuffer(base64.b64decode(bits), np.uint8) for bits in self.bits])
        return np.unpackbits(packed, axis=1, count=self.count).astype(np.bool_)


def _whole(correct: Correctness) -> Correctness:
    try:
        sizes = {len(base64.b64decode(bits, validate=True)) for bits in correct.bits}
    except (binascii.Error, ValueError):
        raise ValueError("bits in base64") from None
    if sizes != {-(-correct.count // 8)}:
        raise ValueError(f"bits of {correct.count} examples, eight to a byte")
    return correct


def _read_step(given: Any, read: ValidatorFunctionWrapHandler) -> Any:
    transform = given.get("transform") if isinstance(given, dict) else None
    if isinstance(transform, dict):
        if transform.get("name") != SHRINK_PERTURB:
            raise ValueError(f"a step with a transform whose name is {SHRINK_PERTURB}")
        given = given | {"transform": {name: value for name, value in transform.items() if name != "name"}}
    try:
        return read(given)
    except OptionError as error:
        raise ValueError(f"a step with a transform whose {error.option} is {error.allowed}") from None


def _written_step(step: Step, write: SerializerFunctionWrapHandler) -> Any:
    """Return a step as in the file, where one without a transform has no such field."""
    found = write(step)
    if step.transform is None:
        del found["transform"]
    else:
        found["transform"] = step.transform.to_json()
    return found


class ArmResult(BaseModel):
    """The results of one arm in one replicate; docs/reference/results.md describes the fields.

    The counts of its optimizer are further fields of the file.
    """

    model_config = ConfigDict(frozen=True, extra="allow", **STRICT)
    __pydantic_extra__: dict[str, Count] = Field(init=False)

    validation: Metrics
    test: Metrics
    tests: Annotated[tuple[Metrics, ...], MinLen(1)]
    test_diverged: bool
    selected: Selected
    schedule: Annotated[
        tuple[Annotated[Step, WrapValidator(_read_step), WrapSerializer(_written_step)], ...], MinLen(1)
    ]
    charged_intervals: Count
    computed_intervals: Count
    optimizer_steps: Count | None
    examples: Count | None
    evaluations: Count
    retrained_intervals: Count
    retrains: Count
    diverged: Count
    exploits: Count
    test_openings: Count
    incumbent: tuple[Measurement, ...]
    finals: tuple[Measurement, ...]
    correct: Annotated[Correctness, AfterValidator(_whole)] | None

    @property
    def counts(self) -> dict[str, int]:
        """The optimizer's own counts: the entries of `Optimizer.counts`."""
        return self.__pydantic_extra__


@dataclass(frozen=True)
class Replicate:
    """One finished seed.

    Args:
        seed: the replicate's seed.
        population_hash: a digest of the task, the seed and the initial hyperparameters of all members.
        arms: by label, every arm of the study.
    """

    seed: Seed
    population_hash: str
    arms: dict[Label, ArmResult]


# --- the statistics ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ExampleNumbers:
    """Comparisons based on the correctness of every test example."""

    crossed: Crossed
    noise_floor: NoiseFloor


@dataclass(frozen=True)
class IncumbentBand:
    """The difference of the incumbents' validation metric over the budget, with its simultaneous band.

    Args:
        budgets: intervals charged.
        mean: the difference at each budget, arm - baseline; so are `low` and `high`, None if unbounded.
        p: adjusted for all budgets.
        better_from: the budget from which the arm is better; None if there is none, or the verdict is not "better".
        worse_from: the budget from which the arm is worse; None if there is none, or the verdict is not "worse".
        alpha: of the study.
        family: the number of arms compared with the baseline: the band's level is 1 - alpha / family.
    """

    budgets: tuple[Count, ...]
    mean: tuple[Measurement, ...]
    low: tuple[Measurement, ...]
    high: tuple[Measurement, ...]
    p: tuple[Measurement, ...]
    better_from: Count | None
    worse_from: Count | None
    alpha: Annotated[float, Gt(0), Lt(1)]
    family: Annotated[int, Ge(1), Le(_MOST)]

    @property
    def confidence(self) -> str:
        """The band's level, for example ``97.5%``."""
        return f"{100 * (1 - self.alpha / self.family):.4g}%"


@dataclass(frozen=True)
class PoolEquivalence(BudgetEquivalence):
    """The budget at which the arm `pool_arm`, a random search, would be as good as the arm `arm`."""

    pool_arm: str
    arm: str


@dataclass(frozen=True)
class ArmComparison:
    """One arm against the baseline on the test set; differences are arm - baseline.

    Args:
        baseline, arm, metric: the two arms, and the metric that is compared.
        n: the number of pairs; 0 if a test value is undefined.
        differences: in the order of the replicates.
        mean: of the differences.
        verdict: the conclusion.
        variance, p_sign_flip, ci_low, ci_high, p_t, d_z: as in `numbers`.
        p_holm, p_tost_holm, level: as in `verdict`.
        numbers: the statistics of the pairs. They and the fields above are None unless the number of pairs was fixed and all are
            there.
        power: which effects this number of pairs can detect.
        images: from the correctness of every test example; None if the task does not report it.
        incumbent: the difference along the budget.
        budget_equivalence: None if neither arm is a random search.
        anytime: the anytime-valid test; None if the number of pairs is fixed.
    """

    baseline: str
    arm: str
    metric: str
    n: Count
    differences: tuple[float, ...]
    mean: Measurement
    verdict: Verdict
    variance: Measurement = None
    p_sign_flip: Measurement = None
    ci_low: Measurement = None
    ci_high: Measurement = None
    p_t: Measurement = None
    d_z: Measurement = None
    p_holm: Measurement = None
    p_tost_holm: Measurement = None
    level: Measurement = None
    numbers: PairedComparison | None = None
    power: Reach | None = None
    images: ExampleNumbers | None = None
    incumbent: IncumbentBand | None = None
    budget_equivalence: PoolEquivalence | None = None
    anytime: AnytimeResult | None = None

    @property
    def exploratory(self) -> bool:
        """Whether the plan was extended or changed after a test result was seen, so that its p values decide nothing."""
        return self.verdict.kind.endswith("after looking")


@dataclass(frozen=True)
class TargetTimes:
    """When each arm's incumbent reached the plan's target, a value of the validation metric."""

    target: float
    arms: dict[str, TimeToTarget]


# --- the whole file ------------------------------------------------------------------------------------------------------


MOST_POINTS = 100
"""The most points of a function's incumbent curve."""


def budgets(population_size: int, intervals: int, *, function: bool) -> tuple[int, ...]:
    """Return the intervals charged at each point of an incumbent curve.

    There is one point for each interval per member; for each trial of a function, or for 100 of them, evenly spaced.
    """
    if not function:
        return tuple(population_size * (point + 1) for point in range(intervals))
    points = min(population_size, MOST_POINTS)
    return tuple(population_size * (point + 1) // points for point in range(points))


@dataclass(frozen=True)
class Evidence:
    """The input of the statistics: the plan, and the replicates in the order of their seeds.

    Args:
        schema_version: of the file.
        study: the study file, without defaults filled in.
        task: the task.
        environment: may differ between machines.
        planned_seeds: of the study.
        intervals: the budget of one member.
        interval: the length of an interval, in the task's unit.
        retrains: how often each answer is retrained in a replicate.
        arms: in the study's order.
        registration: the registered plan; None if nothing is compared.
        comparison: the comparison to decide; None if nothing is compared.
        replicates: the finished replicates.
    """

    __pydantic_config__ = STRICT

    schema_version: int
    study: StudyDocument
    task: TaskRecord
    environment: Environment
    planned_seeds: tuple[Seed, ...]
    intervals: Annotated[int, Ge(1), Le(1_000_000)]
    interval: Annotated[float, Gt(0)]
    retrains: Count
    arms: Annotated[tuple[ArmSettings, ...], MinLen(1)]
    registration: RegisteredPlan | None
    comparison: DecisionRule | None
    replicates: tuple[Replicate, ...]

    @property
    def name(self) -> str:
        """The study's."""
        return self.study["study"]["name"]

    @property
    def population_size(self) -> int:
        """The number of members of the initial population; of a function, the number of trials."""
        table = self.study["study"]
        return table["trials"] if "trials" in table else table["population_size"]

    @property
    def budgets(self) -> tuple[int, ...]:
        """The intervals charged at each point of the incumbent curves; see `budgets`."""
        return budgets(self.population_size, self.intervals, function=self.is_function)

    @property
    def is_function(self) -> bool:
        """Whether the task is a function, which a trial calls once."""
        return "trials" in self.study["study"]

    @cached_property
    def tested(self) -> bool:
        """Whether answers are retrained and tested. Without a test set the metrics of the best answer are the result."""
        arms = [arm for replicate in self.replicates for arm in replicate.arms.values()]
        return not self.is_function and (not arms or any(arm.test_openings for arm in arms))

    @property
    def scored(self) -> str:
        """Which value of an answer the results hold, as in "test error"."""
        return "test" if self.tested else "best"

    @property
    def validated(self) -> str:
        """What a search's own metric is measured on, as in "validation error"; empty for a function, which has no splits."""
        return "" if self.is_function else "validation "

    @property
    def labels(self) -> tuple[str, ...]:
        """Of all arms."""
        return tuple(arm.label for arm in self.arms)

    @property
    def finished_seeds(self) -> tuple[int, ...]:
        """The seeds of the finished replicates, in their order."""
        return tuple(replicate.seed for replicate in self.replicates)


@dataclass(frozen=True)
class Statistics:
    """The statistics of a study.

    Args:
        comparisons: of every arm with the baseline.
        several: the comparison of all arms with each other; None for fewer than three.
        retraining: by arm, the variance between and within searches; None with one retrain.
        time_to_target: None if the study states no target.
        mean_ranks_over_budget: by arm, at each budget.
    """

    comparisons: tuple[ArmComparison, ...] = ()
    several: ManyComparison | None = None
    retraining: dict[str, NestedVariance | None] | None = None
    time_to_target: TargetTimes | None = None
    mean_ranks_over_budget: dict[str, tuple[float, ...]] | None = None


@dataclass(frozen=True)
class Unfinished:
    """How far an arm is in a replicate that has begun and is not finished.

    Args:
        seed: the replicate's seed.
        arm: the arm's label.
        charged_intervals: of the search so far.
        incumbent: the best validation value of the primary metric so far; None before the first finite one.
    """

    seed: Seed
    arm: Label
    charged_intervals: Count
    incumbent: Measurement


@dataclass(frozen=True)
class Results(Statistics, Evidence):
    """The content of results.json.

    Args:
        unfinished: the replicates that the last session began and has not finished; not in the file if there are none.
    """

    unfinished: tuple[Unfinished, ...] = ()

    @property
    def metric(self) -> str:
        """The metric compared on the test set: the plan's, or else the task's primary metric."""
        return self.comparison.metric if self.comparison else self.task.primary

    @property
    def baseline(self) -> str | None:
        """The label of the baseline; None if nothing is compared."""
        return self.comparison.baseline if self.comparison else None

    @property
    def anytime(self) -> bool:
        """Whether replicates are added until the comparison is decided."""
        return self.comparison is not None and self.comparison.anytime

    @property
    def confidence(self) -> str:
        """The level of the intervals, for example ``95%``."""
        return f"{100 * (1 - (self.comparison.alpha if self.comparison else 0.05)):.6g}%"

    @property
    def exploratory(self) -> bool:
        """Whether the plan was extended or changed after a test result was seen."""
        return any(comparison.exploratory for comparison in self.comparisons)

    @property
    def in_progress(self) -> bool:
        """Whether planned replicates are missing: then no test with a fixed number of pairs may be shown.

        An anytime-valid study is complete as soon as it is decided, even with fewer replicates than its maximum.
        """
        missing = len(self.replicates) < len(self.planned_seeds)
        if self.anytime and self.comparisons:
            return missing and any(comparison.verdict.kind == "in progress" for comparison in self.comparisons)
        return missing


# --- execution.json ------------------------------------------------------------------------------------------------------


Session = dict[str, int | float | str | None]
"""One session over a run directory; docs/reference/results.md describes the entries."""


@dataclass(frozen=True)
class Executions:
    """The content of execution.json: the cost of each session over a run directory, and the size of the checkpoint files.

    Older versions of hpo wrote `sittings` instead of `sessions`.
    """

    __pydantic_config__ = STRICT

    sessions: Annotated[tuple[Session, ...], Field(validation_alias=AliasChoices("sessions", "sittings"))]
    checkpoint_bytes: Count = 0
