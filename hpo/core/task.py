"""The contract between the engine and a task: what is trained, on which data, and how it is evaluated."""

import copy
import platform
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from hpo.core.checkpoints import finite
from hpo.core.errors import HpoError, InputError
from hpo.core.segments import HParams, ShrinkPerturb
from hpo.core.space import Int, SearchSpace

State = TypeVar("State")
Direction = Literal["minimize", "maximize"]
Indices = NDArray[np.int64]


class NotInForce(InputError):
    """Raised by a task if a restored state does not hold the hyperparameters that it should be trained with."""


class Diverged(HpoError):
    """Raised by a task in `train` or `evaluate` to report at once that its state is not finite."""


@dataclass(frozen=True)
class Metric:
    """A number that `evaluate` returns.

    Args:
        name: its key in the evaluation's metrics.
        direction: whether lower or higher is better.
        complement: the name under which figures plot 1 - value, in percent (`accuracy` for `error`).
        counts: the name of the integer metric of which this one is the rate, out of `count`; exact tests use the counts.
        worst: the value of a diverged model; None if there is no such value.
    """

    name: str
    direction: Direction = "minimize"
    complement: str | None = None
    counts: str | None = None
    worst: float | None = None

    @property
    def is_rate(self) -> bool:
        """Whether it lies between 0 and 1 and is shown in percent."""
        return self.complement is not None or self.counts is not None

    @property
    def at_start(self) -> str:
        """The name of its value before training, in the metrics of a segment that is `scored_at_start`."""
        return f"{self.name}_at_start"

    def oriented(self, value: float) -> float:
        """Return the value so that larger is better."""
        return value if self.direction == "maximize" else -value


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    Args:
        metrics: numbers by name, including the task's declared metrics. For a metric that names its `counts`, also that count and
            the total `count`, if they exist.
        correct: for each example, in the order of the data, whether it was classified correctly; None if that has no meaning.

    The engine checks it. A value that is not a single number, a count that contradicts its rate, or a `correct` whose length
    differs from the data's or that contradicts the count, stops the study at this segment.
    """

    metrics: Mapping[str, float]
    correct: NDArray[np.bool_] | None = None


class Dataset(Protocol):
    """Examples that are accessed by position.

    Two more members are optional. `evaluation` is a `Dataset` of the same examples without augmentation, on which models are
    evaluated. `take_each` receives the positions of several batches and returns an iterator over these batches; it is used instead
    of `take`, so that batches can be fetched ahead.
    """

    @property
    def fingerprint(self) -> str:
        """A digest of the content, which is part of every segment's key."""

    def __len__(self) -> int:
        """The number of examples."""

    def take(self, indices: Indices) -> Any:
        """Return the examples at these positions, in this order, as one batch in any form that the task trains on."""


def evaluation_view(data: Dataset) -> Dataset:
    """Return the examples of a data set as evaluation sees them: without augmentation."""
    view: Any = getattr(data, "evaluation", None)
    return view if hasattr(view, "take") else data


@dataclass(frozen=True)
class Examples:
    """A part of a data set, as given to `evaluate`.

    Args:
        dataset: the data set.
        indices: the positions of this part, shape (n,).
        size: the number of examples per batch when iterating; the last batch may be short.
    """

    dataset: Dataset
    indices: Indices
    size: int = 1000

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[Any]:
        return self.batches(self.size)

    def batches(self, size: int) -> Iterator[Any]:
        """Return an iterator over the examples in order, `size` at a time; the last batch may be short."""
        parts = [self.indices[start : start + size] for start in range(0, len(self.indices), size)]
        together = getattr(self.dataset, "take_each", None)
        return together(parts) if together else map(self.dataset.take, parts)


NUMERIC = "numeric"
"""In the metadata of a task's field: `Task.numerics` declares the option if it changes results; it is no part of the identity."""


class Task(ABC, Generic[State]):
    """What is trained: a model, its data, its hyperparameters and its metrics.

    The engine runs one segment as follows, with all global random generators seeded from the segment's own stream::

        state = task.initialize(hparams)                 # a root; or, for a child,
        arrays = <the parent's checkpoint>
        state = task.from_arrays(arrays, hparams)        # restored, then the hyperparameters are applied
        state = task.shrink_perturb(state, fresh, ...)   # only if the segment has this transform
        task.applied_hparams(state)                      # read back, and compared with the requested ones
        state = task.train(state, hparams, batches)
        task.evaluate(state, validation)
        task.to_arrays(state)                            # the checkpoint

    The hyperparameters are read-only (`hpo.core.segments.ReadOnlyHParams`): setting one raises `TypeError`, and `dict(hparams)`
    is a copy. A root's state also passes through `to_arrays` and `from_arrays`, so that states in memory and states from a file
    are the same. A task without data returns None from `development_data`; its unit is a step, `batches` is the `range` of the
    interval's steps (or, if it `uses_budget`, `Batches` of their numbers), and `evaluate` receives None.
    """

    unit: str = "epochs"
    """The unit of budgets and intervals."""
    version: str | None = None
    """If given, it replaces the source code in segment keys; raise it whenever results change."""
    device: str = "cpu"
    """The task's device; set by the engine, and part of the numerics."""
    threads: int = 1
    """Threads of torch and of linear-algebra libraries that a member may use; set by the engine, and part of the numerics."""
    gpus: float | None = None
    """GPUs of one worker, if the user gave a number; set by the engine, and part of the numerics if there are several."""
    batch_size: int = 1
    """Examples per training batch, for a task with data; see `batch_size_of`."""
    searches_batch_size: bool = False
    """Whether a study may add `batch_size` to the search space; true for a `TorchTask`."""
    validation_size: int = 0
    """Development examples that each replicate holds out for validation; at least 1 for a task with data."""
    drop_last: bool = False
    """Whether an interval's last batch is left out if it is short."""
    deterministic: bool = True
    """Whether the same training gives the same bits. The check before a study does not compare bits of a task that says no."""
    tested: bool = True
    """Whether the answer of a search is retrained on all development data and tested. Otherwise its validation metrics are the
    result."""
    is_function: bool = False
    """Whether a member is one call, without a state: it has a single interval, and nothing is tried before the study starts."""
    free_space: bool = False
    """Whether the study defines the search space, as the task has none of its own."""
    describing: frozenset[str] = frozenset()
    """The arrays of a checkpoint that say how a member was made, rather than what training made of it."""
    opaque_states: bool = False
    """Whether equal states may be saved as different bytes; the check before a study then compares metrics alone."""
    references: tuple[str, ...] = ()
    """The options that name an object of a module, as `module:name`; the study imports the module."""
    transforms: frozenset[str] = frozenset()
    """The weight transforms that the task offers: `{"shrink_perturb"}`, or none, the default."""
    search_options: tuple[str, ...] = ()
    """The options that determine what is searched, but no segment's result; by default None. They are in no key, and workers do
    without them."""

    @property
    @abstractmethod
    def search_space(self) -> SearchSpace:
        """The hyperparameters; a study file may override their bounds."""

    @property
    def optional_space(self) -> SearchSpace:
        """Hyperparameters that a study may add, by naming them in `[task.search_space]`; by default none.

        The study's entry defines them, including conditions. The task has a default for each: if a study or an arm omits one, it is
        not in `hparams`.
        """
        return SearchSpace({})

    @property
    def addable_space(self) -> SearchSpace:
        """All hyperparameters that a study may add: `optional_space`, and `batch_size` if `searches_batch_size` is true."""
        own = {"batch_size": Int(1, 2**30, log=True)} if self.searches_batch_size else {}
        return SearchSpace({**own, **self.optional_space})

    def batch_size_of(self, hparams: HParams) -> int:
        """Return the number of examples per training batch: the hyperparameter `batch_size`, or the option if it is not searched.

        The engine makes the batches of a task with data; a task without data may call this itself.
        """
        return int(hparams["batch_size"]) if "batch_size" in hparams else self.batch_size

    def is_feasible(self, hparams: HParams) -> bool:
        """Return whether hyperparameters suit each other; a search trains with no others. By default all do.

        The answer may depend on nothing else. What is conditional or optional may be missing in `hparams`.
        """
        return self.search_space.is_feasible(hparams)

    @property
    @abstractmethod
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics that can be compared. The first one is the primary metric, which optimizers see as the score."""

    @abstractmethod
    def initialize(self, hparams: HParams) -> State:
        """Return a new state. Only `fixed` hyperparameters, and controls of a `when`, may determine its shape."""

    @abstractmethod
    def train(self, state: State, hparams: HParams, batches: "Batches | range") -> State:
        """Train through one interval and return the new state (which may be the same object)."""

    @abstractmethod
    def evaluate(self, state: State, data: Examples | None) -> Evaluation:
        """Evaluate the state on data without changing it. Random numbers come from the segment's own stream."""

    @abstractmethod
    def to_arrays(self, state: State) -> Mapping[str, NDArray[Any]]:
        """Return everything needed to continue training, as named arrays: the checkpoint."""

    @abstractmethod
    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> State:
        """Return the state of a checkpoint, with these hyperparameters instead of those it was made with."""

    def shrink_perturb(self, state: State, fresh: State, transform: ShrinkPerturb) -> State:
        """Return a state with the weights shrink * weights + perturb * fresh weights; a task that offers it overrides this.

        Args:
            state: the restored state, with the segment's hyperparameters.
            fresh: what `initialize` returned for the same hyperparameters.
            transform: the factors, and whether to reset what the optimizer has accumulated.
        """
        raise HpoError(f"{self.title} offers no weight transforms")

    def applied_hparams(self, state: State) -> HParams:
        """Return the hyperparameters that the state itself holds, with their current values.

        The engine compares them with the requested ones after every restore. By default there are none.
        """
        return {}

    def uses_budget(self, hparams: HParams) -> bool:
        """Return whether training with these hyperparameters depends on `Batches.budget`; by default it does not.

        Only then is the budget given and part of a segment's key. Work that does not depend on it is shared between studies of any
        budget.
        """
        return False

    reads_are_seen: bool = False
    """Whether a hyperparameter that `initialize`, `train` and `evaluate` never look up in `hparams` has no effect.

    This is true for `TorchTask`: a study with such a hyperparameter is then an error. Otherwise it is a warning."""

    def unsaved(self, state: State, restored: State) -> Sequence[str]:
        """Return what a trained state holds but its restored copy does not, in words; a study with such a task is an error.

        Args:
            state: the state after two intervals.
            restored: a copy restored from the arrays that `state` had after the first one, and likewise after the second one.
        """
        return ()

    def is_finite(self, arrays: Mapping[str, NDArray[Any]]) -> bool:
        """Return whether all numbers in a checkpoint are finite; otherwise the member has diverged."""
        return finite(arrays)

    def is_finished(self, metrics: Mapping[str, float]) -> bool:
        """Return whether a member with these validation metrics has converged; by default none has.

        With the same hyperparameters it is trained no further, and its remaining budget is not charged.
        """
        return False

    @property
    def title(self) -> str:
        """The name in messages; by default that of the task's class."""
        return type(self).__name__

    @property
    def one_step_per_batch(self) -> bool:
        """Whether training takes one optimizer step for each batch that it receives; by default that is unknown."""
        return False

    def development_data(self) -> Dataset | None:
        """Return all data that a search may see, or None for a task without data."""
        return None

    def test_data(self) -> Dataset | None:
        """Return the test set. Only the final evaluation calls this."""
        return None

    def check(self) -> None:
        """Check that everything the task needs exists and is intact, before any work starts.

        Raises:
            DataError: names the file and what is wrong with it.
        """

    def code(self) -> Sequence[object]:
        """Return the classes and functions whose source determines results; by default the task's class."""
        return (type(self),)

    def numerics(self) -> dict[str, str]:
        """Return what the bits of a result depend on apart from its key: libraries, device, modes."""
        found = {"numpy": np.__version__, "machine": platform.machine(), "device": self.device}
        more = {"threads": self.threads, "gpus": self.gpus or 1}
        return found | {name: f"{number:g}" for name, number in more.items() if number > 1}

    def numerics_scope(self) -> AbstractContextManager[None]:
        """Return a context in which the modes that `numerics` names are in effect."""
        return nullcontext()

    def model_of(self, state: State) -> Any:
        """Return what a user wants who loads the winner; by default the state itself."""
        return state

    def on(self, device: str, threads: int = 1, gpus: float | None = None) -> Self:
        """Return this task on a device, with so many threads and GPUs for each member."""
        moved = copy.copy(self)
        for name, value in {"device": device, "threads": threads, "gpus": gpus}.items():
            object.__setattr__(moved, name, value)
        return moved


@dataclass(frozen=True)
class Lane(Generic[State]):
    """A member in a stack.

    Args:
        state: the state to train, with its hyperparameters applied.
        hparams: those hyperparameters.
        noise: the key of the stream for its training, 128 bits; see `Streams.key`.
    """

    state: State
    hparams: HParams
    noise: int


@runtime_checkable
class StackedTask(Protocol[State]):
    """A task that can also train several members at once, as one batch of tensors.

    The stack has a fixed number of lanes, some of which may be idle. A lane's result may depend on the number of lanes and on its
    position, but not on whether and with what the other lanes are busy::

        task.check_stacked()
        task.stack_signature(a, hparams_of_a) == task.stack_signature(b, hparams_of_b)     # they may share a stack
        task.train_stacked([None, Lane(a, ...), None, Lane(b, ...)], batches)  -> [None, a, None, b]
    """

    def check_stacked(self) -> None:
        """Check that members can be stacked, before anything starts.

        Raises:
            InputError: they cannot, with the reason.
        """

    def stack_signature(self, state: State, hparams: HParams) -> Hashable:
        """Return what two states must have in common to be trained in one stack, such as shapes."""

    def train_stacked(
        self, lanes: "Sequence[Lane[State] | None]", batches: "Batches | range"
    ) -> Sequence[State | None]:
        """Train all lanes through one interval on the same batches; at least one of them is busy.

        Returns:
            The new state of each lane; None if it was idle or has diverged.
        """


@dataclass(frozen=True)
class Batches:
    """The training batches of one interval, in order.

    Args:
        dataset: the data set.
        positions: the positions of the interval's examples in `dataset`, shape (n,).
        size: the number of examples per batch; see `Task.batch_size_of`. The last batch may be short; no batch crosses the end of
            the interval. `dataclasses.replace(batches, size=...)` changes it.
        start: where the interval begins, in the task's unit.
        stop: where the interval ends.
        budget: the whole budget of a member, in the same unit; intervals lie between 0 and it. None unless the task's
            `uses_budget` is true.
        drop_last: leave out the last batch if it is short.
        lengths: the number of examples in each interval of the budget; empty if there is no `budget`.
    """

    dataset: Dataset
    positions: Indices
    size: int
    start: float
    stop: float
    budget: float | None = None
    drop_last: bool = False
    lengths: tuple[int, ...] = ()

    def __len__(self) -> int:
        return self._count(len(self.positions))

    @property
    def steps(self) -> int:
        """The number of batches of this size in the whole budget."""
        return sum(map(self._count, self.lengths))

    def _count(self, examples: int) -> int:
        whole, rest = divmod(examples, self.size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        return Examples(self.dataset, self.positions[: len(self) * self.size]).batches(self.size)
