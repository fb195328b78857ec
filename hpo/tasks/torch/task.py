"""The base of all PyTorch tasks: optimizer steps, checkpoints, divergence, evaluation."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo.core.errors import HpoError
from hpo.core.seeding import forked_generators
from hpo.core.segments import SHRINK_PERTURB, HParams, ShrinkPerturb
from hpo.core.task import Batches, Diverged, Evaluation, Examples, Metric, Task
from hpo.tasks.torch.device import to_device
from hpo.tasks.torch.memory import keep_freed_memory
from hpo.tasks.torch.model_state import load_model_arrays, model_arrays, tensors_of
from hpo.tasks.torch.numerics import fingerprint, setting, strict_scope, unlimited_programs
from hpo.tasks.torch.optimizer_state import Options, load_optimizer, optimizer_arrays, options_of
from hpo.tasks.torch.param_groups import Share, shares
from hpo.tasks.torch.shrink_perturb import shrink_perturb
from hpo.tasks.torch.unsaved import unsaved

STEPS_BETWEEN_CHECKS = 50
"""Training steps between two checks of the loss: each check waits for the device."""


@dataclass
class TorchState:
    """A model in training.

    Args:
        model: on the task's device, convolution weights in the task's memory format.
        optimizer: of the model's parameters, with its own state.
        shares: for each hyperparameter that the optimizer holds, what each parameter group gets of it.
        built: the options of the parameter groups before training, with hyperparameters applied; None if unknown.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    shares: dict[str, tuple[Share, ...]] = field(default_factory=dict)
    built: Options | None = None


@dataclass(frozen=True)
class TorchTask(Task[TorchState]):
    """A task that trains an `nn.Module` by gradient steps. Override what differs; draw from torch's global generator.

    Batches are pairs (inputs, targets), as `ArrayDataset` returns them; each of the two may be a tensor, or a dict, list or tuple
    of tensors. Of any other batch, such as a dict, all is `inputs`, and `targets` is None.

    A hyperparameter whose name is a key of the optimizer's `param_groups` (`lr`, `momentum`, `weight_decay`, ...) is set in all
    groups except those with a value of their own (`hpo.tasks.torch.param_groups.shares`); for others, or for other rules, override
    `apply_hparams` and `applied_hparams`. A checkpoint holds parameters, buffers, the modules' extra state and the optimizer's
    `state_dict`; nothing else survives an interval.

    Args:
        batch_size: examples per training step, unless a study searches it.
        validation_size: examples of the development data that each replicate sets aside for validation.
        drop_last: leave out an interval's last batch if it is short.
        tf32: allow TF32 on CUDA: faster, with fewer bits.
        deterministic: use deterministic algorithms on CUDA. Without them, training is not reproducible.
        precision: of the model and the loss; `bf16` means autocast to bfloat16 with float32 weights. Overrides that compute the
            model or the loss do so within `autocast()`.
        compile: compile the model with `torch.compile`, once for each shape.
    """

    batch_size: Annotated[int, Gt(0)] = 64
    validation_size: Annotated[int, Ge(0)] = 0
    drop_last: bool = False
    tf32: bool = setting(False)
    deterministic: bool = setting(True)
    precision: Literal["float32", "bf16"] = setting("float32")
    compile: bool = setting(False)

    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    """The layout of 4-d weights and inputs."""
    evaluation_batch_size: ClassVar[int] = 1000
    """Examples per batch when evaluating."""
    searches_batch_size = True
    transforms = frozenset({SHRINK_PERTURB})
    reads_are_seen = True

    @abstractmethod
    def build_model(self, hparams: HParams) -> nn.Module:
        """Return a new model with random weights; only `fixed` hyperparameters may shape it."""

    def build_optimizer(self, model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
        """Return a new optimizer of the model's parameters; hyperparameters are applied afterwards. Default: SGD."""
        return torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)

    @abstractmethod
    def loss(self, model: nn.Module, inputs: Any, targets: Any) -> Tensor:
        """Return the mean loss of a batch, a scalar, which training minimizes."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The mean loss; a task with other metrics overrides this and `evaluate`."""
        return (Metric("loss"),)

    def learning_rate_schedule(self, hparams: HParams) -> Callable[[float], float] | None:
        """Return the factor on the learning rate as a function of progress; None, the default, for a constant rate.

        Progress is the fraction of the member's whole budget that was trained before the step: at least 0, less than 1. The result
        may depend on the hyperparameters alone; segments for which it is a function have the budget in their keys.
        """
        return None

    def uses_budget(self, hparams: HParams) -> bool:
        """Say whether there is a learning rate schedule, which measures progress against the budget."""
        return self.learning_rate_schedule(hparams) is not None

    @property
    def one_step_per_batch(self) -> bool:
        """Whether neither `train` nor `training_step` is overridden: an override may change the batches, or step less often."""
        own = type(self)
        return own.train is TorchTask.train and own.training_step is TorchTask.training_step

    def training_step(self, state: TorchState, inputs: Any, targets: Any) -> Tensor | None:
        """Take one optimizer step on a batch and return its loss; override it to clip gradients, for instance.

        An override may return None; divergence is then noticed by the parameters, at the end of the interval.
        """
        state.optimizer.zero_grad()
        with self.autocast():
            loss = self.loss(state.model, inputs, targets)
        torch.autograd.backward(loss)
        state.optimizer.step()
        return loss.detach()

    def apply_hparams(self, state: TorchState, hparams: HParams) -> None:
        """Set the hyperparameters that are keys of the optimizer's parameter groups, in each group its share."""
        groups, defaults = state.optimizer.param_groups, state.optimizer.defaults
        for name in dict.fromkeys(key for group in groups for key in group if key != "params"):
            if name in hparams:
                if name not in state.shares:
                    state.shares[name] = shares(groups, defaults, name, hparams[name])
                for group, share in _shared(state, name):
                    group[name] = share.of(hparams[name], group[name])

    def applied_hparams(self, state: TorchState) -> HParams:
        """Return the present values of these hyperparameters, from the parameter groups that take them unchanged."""
        return {
            name: next(group[name] for group, share in _shared(state, name) if share.follows) for name in state.shares
        }

    def initialize(self, hparams: HParams) -> TorchState:
        """Return a model with fresh random weights and a fresh optimizer; lazy layers get their shapes from two examples."""
        model = self.build_model(hparams).to(self.device)
        self._materialize(model)
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                if parameter.dim() == 4:
                    # Not `contiguous`: it leaves a weight with one input channel unchanged, and the whole net then runs on the
                    # kernels of the other layout, at half the speed.
                    parameter.data = parameter.data.to(memory_format=self.memory_format)
        if self.compile:
            # In place, so that names in checkpoints stay. Each shape has its own program: whether one serves several shapes would
            # depend on which of them a process has seen first.
            model.compile(dynamic=False)
        state = TorchState(model, self.build_optimizer(model, hparams))
        self.apply_hparams(state, hparams)
        state.built = options_of(state.optimizer)
        return state

    def train(self, state: TorchState, hparams: HParams, batches: Batches | range) -> TorchState:
        """Take one step on every batch of the interval.

        Raises:
            Diverged: a loss or, at the end, a parameter is not finite.
        """
        if isinstance(batches, range):
            raise HpoError(
                f"{type(self).__name__}.development_data gives no data; a task without data must override train"
            )
        self.apply_hparams(state, hparams)
        state.model.train()
        factors = self._factors(hparams, batches)
        rates = [] if factors is None else [group["lr"] for group in state.optimizer.param_groups]
        total = torch.zeros((), device=self.device)
        for step, (inputs, targets) in enumerate(map(self._on_device, batches), start=1):
            if factors is not None:
                _set_rates(state, rates, next(factors))
            loss = self.training_step(state, inputs, targets)
            if loss is not None:
                total += loss
            if step % STEPS_BETWEEN_CHECKS == 0:
                _check_finite(total, "training loss")
        _check_finite(total, "training loss")
        if factors is not None:
            _set_rates(state, rates, 1.0)
        for name, parameter in state.model.named_parameters():
            _check_finite(parameter, name)
        return state

    def evaluate(self, state: TorchState, data: Examples | None) -> Evaluation:
        """Return the mean of `loss` over the examples, in evaluation mode, and their `count`."""
        total, count = torch.zeros((), dtype=torch.float64, device=self.device), count_of(data)
        with torch.inference_mode():
            for number, (inputs, targets) in enumerate(self.batches_of(state, data)):
                size = min(self.evaluation_batch_size, count - number * self.evaluation_batch_size)
                with self.autocast():
                    loss = self.loss(state.model, inputs, targets)
                total += loss * size
        return Evaluation({"loss": finite_or_nan(total) / count, "count": count})

    def to_arrays(self, state: TorchState) -> dict[str, NDArray[Any]]:
        """Return the state of the model and of its optimizer; see `model_arrays` and `optimizer_arrays`.

        `hpo.tasks.torch.state_dicts` says how types that numpy does not know are saved.
        """
        applied = [
            {name for name in state.shares for each, share in _shared(state, name) if each is group and share.changes}
            for group in state.optimizer.param_groups
        ]
        return model_arrays(state.model) | optimizer_arrays(state.optimizer, state.built or (), applied)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> TorchState:
        """Return the state of a checkpoint, in the memory layout that training left it in, with these hyperparameters applied.

        Leaves the global random generators unchanged.

        Raises:
            HpoError: the arrays do not fit this model.
        """
        # Building the model draws weights, which are overwritten; the draws must not move the generators either.
        with forked_generators(0):
            state = self.initialize(hparams)
        if state.built is None:
            state.built = options_of(state.optimizer)
        load_model_arrays(state.model, arrays)
        load_optimizer(state.optimizer, arrays)
        self.apply_hparams(state, hparams)
        return state

    def shrink_perturb(self, state: TorchState, fresh: TorchState, transform: ShrinkPerturb) -> TorchState:
        """Return the state with transformed weights; see `hpo.tasks.torch.shrink_perturb`.

        The optimizer keeps what it has accumulated, such as momentum, unless the transform resets it.
        """
        shrink_perturb(state.model, fresh.model, transform.shrink, transform.perturb)
        if not transform.reset_optimizer:
            return state
        load_model_arrays(fresh.model, model_arrays(state.model))
        return fresh

    def unsaved(self, state: TorchState, restored: TorchState) -> Sequence[str]:
        """Return the state that checkpoints do not hold; see `hpo.tasks.torch.unsaved`."""
        return unsaved(state, restored)

    def model_of(self, state: TorchState) -> nn.Module:
        """Return the model in evaluation mode."""
        return state.model.eval()

    def numerics(self) -> dict[str, str]:
        """Return what the bits of a result depend on: versions, device, instruction set, threads, modes."""
        with self.numerics_scope():
            found = super().numerics() | fingerprint(self.device, self.memory_format, self.threads)
        compiled = {"compile": "inductor"} if self.compile else {}
        return found | compiled | ({} if self.precision == "float32" else {"precision": self.precision})

    @contextmanager
    def numerics_scope(self) -> Iterator[None]:
        """Hold torch to the task's threads and settings, with denormals flushed."""
        keep_freed_memory()
        cuda = torch.device(self.device).type == "cuda"
        programs = unlimited_programs() if self.compile else nullcontext()
        with programs, strict_scope(self.threads, cuda, tf32=self.tf32, deterministic=self.deterministic):
            yield

    def autocast(self) -> AbstractContextManager[Any]:
        """Return a context in which the model and the loss compute in the task's `precision`."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def _factors(self, hparams: HParams, batches: Batches) -> Iterator[float] | None:
        """Return the factor on the learning rate for each step of the interval; None if it is constant."""
        schedule = self.learning_rate_schedule(hparams)
        if schedule is None:
            return None
        if batches.budget is None:
            raise HpoError(f"{type(self).__name__} has a learning rate schedule, but its batches have no budget")
        budget, start, length = batches.budget, batches.start, batches.stop - batches.start
        examples = len(batches.positions)
        seen = range(0, examples, batches.size)
        return (schedule((start + length * (count / examples)) / budget) for count in seen)

    def _on_device(self, batch: Any) -> tuple[Any, Any]:
        """Return the inputs and the targets of a batch, on the device."""
        return to_device(batch, self.device, self.memory_format)

    def _materialize(self, model: nn.Module) -> None:
        """Give lazy layers their shapes by computing the loss of two examples, without training.

        Raises:
            HpoError: there is no data, or `loss` does not run all of the layers.
        """
        lazy = _lazy(model)
        data = self.development_data() if lazy else None
        if data is not None:
            model.eval()
            with torch.no_grad():
                self.loss(model, *self._on_device(data.take(np.arange(min(2, len(data))))))
            model.train()
            lazy = _lazy(model)
        if lazy:
            raise HpoError(
                f"lazy layers have no shapes yet: {', '.join(lazy)}: build them with their sizes, or let `loss` run them on the"
                " task's development data"
            )

    def batches_of(self, state: TorchState, data: Examples | None) -> Iterator[tuple[Any, Any]]:
        """Put the model in evaluation mode and return the batches of some examples, on the device."""
        if data is None:
            raise HpoError(f"{type(self).__name__}.development_data gives no data to evaluate on")
        state.model.eval()
        return map(self._on_device, data.batches(self.evaluation_batch_size))


def _set_rates(state: TorchState, rates: Sequence[float], factor: float) -> None:
    for group, rate in zip(state.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor


def _shared(state: TorchState, name: str) -> Iterator[tuple[dict[str, Any], Share]]:
    """Yield the parameter groups that have an option, each with its share of the hyperparameter of that name."""
    return zip((group for group in state.optimizer.param_groups if name in group), state.shares[name], strict=True)


def _lazy(model: nn.Module) -> list[str]:
    return [name for name, tensor in tensors_of(model) if nn.parameter.is_lazy(tensor)]


def count_of(data: Examples | None) -> int:
    """Return the number of examples.

    Raises:
        HpoError: there are none.
    """
    if not data:
        raise HpoError("there are no examples to evaluate on")
    return len(data)


def _check_finite(tensor: Tensor, what: str) -> None:
    if tensor.is_floating_point() and tensor.dtype.itemsize == 1:  # PyTorch has no isfinite for all kinds of float8
        tensor = tensor.float()
    if not bool(torch.isfinite(tensor).all()):
        raise Diverged(f"{what} is not finite")


def finite_or_nan(total: Tensor) -> float:
    """Return a scalar tensor's value, or NaN if it is infinite."""
    value = float(total)
    return value if math.isfinite(value) else math.nan
