"""The contract between the engine and a task: what is trained, on which data, and how it is measured."""

import copy
import platform
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hpo.core.errors import HpoError
from hpo.core.segments import HParams
from hpo.core.space import SearchSpace

State = TypeVar("State")
Direction = Literal["minimize", "maximize"]
Indices = NDArray[np.int64]


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

    The hyperparameters are read-only (`hpo.core.segments.ReadOnlyHParams`): to set one is a `TypeError`; `dict(hparams)` is a
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
