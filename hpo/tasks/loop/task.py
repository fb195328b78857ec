"""A user's training class as a task: it is constructed, trained for an interval, evaluated, saved and restored."""

import dataclasses
import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from typing import Annotated, Any, Self

import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from hpo.core.checkpoints import finite
from hpo.core.digests import ContentHasher
from hpo.core.errors import HpoError, OptionError
from hpo.core.references import Reference, referred, rule_of
from hpo.core.registry import register_task
from hpo.core.seeding import forked_generators
from hpo.core.segments import HParams, unrecorded
from hpo.core.space import SearchSpace
from hpo.core.task import Batches, Dataset, Direction, Evaluation, Examples, Metric, NotInForce, Task
from hpo.tasks.loop.attributes import load, snapshot
from hpo.tasks.loop.folder import folder_arrays, temporary_folder, write_folder
from hpo.tasks.loop.follow import Followed
from hpo.tasks.loop.loader import Loader
from hpo.tasks.torch.data import Data, as_data
from hpo.tasks.torch.numerics import fingerprint, setting, strict_scope
from hpo.tasks.torch.state_dicts import packed, unpacked

Arrays = Mapping[str, NDArray[Any]]
_HEADER, _CONTENT, _GENERATORS = "loop", "self", "generators"
"""Names in a checkpoint: of how the object was constructed, of its content, and of its random generators."""


@dataclass
class LoopState:
    """A member in training.

    Args:
        seed: of the constructor; a restored object is constructed from the same one.
        hparams: those of the constructor.
        steps: the length of the whole budget that the constructor was given; None if it takes none.
        saved: the checkpoint to restore it from; None for a new member.
        live: the object; None until it is needed.
    """

    seed: int
    hparams: HParams
    steps: int | None = None
    saved: Arrays | None = None
    live: Any = None


@register_task("loop")
@dataclass(frozen=True)
class LoopTask(Task[LoopState]):
    """A training class of the user's own.

    `hpo` constructs it, and calls its methods once per interval::

        class Training:
            def __init__(self, hparams): ...            # make model, optimizer, scheduler
            def train(self, batches, hparams): ...      # train on the batches of one interval
            def evaluate(self, batches): ...            # return the metric, or several by name

    `batches` is a `Loader`. The constructor may also take `steps`, the number of batches of the member's whole budget (without
    data, the budget in its unit), `unit` and `device`; each method may leave out `hparams`. Without data, `train` receives the
    range of the interval's steps, and `evaluate` nothing.

    Between intervals, the attributes of the object are saved and restored (`hpo.tasks.loop.attributes`), and new
    hyperparameters are put in force in them (`hpo.tasks.loop.follow`). A class with the methods `save(folder)` and
    `load(folder)` saves itself instead. A method `apply(hparams)` is called after a restore with new hyperparameters, to put
    them in force in another way. A method `applied()` returns the hyperparameters that the object holds; they are compared with
    the requested ones after every restore.

    An object whose attribute `finished` is true has converged: it is trained no further with the same hyperparameters, and its
    remaining budget is not charged.

    Args:
        loop: the class; in a study file `module:name`.
        data: the development data, or a function without parameters that returns them, in any form that `as_data` takes; in a study
            file `module:name`. A test set is their attribute `test`.
        metric: the metric to optimize.
        direction: whether a low or a high value is good.
        unit: the unit of budgets and intervals; by default epochs with data, and steps without.
        batch_size: examples per training batch.
        evaluation_batch_size: examples per batch when evaluating.
        validation_size: examples of the development data that each replicate sets aside for validation.
        drop_last: leave out an interval's last batch if it is short.
        feasible: a function of the active hyperparameters that says whether they may be tried together; nothing else is tried. In a
            study file `module:name`.
        version: stands for the source of the class and of all that it reaches; raise it whenever results change.
        tf32: allow TF32 on CUDA: faster, with fewer bits.
        deterministic: use deterministic algorithms on CUDA. Without them, training is not reproducible.
    """

    loop: Reference
    data: Reference | None = None
    metric: str = "loss"
    direction: Direction = "minimize"
    unit: str = ""
    batch_size: Annotated[int, Gt(0)] = 32
    evaluation_batch_size: Annotated[int, Gt(0)] = 256
    validation_size: Annotated[int, Ge(0)] = 0
    drop_last: bool = False
    feasible: Reference | None = None
    version: str | None = None
    tf32: bool = setting(False)
    deterministic: bool = setting(True)

    free_space = True
    references = ("loop", "data", "feasible")
    search_options = ("feasible",)
    reads_are_seen = True
    describing = frozenset({_HEADER})
    searches_batch_size = True

    def __post_init__(self) -> None:
        if not self.unit:
            object.__setattr__(self, "unit", "steps" if self.data is None else "epochs")

    def __getstate__(self) -> dict[str, Any]:
        """Return the options and the device, without what was made of them."""
        kept = {item.name for item in dataclasses.fields(self)} | {"device", "threads", "gpus"}
        return {name: value for name, value in vars(self).items() if name in kept}

    @property
    def title(self) -> str:
        """The name of the user's class."""
        return self.target.__name__

    @cached_property
    def target(self) -> type:
        """The user's class.

        Raises:
            OptionError: there is no such class, or it cannot be used.
        """
        found = referred("loop", self.loop, "a class with the methods train and evaluate")
        missing = [name for name in ("train", "evaluate") if not callable(getattr(found, name, None))]
        if not isinstance(found, type) or missing:
            lacks = f"; {found.__name__} has no {' and no '.join(missing)}" if isinstance(found, type) else ""
            raise OptionError("loop", self.loop, f"a class with the methods train and evaluate{lacks}")
        if _takes_folder(found) != hasattr(found, "load"):
            raise OptionError("loop", self.loop, "a class with both save(folder) and load(folder), or neither")
        return found

    @property
    def search_space(self) -> SearchSpace:
        """Empty: the study defines it; with the rule `feasible`."""
        return SearchSpace({}, rule_of(self.feasible))

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metric to optimize."""
        return (Metric(self.metric, self.direction),)

    @property
    def tested(self) -> bool:  # type: ignore[override]
        """Whether there is a test set."""
        return self.test_data() is not None

    @property
    def opaque_states(self) -> bool:  # type: ignore[override]
        """Whether the class saves itself, in files that may differ from one time to the next."""
        return _takes_folder(self.target)

    def check(self) -> None:
        """Check that the class and the data exist."""
        _ = self.target, self._data

    def code(self) -> Sequence[object]:
        """Return this class, the user's class with its bases in hpo, and what makes the data."""
        data = None if self.data is None else referred("data", self.data, "data")
        own = [self._data.transforms] if isinstance(self._data, Data) else []
        names = {base.__module__: base for base in self.target.__mro__ if base.__module__.startswith("hpo.")}
        bases = [base for name, base in names.items() if not name.startswith("hpo.tasks.loop.")]
        return (type(self), self.target, *bases, *([data] if inspect.isfunction(data) else []), *own)

    @cached_property
    def _data(self) -> Dataset | None:
        if self.data is None:
            return None
        return as_data(referred("data", self.data, "a data set, or a function without parameters that returns one"))

    def on(self, device: str, threads: int = 1, gpus: float | None = None) -> Self:
        """Return this task on a device, with the same data."""
        moved = super().on(device, threads, gpus)
        moved.__dict__.update({name: made for name, made in vars(self).items() if name not in moved.__dict__})
        return moved

    def development_data(self) -> Dataset | None:
        """Return the data."""
        return self._data

    def test_data(self) -> Dataset | None:
        """Return the test set of the data."""
        return getattr(self._data, "test", None)

    def uses_budget(self, hparams: HParams) -> bool:
        """Say whether the constructor takes `steps`."""
        return "steps" in self._taken

    def initialize(self, hparams: HParams) -> LoopState:
        """Return a new member, which is constructed when it is first trained: only then is the number of its steps known."""
        return LoopState(random.getrandbits(64), hparams)

    def train(self, state: LoopState, hparams: HParams, batches: Batches | range) -> LoopState:
        """Let the object train for one interval.

        Raises:
            HpoError: the batch size has changed, and with it the number of `steps` on which the object counts.
        """
        steps = batches.steps if isinstance(batches, Batches) and self.uses_budget(hparams) else None
        if state.steps is not None and steps != state.steps:
            raise HpoError(
                f"{self.title} was constructed for {state.steps} steps, but with this batch_size there are {steps} in the whole"
                " budget. Take no `steps`, or keep the batch size"
            )
        if state.live is not None and (unrecorded(hparams), steps) != (unrecorded(state.hparams), state.steps):
            state = self.from_arrays(self.to_arrays(state), hparams)
        if state.live is None:
            state = self._opened(replace(state, hparams=hparams, steps=steps))
        if self.data is None and isinstance(batches, Batches):
            first = round(batches.start)
            batches = range(first, first + len(batches))
        loader = Loader(batches) if isinstance(batches, Batches) else batches
        _call(state.live.train, loader, hparams=hparams)
        return state

    def evaluate(self, state: LoopState, data: Examples | None) -> Evaluation:
        """Let the object evaluate itself."""
        live = self._opened(state).live
        found = (
            live.evaluate() if data is None else live.evaluate(Loader(replace(data, size=self.evaluation_batch_size)))
        )
        metrics = dict(found) if isinstance(found, Mapping) else {self.metric: found}
        if hasattr(live, "finished"):
            metrics["finished"] = int(bool(live.finished() if callable(live.finished) else live.finished))
        return Evaluation(metrics)

    def is_finished(self, metrics: Mapping[str, float]) -> bool:
        """Say whether the object has converged."""
        return bool(metrics.get("finished", False))

    def to_arrays(self, state: LoopState) -> dict[str, NDArray[Any]]:
        """Return the content of the object, or the files that it writes, and how it was constructed."""
        header = {"seed": state.seed, "hparams": unrecorded(state.hparams), "steps": state.steps}
        if state.live is None and state.saved is None:
            return packed(header, _HEADER)
        live = self._opened(state).live
        if self.opaque_states:
            with temporary_folder() as folder:
                live.save(folder)
                return packed(header, _HEADER) | folder_arrays(folder)
        found = snapshot(live)
        header["states"] = list(found.states)
        content = packed(found.content, _CONTENT)
        if not finite(content):
            first = packed(snapshot(self._constructed(state.seed, state.hparams, state.steps)).content, _CONTENT)
            header["infinite"] = [name for name, array in first.items() if not finite({name: array})]
        return packed(header, _HEADER) | content | packed(found.generators, _GENERATORS)

    def is_finite(self, arrays: Arrays) -> bool:
        """Return whether all numbers are finite in the arrays in which they are when the object is constructed."""
        infinite = unpacked(arrays, _HEADER).get("infinite", ())
        return finite({name: array for name, array in arrays.items() if name not in infinite})

    def from_arrays(self, arrays: Arrays, hparams: HParams) -> LoopState:
        """Return the member of a checkpoint; it is restored when it is first needed."""
        header = unpacked(arrays, _HEADER)
        is_new = len(arrays) == 1
        return LoopState(header["seed"], hparams, header["steps"], None if is_new else arrays)

    def unsaved(self, state: LoopState, restored: LoopState) -> Sequence[str]:
        """Return the attributes that training changes and no checkpoint holds."""
        if self.opaque_states:
            return ()
        others = snapshot(restored.live).others
        return [
            f"self.{path} ({type(value).__name__}) changes in training and has no state_dict and load_state_dict"
            for path, value in snapshot(state.live).others.items()
            if isinstance(value, Iterator) or (path in others and _digest(value) != _digest(others[path]))
        ]

    def model_of(self, state: LoopState) -> Any:
        """Return the object."""
        return self._opened(state).live

    def numerics(self) -> dict[str, str]:
        """Return what the bits of a result depend on: versions, device, instruction set, threads, modes."""
        with self.numerics_scope():
            libraries = {name: version(name) for name in getattr(self.target, "libraries", ())}
            return super().numerics() | fingerprint(self.device, torch.contiguous_format, self.threads) | libraries

    def numerics_scope(self) -> AbstractContextManager[None]:
        """Return a context with `threads` threads, denormals flushed and, on CUDA, the kernels that the task allows."""
        cuda = torch.device(self.device).type == "cuda"
        return strict_scope(self.threads, cuda, tf32=self.tf32, deterministic=self.deterministic)

    @cached_property
    def _taken(self) -> frozenset[str]:
        """The names of the parameters of the constructor."""
        return frozenset(inspect.signature(self.target).parameters)

    def _constructed(self, seed: int, hparams: HParams, steps: int | None) -> Any:
        with forked_generators(seed):
            return _call(self.target, hparams, steps=steps, unit=self.unit, device=self.device)

    def _opened(self, state: LoopState) -> LoopState:
        """Return a member with its object, constructed and, if there is a checkpoint, restored from it.

        Raises:
            NotInForce: the object does not hold the hyperparameters after the restore.
        """
        if state.live is not None:
            return state
        state.live = live = self._constructed(state.seed, state.hparams, state.steps)
        if state.saved is not None:
            (self._load if self.opaque_states else self._restore)(live, state, state.saved)
        if hasattr(live, "applied"):
            for name, value in live.applied().items():
                if name in state.hparams and value != state.hparams[name]:
                    raise NotInForce(
                        f"{self.title} was to train with {name} = {state.hparams[name]!r}, but applied() returns {value!r}: set it"
                        " in apply(hparams), which is called after load(folder)"
                    )
        return state

    def _load(self, live: Any, state: LoopState, saved: Arrays) -> None:
        """Let an object load its own files, and put its hyperparameters in force."""
        new, old = snapshot(live).content, unpacked(saved, _HEADER)["hparams"]
        with temporary_folder() as folder:
            write_folder(saved, folder)
            live.load(folder)
        if old == unrecorded(state.hparams):
            return
        if hasattr(live, "apply"):
            live.apply(state.hparams)
        elif "hparams" not in inspect.signature(live.train).parameters:
            raise NotInForce(
                f"{self.title} would go on with the hyperparameters of the state that it loads. Write apply(hparams), which is"
                " called after load(folder), or let train take hparams and use them"
            )
        _go_on(live)
        before = snapshot(self._constructed(state.seed, old, state.steps)).content
        self._check_in_force(Followed(before, before, new).unchanged(snapshot(live).content, before))

    def _restore(self, live: Any, state: LoopState, saved: Arrays) -> None:
        """Restore the content of an object, with its hyperparameters in force."""
        header, content, generators = (unpacked(saved, name) for name in (_HEADER, _CONTENT, _GENERATORS))
        old = (header["hparams"], header["steps"])
        if old == (unrecorded(state.hparams), state.steps):
            load(live, content, header["states"], generators)
            return
        before = snapshot(self._constructed(state.seed, *old))
        followed = Followed(content, before.content, snapshot(live).content)
        load(live, followed.content, header["states"], generators)
        _go_on(live)
        if hasattr(live, "apply"):
            live.apply(state.hparams)
        else:
            self._check_in_force(followed.not_in_force(snapshot(live).content))

    def _check_in_force(self, wrong: Sequence[str]) -> None:
        if wrong:
            raise NotInForce(
                f"{self.title}: new hyperparameters are not in force after a restore: {', '.join(wrong[:3])} should have changed."
                " Set them in the method apply(hparams), which is called after a restore with new hyperparameters"
            )


def _go_on(live: Any) -> None:
    """Let an object that has converged go on, with new hyperparameters."""
    if getattr(live, "finished", None) is True:
        live.finished = False


def _takes_folder(cls: type) -> bool:
    return hasattr(cls, "save")


def _call(target: Callable[..., Any], first: Any, **offered: Any) -> Any:
    """Call something with its first argument, and with those of the others that it has parameters for."""
    parameters = inspect.signature(target).parameters
    return target(first, **{name: value for name, value in offered.items() if name in parameters})


def _digest(value: object) -> str | None:
    """Return a digest of the content of an object of any class; None if it has none."""
    try:
        return str(ContentHasher().hash(value))
    except Exception:
        return None
