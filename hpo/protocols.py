"""The contracts between the engine and its plug-ins: tasks, optimizers, selections and perturbations.

A plug-in is a small frozen dataclass: its fields are its options, and a study file's table is validated against them
(annotate a field with `Annotated[float, Gt(0), Le(1)]` to narrow it). It is registered under a name
(`hpo.registry`) and nothing else is edited.
"""

import copy
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hpo.errors import HpoError, OptionError
from hpo.seeding import Streams
from hpo.segments import HParams, Key, Result, Segment
from hpo.space import Bounds, SearchSpace

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

State = TypeVar("State")
Direction = Literal["minimize", "maximize"]
Indices = NDArray[np.int64]
BoundsOf = Callable[[str], Bounds | None]
"""What happens to a hyperparameter that passed a bound, by its name; None: it never does."""


# --- tasks -----------------------------------------------------------------------------------------------------------


class Diverged(HpoError):
    """A task may raise this from `train` or `evaluate` to say at once that its state is no longer finite."""


@dataclass(frozen=True)
class Metric:
    """A number that `evaluate` gives.

    Args:
        name: its key in the evaluation's metrics.
        direction: which way is better.
        complement: the name under which figures plot 1 - value, as percent (`accuracy` for `error`).
        counts: the name of the integer metric that this one is a rate of, over `count`; exact tests use the counts.
        worst: what a diverged model scores; None where there is no such value.
    """

    name: str
    direction: Direction = "minimize"
    complement: str | None = None
    counts: str | None = None
    worst: float | None = None

    @property
    def is_rate(self) -> bool:
        """Whether it lies between 0 and 1, and is shown as percent."""
        return self.complement is not None or self.counts is not None

    def oriented(self, value: float) -> float:
        """Return the value so that larger is better."""
        return value if self.direction == "maximize" else -value


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Args:
        metrics: numbers by name; the task's declared metrics are among them. With a metric that names its `counts`, the count
            and `count`, the number that it is out of, are among them, too, where there are any.
        correct: for each example, in the order of the data, whether it was right; None where that means nothing.

    The engine checks it: a value that is no single number, a count that contradicts its rate, and `correct` that has another length
    than the data, or contradicts the count, stop the study at the segment.
    """

    metrics: Mapping[str, float]
    correct: NDArray[np.bool_] | None = None


class Dataset(Protocol):
    """Examples that can be taken by their positions."""

    @property
    def fingerprint(self) -> str:
        """A digest of the content: part of every segment's key."""

    def __len__(self) -> int:
        """How many examples there are."""

    def take(self, indices: Indices) -> Any:
        """Return the examples at these positions as one batch, in this order, in whatever form the task trains on."""


@dataclass(frozen=True)
class Examples:
    """A part of a data set: what `evaluate` is given.

    Args:
        dataset: the whole.
        indices: the positions of this part, shape (n,).
    """

    dataset: Dataset
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def batches(self, size: int) -> Iterator[Any]:
        """Yield the examples in order, `size` at a time; the last batch may be short."""
        for start in range(0, len(self.indices), size):
            yield self.dataset.take(self.indices[start : start + size])


class Task(ABC, Generic[State]):
    """What is trained: a model, its data, its hyperparameters and its metrics.

    One segment, as the engine runs it, with every global random generator seeded from the segment's own stream::

        state = task.initialize(hparams)                 # a root; or, for a child,
        arrays = <the parent's checkpoint>
        state = task.from_arrays(arrays, hparams)        # restored, then the hyperparameters are applied
        task.applied_hparams(state)                      # read back, and compared with what was asked
        state = task.train(state, hparams, batches)
        task.evaluate(state, validation)
        task.to_arrays(state)                            # the checkpoint

    The hyperparameters are read-only (`hpo.segments.ReadOnlyHParams`): to set one is a `TypeError`; `dict(hparams)` is a
    copy. A root's state, too, passes through `to_arrays` and `from_arrays`, so that a state in memory and one from a file are
    never told apart. A task without data returns None from `development_data`: its unit is a step, `batches` is the
    `range` of the interval's steps, and `evaluate` is given None.
    """

    unit: str = "epochs"
    """The unit of budgets and intervals."""
    version: str | None = None
    """Stands for the source code in segment keys where it is given; raise it whenever results change."""
    device: str = "cpu"
    """Where it runs; set by the engine, and part of the numerics."""
    batch_size: int = 1
    """Examples per training batch, for a task with data."""
    validation_size: int = 0
    """Development examples that each replicate sets aside for validation; at least 1 for a task with data."""
    drop_last: bool = False
    """Whether an interval's last batch is left out where it is short."""

    @property
    @abstractmethod
    def search_space(self) -> SearchSpace:
        """The hyperparameters; a study file may override their bounds."""

    @property
    def optional_space(self) -> SearchSpace:
        """Hyperparameters that a study may add, by naming them in `[task.search_space]`; by default none.

        The study's entry defines them, conditions included. The task has a default of its own for each: where a study or an arm
        goes without one, it is not among the `hparams`.
        """
        return SearchSpace({})

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that can be compared; the first one is the primary: optimizers see it as the score."""

    @abstractmethod
    def initialize(self, hparams: HParams) -> State:
        """Return a fresh state. Of the hyperparameters only the `fixed` ones, and controls of a `when`, may shape it."""

    @abstractmethod
    def train(self, state: State, hparams: HParams, batches: "Batches | range") -> State:
        """Train through one interval and return the new state (it may be the same object)."""

    @abstractmethod
    def evaluate(self, state: State, data: Examples | None) -> Evaluation:
        """Measure the state on data; what it draws comes from the segment's own stream, and it changes nothing."""

    @abstractmethod
    def to_arrays(self, state: State) -> Mapping[str, NDArray[Any]]:
        """Return everything that training goes on from, as named arrays: the checkpoint."""

    @abstractmethod
    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> State:
        """Return the state of a checkpoint, with these hyperparameters in force instead of the ones it was made with."""

    def applied_hparams(self, state: State) -> HParams:
        """Return those hyperparameters that the state itself holds, as it holds them now.

        The engine compares them with what was asked for after every restore. The default holds none.
        """
        return {}

    def uses_budget(self, hparams: HParams) -> bool:
        """Say whether training with these hyperparameters depends on `Batches.budget`; by default it does not.

        Only then is the budget given, and only then is it part of a segment's key: what does not depend on it is the same
        work in studies of any budget.
        """
        return False

    reads_are_seen: bool = False
    """Whether a hyperparameter that `initialize`, `train` and `evaluate` never look up in `hparams` makes no difference.

    True of `TorchTask`: then a study with such a hyperparameter is refused. Else there is a warning."""

    def unsaved(self, state: State, restored: State) -> Sequence[str]:
        """Return what a trained state holds and its restored copy does not, in words; a study with such a task is refused.

        Args:
            state: after two intervals.
            restored: from the arrays that `state` had after the first one, and after the second one, too.
        """
        return ()

    @property
    def one_step_per_batch(self) -> bool:
        """Whether training takes one optimizer step on each batch that it is given; by default that is not known."""
        return False

    def development_data(self) -> Dataset | None:
        """Return all the data that a search may see, or None for a task without data."""
        return None

    def test_data(self) -> Dataset | None:
        """Return the test set. Called by the final evaluation alone."""
        return None

    def check(self) -> None:
        """Check that everything the task needs is there and whole, before any work starts.

        Raises:
            DataError: naming the file and what is wrong with it.
        """

    def numerics(self) -> dict[str, str]:
        """Return what the bits of a result depend on beside its key: libraries, device, modes."""
        return {"numpy": np.__version__, "machine": platform.machine(), "device": self.device}

    def numerics_scope(self) -> AbstractContextManager[None]:
        """Return a context in which the modes that `numerics` names are in force."""
        return nullcontext()

    def model_of(self, state: State) -> Any:
        """Return what a user who loads the winner wants to have; by default the state itself."""
        return state

    def on(self, device: str) -> Self:
        """Return this task on a device."""
        moved = copy.copy(self)
        object.__setattr__(moved, "device", device)
        return moved


@dataclass(frozen=True)
class Lane(Generic[State]):
    """A member in a stack.

    Args:
        state: to train, with its hyperparameters in force.
        hparams: those hyperparameters.
        noise: the key of the stream that its training draws from, 128 bits; see `Streams.key`.
    """

    state: State
    hparams: HParams
    noise: int


@runtime_checkable
class StackedTask(Protocol[State]):
    """What a task offers beside `train` if it can train several members at once, as one batch of tensors.

    The stack has a fixed number of lanes, some of them idle. A lane's result may depend on how many lanes there are and on which
    of them it is, never on what the others hold, nor on whether they hold anything::

        task.check_stacked()
        task.stack_signature(a, hparams_of_a) == task.stack_signature(b, hparams_of_b)     # they may share a stack
        task.train_stacked([None, Lane(a, ...), None, Lane(b, ...)], batches)  -> [None, a, None, b]
    """

    def check_stacked(self) -> None:
        """Check that members can be stacked, before anything starts.

        Raises:
            InputError: they cannot; it says why.
        """

    def stack_signature(self, state: State, hparams: HParams) -> Hashable:
        """Return what two states must have in common to be trained in one stack: shapes, above all."""

    def train_stacked(
        self, lanes: "Sequence[Lane[State] | None]", batches: "Batches | range"
    ) -> Sequence[State | None]:
        """Train all lanes through one interval on the same batches; at least one of them is busy.

        Returns:
            The new state of each lane; None where it was idle, or has diverged.
        """


@dataclass(frozen=True)
class Batches:
    """The training batches of one interval, in order.

    Args:
        dataset: what they are taken from.
        positions: the examples of the interval, shape (n,), positions in `dataset`.
        size: examples per batch; the last one may be short, none crosses the interval's end. A task that searches its batch size
            trains on `dataclasses.replace(batches, size=...)`.
        start: where the interval begins, in the task's unit.
        stop: where it ends.
        budget: the whole budget of a member, in the same unit: intervals lie within 0 and it. Given where the task's
            `uses_budget` says so, else None.
        drop_last: leave out the last batch where it is short.
    """

    dataset: Dataset
    positions: Indices
    size: int
    start: float
    stop: float
    budget: float | None = None
    drop_last: bool = False

    def __len__(self) -> int:
        whole, rest = divmod(len(self.positions), self.size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        return Examples(self.dataset, self.positions[: len(self) * self.size]).batches(self.size)


# --- optimizers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Problem:
    """What an optimizer is asked to solve: one arm in one replicate.

    Args:
        space: the hyperparameters.
        population_size: members of the initial population.
        intervals: the budget of one member, in intervals.
        interval: the length of an interval, in the task's unit.
        unit: that unit's name.
        streams: the arm's random streams.
        concurrency: virtual workers: how many segments may run at one virtual time.
        initial: hyperparameters given by the study for the first slots, instead of draws from the prior.
        prior: the space that initial hyperparameters are drawn from where an arm searches only a part of it; None: `space`.
        direction: which way the primary metric is better as it is written; scores are larger when better, whatever it is.
    """

    space: SearchSpace
    population_size: int
    intervals: int
    interval: Fraction
    unit: str
    streams: Streams
    concurrency: int
    initial: tuple[HParams, ...] = ()
    prior: SearchSpace | None = None
    direction: Direction = "maximize"

    @property
    def budget(self) -> int:
        """The ceiling for the whole arm, in intervals."""
        return self.population_size * self.intervals

    def hparams(self, slot: int) -> HParams:
        """Return a slot's initial hyperparameters: the same for every arm of the replicate, as far as it searches them.

        They are the active ones alone.
        """
        if slot < len(self.initial):
            drawn = dict(self.initial[slot])
        else:
            prior = self.space if self.prior is None else self.prior
            drawn = prior.sample(self.streams.generator("prior", member=slot, shared=True))
        return drawn if self.prior is None else {name: drawn[name] for name in self.space if name in drawn}

    def whole_intervals(self, duration: float, option: str) -> int:
        """Return how many intervals a duration is.

        Args:
            duration: in the task's unit.
            option: the option's name, for the error.

        Raises:
            OptionError: it is not positive or no whole number of intervals.
        """
        count = Fraction(str(duration)) / self.interval
        if count <= 0 or count.denominator != 1:
            raise OptionError(option, duration, f"a whole number of intervals of {float(self.interval):g} {self.unit}")
        return int(count)


class Optimizer(Protocol):
    """A search that is going on. No I/O, no clock, no global randomness. Derive from it for the defaults.

    Virtual time makes it deterministic: an arm has `concurrency` virtual workers, a segment takes one of them for one
    interval, and all that finish at one virtual time are told together, sorted by member. Four calls of a random search
    with two members and two intervals::

        ask(2)                   -> [Segment(0, None, 0, h0), Segment(1, None, 0, h1)]
        tell([r00, r10])            # r00.key is the key of slot 0's first segment
        ask(2)                   -> [Segment(0, r00.key, 1, h0), Segment(1, r10.key, 1, h1)]
        tell([r01, r11])
        ask(2)                   -> []          # done: nothing is running and nothing is asked
        best()                   -> r11.key     # the answer is that segment's lineage
    """

    def ask(self, free: int) -> Sequence[Segment]:
        """Return at most `free` segments that may start now; none: waiting for results, or done."""

    def tell(self, results: Sequence[Result]) -> None:
        """Take all results that finished at one virtual time, sorted by member."""

    def best(self) -> Key:
        """Return the key of the segment whose lineage is the answer."""

    def counts(self) -> Mapping[str, int]:
        """Return what the report counts beside the engine's own ledger, such as `boundary_hits`; by default nothing."""
        return {}


class OptimizerOptions(Protocol):
    """A registered optimizer: a frozen dataclass of options that starts searches. Derive from it for the defaults."""

    def start(self, problem: Problem) -> Optimizer:
        """Start a search.

        It is also how options are checked before a study starts, so it must be quick.

        Raises:
            OptionError: an option does not fit the problem.
        """

    def changes(self, space: SearchSpace) -> Collection[str]:
        """Return the hyperparameters that may change from a state to the segment that goes on from it; by default none."""
        return ()

    def default_concurrency(self, population_size: int) -> int:
        """Return the number of virtual workers where the study file gives none; by default the population's size."""
        return population_size

    def resolved(self) -> Mapping[str, object]:
        """Return what the options resolved to beyond what was written, like a sampler's own defaults; by default nothing."""
        return {}


@dataclass(frozen=True)
class Member:
    """A member of a population, as a selection or a perturbation sees it.

    Args:
        slot: its number.
        key: the segment it stands at: what another member copies.
        hparams: the hyperparameters it goes on with, or was copied with.
        score: its last evaluation, larger is better; -inf when diverged.
        diverged: never a donor.
        history: all results of this slot so far, oldest first, the last evaluation included. After a copy they are of more than
            one model: a model's own past is its lineage (`Segment.parent`), which the histories of all members hold together.
    """

    slot: int
    key: Key
    hparams: HParams
    score: float
    diverged: bool
    history: Sequence[Result] = field(default=(), repr=False)

    @property
    def rank_key(self) -> tuple[float, int]:
        """Sort ascending by this to get the best first; ties go to the lower slot, diverged members come last.

        They are still members: a rule that copies from the first of a few must see to it that it has not diverged.
        """
        return (-self.score if not self.diverged else float("inf"), self.slot)


class Selection(Protocol):
    """Exploit: whose checkpoint each member goes on from. A frozen dataclass of options.

    That is another member's `key`, or the key of any finite result in the population's histories: a checkpoint further back. The
    member's own clock goes on all the same: its next interval has the number that it would have had, and the budget is spent
    as if nothing had happened; the lineage lacks the intervals between.
    """

    def check(self, population_size: int) -> None:
        """Raise `OptionError` where the options mean nothing for a population of this size."""

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return, by slot, the key that the member goes on from; a slot that is left out, or its own key: no change.

        Args:
            population: all members that have been evaluated, in the order of their slots; at least one has not diverged.
                Without a barrier (asynchronous PBT) they may be fewer than the population's size, at different intervals, and
                only some of them are about to go on: what is returned for the others is not used.
            rng: the stream of this selection.
        """


class Perturbation(Protocol):
    """Explore: new hyperparameters for all members to be changed at once. A frozen dataclass of options.

    What is returned may pass the bounds of the space: PBT brings it inside as `bounds` says, and counts.
    """

    @property
    def bounds(self) -> Bounds | BoundsOf:
        """What happens to a value that passed a bound; a function of the name where that is not the same for all."""

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return new hyperparameters by slot; a slot that is left out keeps what it has.

        Args:
            copied: the members to change, in the order of their slots, with the hyperparameters that they inherited.
            space: the search space; parameters that are `held` are put back by PBT. A member's hyperparameters are the
                active ones, not all of the space, and so must be what is returned.
            history: every result so far, oldest first; a result's segment names its parent's key, so that what an interval
                gained is the difference of two scores.
            rng: the stream of this perturbation.
        """


@runtime_checkable
class ChecksSpace(Protocol):
    """A perturbation that has something to say about the search space before anything runs."""

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` where the options mean nothing in this space."""


class Sampler(Protocol):
    """Where the `optuna` optimizer's proposals come from: one of Optuna's samplers. A frozen dataclass of options.

    Every option is given to Optuna by name, so that the same file means the same sampler whatever Optuna's defaults are.
    """

    def resolved(self, initial: int) -> Mapping[str, object]:
        """Return the options by Optuna's names, as they are given to it.

        Args:
            initial: how many members of the initial population come before the sampler's own proposals.
        """

    def build(self, problem: Problem, initial: int, seed: int) -> "BaseSampler":
        """Return Optuna's sampler.

        Args:
            problem: what it proposes for.
            initial: as for `resolved`.
            seed: 0 to 2**32 - 1.

        Raises:
            OptionError: an option does not fit the problem.
        """


class Pruner(Protocol):
    """Which trials of the `optuna` optimizer stop early: one of Optuna's pruners. A frozen dataclass of options.

    It judges a trial after each interval but its last. Steps are intervals: a trial's first score is that of step 1.
    """

    def check(self, problem: Problem) -> None:
        """Raise `OptionError` where no trial could ever be stopped."""

    def build(self, problem: Problem) -> "BasePruner | None":
        """Return Optuna's pruner, for scores of which larger ones are better; None: trials run to their end."""
