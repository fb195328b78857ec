"""The base of all PyTorch tasks: optimizer steps, checkpoints, divergence, evaluation."""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo.errors import HpoError
from hpo.protocols import Batches, Diverged, Evaluation, Examples, Metric, Task
from hpo.seeding import forked_generators
from hpo.segments import HParams
from hpo.tasks.torch.arrays import load_optimizer, optimizer_arrays, to_array
from hpo.tasks.torch.descent import descend, forget_gradients, propagate
from hpo.tasks.torch.memory import keep_freed_memory
from hpo.tasks.torch.numerics import flushes_denormals, strict_scope

STEPS_BETWEEN_CHECKS = 50
"""Training steps between two looks at the loss: each look waits for the device."""


@dataclass
class TorchState:
    """A model in training.

    Args:
        model: on the task's device, convolution weights in the task's memory format.
        optimizer: of the model's parameters, with its own state.
        applied: the names of the hyperparameters that the optimizer holds.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    applied: tuple[str, ...] = ()


@dataclass(frozen=True)
class TorchTask(Task[TorchState]):
    """A task that trains an `nn.Module` by gradient steps. Override what differs; all randomness is torch's global one.

    Batches are pairs (inputs, targets) of tensors, as `ArrayDataset` gives them. A hyperparameter whose name is a key of
    the optimizer's `param_groups` (`lr`, `momentum`, `weight_decay`, ...) is set in every group; for others, or for other
    rules, override `apply_hparams` and `applied_hparams`. What a checkpoint holds: parameters, buffers and the
    optimizer's state for each parameter; nothing else survives an interval.

    Args:
        batch_size: examples per training step.
        validation_size: examples of the development data that each replicate sets aside for validation.
    """

    batch_size: Annotated[int, Gt(0)] = 64
    validation_size: Annotated[int, Ge(0)] = 0

    memory_format: ClassVar[torch.memory_format] = torch.channels_last
    """The layout of 4-d weights and inputs."""
    evaluation_batch_size: ClassVar[int] = 1000
    """Examples per batch when evaluating."""

    @abstractmethod
    def build_model(self, hparams: HParams) -> nn.Module:
        """Return a new model with random weights; of the hyperparameters only the `fixed` ones may shape it."""

    def build_optimizer(self, model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
        """Return a new optimizer of the model's parameters; hyperparameters are applied afterwards. Default: SGD."""
        return torch.optim.SGD(model.parameters(), lr=1e-3, fused=True)

    @abstractmethod
    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch, a scalar: what a training step descends."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The mean loss; a task with other metrics overrides this and `evaluate`."""
        return (Metric("loss"),)

    def learning_rate_schedule(self, hparams: HParams) -> Callable[[float], float] | None:
        """Return what the learning rate is multiplied by, as a function of progress; None, the default: a constant rate.

        Progress is the place of a training step's start in the member's whole budget, from 0 up to, not including, 1. An override
        decides from the hyperparameters alone; the segments for which it returns a function have the budget in their keys.
        """
        return None

    def uses_budget(self, hparams: HParams) -> bool:
        """Say whether there is a learning rate schedule: progress is measured against the budget."""
        return self.learning_rate_schedule(hparams) is not None

    def training_step(self, state: TorchState, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take one optimizer step on a batch and return its loss; override it to clip gradients, for instance."""
        forget_gradients(state.optimizer)
        loss = self.loss(state.model, inputs, targets)
        propagate(loss)
        descend(state.optimizer)
        return loss.detach()

    def apply_hparams(self, state: TorchState, hparams: HParams) -> None:
        """Put hyperparameters in force: those that name a key of the optimizer's parameter groups, in every group."""
        groups = state.optimizer.param_groups
        state.applied = tuple(name for name in hparams if name != "params" and name in groups[0])
        for group in groups:
            group.update({name: hparams[name] for name in state.applied})

    def applied_hparams(self, state: TorchState) -> HParams:
        """Return the hyperparameters as the optimizer's first parameter group holds them now."""
        return {name: state.optimizer.param_groups[0][name] for name in state.applied}

    def initialize(self, hparams: HParams) -> TorchState:
        """Return a model with fresh random weights and a fresh optimizer."""
        model = self.build_model(hparams).to(self.device)
        for module in model.modules():
            for parameter in module.parameters(recurse=False):
                if parameter.dim() == 4:
                    # `to`, not `contiguous`, which leaves a weight with one input channel as it is: the kernels for
                    # the other layout then serve the whole net, at half the speed.
                    parameter.data = parameter.data.to(memory_format=self.memory_format)
        state = TorchState(model, self.build_optimizer(model, hparams))
        self.apply_hparams(state, hparams)
        return state

    def train(self, state: TorchState, hparams: HParams, batches: Batches | range) -> TorchState:
        """Take one step on every batch of the interval.

        Raises:
            Diverged: a loss or, at the end, a parameter is not finite.
        """
        if isinstance(batches, range):
            raise HpoError(f"{type(self).__name__}.development_data gives no data; a task without data overrides train")
        self.apply_hparams(state, hparams)
        state.model.train()
        factors = self._factors(hparams, batches)
        rates = [] if factors is None else [group["lr"] for group in state.optimizer.param_groups]
        total = torch.zeros((), device=self.device)
        for step, (inputs, targets) in enumerate(map(self._placed, batches), start=1):
            if factors is not None:
                _set_rates(state, rates, next(factors))
            total += self.training_step(state, inputs, targets)
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
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with torch.inference_mode():
            for inputs, targets in self.batches_of(state, data):
                total += self.loss(state.model, inputs, targets) * len(targets)
        return Evaluation({"loss": finite_or_nan(total) / count_of(data), "count": count_of(data)})

    def to_arrays(self, state: TorchState) -> dict[str, NDArray[Any]]:
        """Return copies of parameters, buffers (`model.<name>`) and optimizer state (`optimizer.<i>.<key>`), contiguous."""
        arrays = {f"model.{name}": to_array(tensor) for name, tensor in _tensors(state.model)}
        return arrays | optimizer_arrays(state.optimizer)

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> TorchState:
        """Return the state of a checkpoint in the layout that training left it in, with these hyperparameters in force.

        Draws nothing from the generators that training draws from.

        Raises:
            HpoError: the arrays are not those of this model.
        """
        # The weights that building the model draws are overwritten; the draws themselves must not be seen either.
        with forked_generators(0):
            state = self.initialize(hparams)
        tensors = {f"model.{name}": tensor for name, tensor in _tensors(state.model)}
        given = {name for name in arrays if name.startswith("model.")}
        if odd := sorted(tensors.keys() ^ given):
            raise HpoError(f"the checkpoint does not fit the model of {type(self).__name__}: {', '.join(odd)}")
        with torch.no_grad():
            for name, tensor in tensors.items():
                if tensor.shape != arrays[name].shape:
                    raise HpoError(
                        f"{name} has shape {arrays[name].shape} in the checkpoint, not {tuple(tensor.shape)}"
                    )
                tensor.copy_(torch.tensor(arrays[name]))
        load_optimizer(state.optimizer, arrays)
        self.apply_hparams(state, hparams)
        return state

    def model_of(self, state: TorchState) -> nn.Module:
        """Return the model in evaluation mode."""
        return state.model.eval()

    def numerics(self) -> dict[str, str]:
        """Return what the bits of a result depend on: versions, device, instruction set, threads, modes."""
        with self.numerics_scope():
            flushes = flushes_denormals()
        found = super().numerics() | {
            "torch": str(torch.__version__),
            "device": torch.device(self.device).type,
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "threads": "1",
            "denormals": "flushed" if flushes else "kept",
            "memory_format": str(self.memory_format).removeprefix("torch."),
            "compile": "off",
        }
        if found["device"] == "cuda":
            major, minor = torch.cuda.get_device_capability(self.device)
            found |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name(self.device)}
            found["gpu_capability"] = f"{major}.{minor}"
        return found

    def numerics_scope(self) -> AbstractContextManager[None]:
        """Return a context with one thread, denormals flushed to zero and, on CUDA, deterministic algorithms without TF32."""
        keep_freed_memory()
        return strict_scope(torch.device(self.device).type == "cuda")

    def _factors(self, hparams: HParams, batches: Batches) -> Iterator[float] | None:
        """Return the factor on the learning rate for each step of the interval; None where it is constant."""
        schedule = self.learning_rate_schedule(hparams)
        if schedule is None:
            return None
        if batches.budget is None:
            raise HpoError(f"{type(self).__name__} has a learning rate schedule, but its batches do not say the budget")
        budget, start, length = batches.budget, batches.start, batches.stop - batches.start
        examples = len(batches.positions)
        seen = range(0, examples, batches.size)
        return (schedule((start + length * (count / examples)) / budget) for count in seen)

    def _placed(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        inputs, targets = (tensor.to(self.device, non_blocking=True) for tensor in batch)
        return inputs.to(memory_format=self.memory_format) if inputs.dim() == 4 else inputs, targets

    def batches_of(self, state: TorchState, data: Examples | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Put the model in evaluation mode and return the batches of some examples, on the device."""
        if data is None:
            raise HpoError(f"{type(self).__name__}.development_data gives no data to evaluate on")
        state.model.eval()
        return map(self._placed, data.batches(self.evaluation_batch_size))


def _set_rates(state: TorchState, rates: Sequence[float], factor: float) -> None:
    for group, rate in zip(state.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate * factor


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def count_of(data: Examples | None) -> int:
    """Return how many examples there are, which must be some."""
    if not data:
        raise HpoError("there are no examples to evaluate on")
    return len(data)


def _check_finite(tensor: Tensor, what: str) -> None:
    if not bool(torch.isfinite(tensor).all()):
        raise Diverged(f"{what} is not finite")


def finite_or_nan(total: Tensor) -> float:
    """Return a scalar tensor's value; NaN for infinity."""
    value = float(total)
    return value if math.isfinite(value) else math.nan
