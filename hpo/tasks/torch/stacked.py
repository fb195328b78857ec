"""Several members as one batch of tensors: parameters on a leading axis, learning rates and the like as vectors.

The forward pass is `torch.func.vmap` over the lanes of `functional_call`; one backward pass through the sum of the lanes' losses
gives each its own gradient. Parameters of all lanes lie in one matrix, a row for each lane, so that the optimizer's step is a
few operations, however many lanes and layers there are.
"""

import copy
import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hpo.errors import HpoError, InputError
from hpo.protocols import Batches, Lane
from hpo.seeding import forked_generators
from hpo.segments import HParams
from hpo.tasks.torch.dropout import Masks, dropout_layers, mask_dropout
from hpo.tasks.torch.task import TorchState, TorchTask

ALIGNMENT = 16
"""Each parameter begins at a multiple of so many numbers in its lane's row, where vectors of the widest kind do."""
_VALUES = (bool, int, float, str, tuple, type(None))

Lanes = Sequence[Lane[TorchState] | None]


@dataclass(frozen=True)
class StackedSGD(TorchTask):
    """A PyTorch task whose members can be stacked: derive from it beside `TorchTask` or `TorchClassification`.

    The optimizer is SGD with one parameter group, with momentum and weight decay or without; the model is one that `vmap`
    can take: no branches on the values of tensors, and nothing random but `nn.Dropout`, `Dropout1d`, `Dropout2d` and
    `Dropout3d`, whose rates may differ between lanes. `loss` and `learning_rate_schedule` may be overridden as ever; a task
    that overrides `train` or `training_step` has to override `train_stacked` too.
    """

    def check_stacked(self) -> None:
        """Stack two members for one step on two examples, and throw them away.

        Raises:
            InputError: that cannot be.
        """
        kind = type(self)
        if kind.train_stacked is StackedSGD.train_stacked:
            for name in ("train", "training_step"):
                if getattr(kind, name) is not getattr(TorchTask, name):
                    raise InputError(
                        f"{kind.__name__} overrides {name}: to be stacked it must override train_stacked too"
                    )
        data = self.development_data()
        if data is None:
            raise InputError(f"{kind.__name__} has no data: it cannot be stacked")
        hparams = self.search_space.sample(np.random.default_rng(0))
        batches = Batches(data, np.arange(min(2, len(data))), 2, 0.0, 1.0, 1.0)
        try:
            with self.numerics_scope(), forked_generators(0):
                lanes = [Lane(self.initialize(hparams), hparams, noise) for noise in range(2)]
                self.train_stacked(lanes, batches)
        except Exception as error:
            raise InputError(f"{kind.__name__} cannot be stacked: {error}") from error

    def stack_signature(self, state: TorchState, hparams: HParams) -> Hashable:
        """Return the model's structure: its modules with their plain attributes, and the shapes of its tensors.

        Rates of dropout may differ. Other attributes, like the slope of a leaky ReLU, are those of one model in the whole stack.
        """
        dropouts = dropout_layers(state.model)
        modules = tuple(
            (name, type(module), *sorted(_attributes(module, {"p"} if name in dropouts else set())))
            for name, module in state.model.named_modules()
        )
        tensors = itertools.chain(state.model.named_parameters(), state.model.named_buffers())
        return modules, tuple((name, tuple(each.shape), each.dtype, each.requires_grad) for name, each in tensors)

    def train_stacked(self, lanes: Lanes, batches: Batches | range) -> list[TorchState | None]:
        """Take one step of every lane on every batch of the interval.

        Raises:
            HpoError: the optimizer is not plain SGD, or a part of the model takes no part in the loss.
        """
        if isinstance(batches, range):
            raise HpoError(f"{type(self).__name__}.development_data gives no data; a task without data overrides train")
        stack = _Stack(self, lanes)
        rates = self._rates(lanes, batches, stack.rates)
        masks: dict[int, Masks] = {}
        for step, (inputs, targets) in enumerate(map(self._placed, batches)):
            size = len(inputs)
            if size not in masks:
                masks[size] = stack.masks(inputs, targets)
            stack.step(inputs, targets, masks[size].drawn(), rates[step])
        return stack.states()

    def _rates(self, lanes: Lanes, batches: Batches, constant: Tensor) -> Sequence[Tensor]:
        """Return the learning rates of each step, each of shape (lanes, 1)."""
        factors = [None if lane is None else self._factors(lane.hparams, batches) for lane in lanes]
        steps = len(batches)
        if not any(factors):
            return [constant] * steps
        table = np.ones((steps, len(lanes), 1))
        for index, found in enumerate(factors):
            if found is not None:
                table[:, index, 0] = list(found)
        return list(constant * torch.tensor(table, dtype=constant.dtype, device=constant.device))


class _Loss(nn.Module):
    """A task's loss as the forward pass of a module, for `functional_call`."""

    def __init__(self, task: TorchTask, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._loss = task.loss

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(self.model, inputs, targets)


class _Stack:
    """The lanes while they train.

    What is idle holds a copy of the first busy lane, at a learning rate of zero, and is never looked at.
    """

    def __init__(self, task: TorchTask, lanes: Lanes) -> None:
        self._lanes = lanes
        busy = [lane.state for lane in lanes if lane is not None]
        for state in busy:
            _check_optimizer(state)
        self._filled = [busy[0] if lane is None else lane.state for lane in lanes]
        model = copy.deepcopy(busy[0].model).train()
        self._feed = mask_dropout(model)
        self._program = _Loss(task, model)
        self._lay_out(busy[0].model)
        self._buffers = {
            f"model.{name}": torch.stack([dict(state.model.named_buffers())[name] for state in self._filled])
            for name, _ in busy[0].model.named_buffers()
        }
        self.rates, self._momentum, self._decay = (
            self._flat.new_tensor([0.0 if lane is None else _option(lane.state, name) for lane in lanes]).view(-1, 1)
            for name in ("lr", "momentum", "weight_decay")
        )
        self._total = self._flat.new_zeros(len(lanes))
        # The seed is that of the global generator where a member trains by itself.
        self._generators = [
            None if lane is None else torch.Generator(self._flat.device).manual_seed(lane.noise & (2**63 - 1))
            for lane in lanes
        ]
        self._losses = vmap(self._lane_loss, in_dims=(0, 0, 0, None, None), randomness="error")

    def _lay_out(self, model: nn.Module) -> None:
        """Copy the lanes' parameters and their momentum into the rows of two matrices, of which the parameters are views."""
        trained = list(model.named_parameters())
        frozen = [name for name, each in model.named_parameters() if not each.requires_grad]
        if frozen:
            raise HpoError(
                f"parameters that are not trained, {', '.join(frozen)}: make them buffers to stack the model"
            )
        kinds = {each.dtype for _, each in trained}
        if len(kinds) != 1:
            raise HpoError(f"parameters of the types {sorted(map(str, kinds))}: a stack takes one type")
        starts = list(
            itertools.accumulate((-(-each.numel() // ALIGNMENT) * ALIGNMENT for _, each in trained), initial=0)
        )
        self._flat = trained[0][1].detach().new_zeros(len(self._lanes), starts[-1])
        self._gradient, self._velocity = torch.zeros_like(self._flat), torch.zeros_like(self._flat)

        def views(matrix: Tensor) -> dict[str, Tensor]:
            return {
                name: matrix[:, start : start + each.numel()].view(len(self._lanes), *each.shape)
                for (name, each), start in zip(trained, starts, strict=False)
            }

        self._values, self._velocities = views(self._flat), views(self._velocity)
        self._gradients = list(views(self._gradient).values())
        for index, state in enumerate(self._filled):
            for name, parameter in state.model.named_parameters():
                self._values[name][index] = parameter.detach()
                velocity = state.optimizer.state.get(parameter, {}).get("momentum_buffer")
                if velocity is not None:
                    self._velocities[name][index] = velocity
        self._leaves = {f"model.{name}": view.detach().requires_grad_() for name, view in self._values.items()}

    def masks(self, inputs: Tensor, targets: Tensor) -> Masks:
        """Return what draws the masks for batches of this shape."""
        self._feed.masks, self._feed.sites = None, []
        with torch.no_grad():
            self._program(inputs, targets)
        busy = [None if lane is None else dropout_layers(lane.state.model) for lane in self._lanes]
        rates = [None if found is None else {name: float(each.p) for name, each in found.items()} for found in busy]  # type: ignore[arg-type]
        return Masks(self._feed.sites, rates, self._generators, self._flat)

    def step(self, inputs: Tensor, targets: Tensor, masks: list[Tensor], rates: Tensor) -> None:
        """Take a step of every lane, as `torch.optim.SGD` takes it."""
        losses = self._losses(self._leaves, self._buffers, masks, inputs, targets)
        try:
            gradients = torch.autograd.grad(losses.sum(), list(self._leaves.values()))
        except RuntimeError as error:
            raise HpoError(f"a parameter takes no part in the loss, or no gradient comes through: {error}") from error
        with torch.no_grad():
            torch._foreach_copy_(self._gradients, gradients)
            self._gradient.addcmul_(self._flat, self._decay)
            self._velocity.mul_(self._momentum).add_(self._gradient)
            self._flat.addcmul_(self._velocity, rates, value=-1)
            self._total += losses

    def states(self) -> list[TorchState | None]:
        """Put the lanes' tensors back into their states, and return them; None where a lane is idle or has diverged."""
        finite = (self._total.isfinite() & self._flat.isfinite().all(1)).tolist()
        return [
            self._restored(index, lane.state) if lane is not None and finite[index] else None
            for index, lane in enumerate(self._lanes)
        ]

    def _restored(self, index: int, state: TorchState) -> TorchState:
        moves = _option(state, "momentum") != 0
        with torch.no_grad():
            for name, each in state.model.named_parameters():
                each.copy_(self._values[name][index])
                if moves:
                    state.optimizer.state[each]["momentum_buffer"] = torch.empty_like(each).copy_(
                        self._velocities[name][index]
                    )
            for name, buffer in state.model.named_buffers():
                buffer.copy_(self._buffers[f"model.{name}"][index])
        return state

    def _lane_loss(
        self,
        values: dict[str, Tensor],
        buffers: dict[str, Tensor],
        masks: list[Tensor],
        inputs: Tensor,
        targets: Tensor,
    ) -> Tensor:
        self._feed.masks = list(masks)
        return functional_call(self._program, (values, buffers), (inputs, targets))  # type: ignore[no-any-return]


def _attributes(module: nn.Module, without: set[str]) -> list[tuple[str, str]]:
    """Return the plain attributes of a module."""
    return [
        (name, repr(value))
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in without | {"training"}
        if isinstance(value, _VALUES) or (callable(value) and not isinstance(value, nn.Module))
    ]


def _option(state: TorchState, name: str) -> float:
    return float(state.optimizer.param_groups[0][name])


def _check_optimizer(state: TorchState) -> None:
    optimizer = state.optimizer
    groups: Any = optimizer.param_groups
    if type(optimizer) is not torch.optim.SGD or len(groups) != 1:
        raise HpoError(
            f"{type(optimizer).__name__} with {len(groups)} parameter groups: only SGD with one can be stacked"
        )
    for name in ("nesterov", "dampening", "maximize"):
        if groups[0][name]:
            raise HpoError(
                f"SGD with {name} = {groups[0][name]}: only plain SGD with momentum and weight decay can be stacked"
            )
