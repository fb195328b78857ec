"""Trains the lanes of a stack: parameters have a leading axis of lanes; learning rate, momentum and weight decay are vectors.

The forward pass is `torch.func.vmap` over the lanes of `functional_call`; one backward pass through the sum of the lanes' losses
gives each its own gradient. The parameters of all lanes are one matrix with a row per lane, so that the optimizer's step is
a few operations, however many lanes and layers there are.

Lanes may have different sizes: a lane's tensors then fill the leading corners of a larger model's tensors, padded with zeros.
"""

import copy
import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from hpo.core.errors import HpoError
from hpo.core.task import Lane
from hpo.tasks.torch.dropout import LaneDraws, MaskFeed, Masks, Site, dropout_layers, mask_dropout
from hpo.tasks.torch.task import TorchState, TorchTask

ALIGNMENT = 16
"""Each parameter starts at a multiple of this many numbers in its lane's row, aligned for the widest vector registers."""

Lanes = Sequence[Lane[TorchState] | None]


class _Loss(nn.Module):
    """A task's loss as the forward pass of a module, for `functional_call`."""

    def __init__(self, task: TorchTask, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self._loss = task.loss

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        return self._loss(self.model, inputs, targets)


class Stack:
    """The lanes while they train.

    An idle lane holds a copy of the first busy lane, at a learning rate of zero, and is ignored.

    Args:
        task: provides the loss.
        lanes: at least one of them busy.
        frame: a model whose tensors are large enough for those of each lane's model; its values are ignored.

    Raises:
        HpoError: the lanes cannot be stacked.
    """

    def __init__(self, task: TorchTask, lanes: Lanes, frame: nn.Module) -> None:
        self._lanes = lanes
        busy = [lane.state for lane in lanes if lane is not None]
        for state in busy:
            _check_optimizer(state)
        self._task, self._filled = task, [busy[0] if lane is None else lane.state for lane in lanes]
        model = copy.deepcopy(frame).train()
        self._feed = mask_dropout(model)
        self._program = _Loss(task, model)
        self._lay_out(frame)
        self._buffers = {f"model.{name}": torch.stack([buffer] * len(lanes)) for name, buffer in frame.named_buffers()}
        for index, state in enumerate(self._filled):
            for name, buffer in state.model.named_buffers():
                corner(self._buffers[f"model.{name}"][index], buffer).copy_(buffer)
        self.rates, self._momentum, self._decay = (
            self._flat.new_tensor([0.0 if lane is None else _option(lane.state, name) for lane in lanes]).view(-1, 1)
            for name in ("lr", "momentum", "weight_decay")
        )
        self._total = self._flat.new_zeros(len(lanes))
        # The seed of the global generator when a member trains alone.
        self._generators = [
            None if lane is None else torch.Generator(self._flat.device).manual_seed(lane.noise & (2**63 - 1))
            for lane in lanes
        ]
        self._losses = vmap(self._lane_loss, in_dims=(0, 0, 0, None, None), randomness="error")

    def _lay_out(self, frame: nn.Module) -> None:
        """Copy the lanes' parameters and momentum into the rows of two matrices; the parameters become views of the first."""
        trained = list(frame.named_parameters())
        frozen = [name for name, each in trained if not each.requires_grad]
        if frozen:
            raise HpoError(f"frozen parameters, {', '.join(frozen)}: make them buffers to stack the model")
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
                corner(self._values[name][index], parameter).copy_(parameter.detach())
                velocity = state.optimizer.state.get(parameter, {}).get("momentum_buffer")
                if velocity is not None:
                    corner(self._velocities[name][index], velocity).copy_(velocity)
        self._leaves = {f"model.{name}": view.detach().requires_grad_() for name, view in self._values.items()}

    def masks(self, inputs: Tensor, targets: Tensor) -> Masks:
        """Return the dropout masks for batches of this shape."""
        sites = _dropout_calls(self._program, self._feed, inputs, targets)
        draws: list[LaneDraws | None] = []
        shapes: dict[tuple[torch.Size, ...], list[Site]] = {}
        for lane, generator in zip(self._lanes, self._generators, strict=True):
            if lane is None or generator is None:
                draws.append(None)
                continue
            model = lane.state.model
            key = tuple(each.shape for each in model.parameters())
            if key not in shapes:
                own = copy.deepcopy(model).train()
                feed = mask_dropout(own)
                shapes[key] = _dropout_calls(_Loss(self._task, own), feed, inputs, targets)
            rates = {name: float(each.p) for name, each in dropout_layers(model).items()}  # type: ignore[arg-type]
            draws.append(LaneDraws(shapes[key], rates, generator))
        return Masks(sites, draws, self._flat)

    def gradients(self, inputs: Tensor, targets: Tensor, masks: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the lanes' losses, shape (lanes,), and the gradients of their parameters by name, shape (lanes, ...)."""
        losses = self._losses(self._leaves, self._buffers, masks, inputs, targets)
        try:
            found = torch.autograd.grad(losses.sum(), list(self._leaves.values()))
        except RuntimeError as error:
            raise HpoError(
                f"a parameter takes no part in the loss, or its gradient cannot be computed: {error}"
            ) from error
        return losses.detach(), dict(zip(self._values, found, strict=True))

    def step(self, inputs: Tensor, targets: Tensor, masks: list[Tensor], rates: Tensor) -> None:
        """Take one step of every lane, as `torch.optim.SGD` does."""
        losses, gradients = self.gradients(inputs, targets, masks)
        with torch.no_grad():
            torch._foreach_copy_(self._gradients, list(gradients.values()))
            self._gradient.addcmul_(self._flat, self._decay)
            self._velocity.mul_(self._momentum).add_(self._gradient)
            self._flat.addcmul_(self._velocity, rates, value=-1)
            self._total += losses

    def states(self) -> list[TorchState | None]:
        """Copy the lanes' tensors back into their states, and return them; None for a lane that is idle or has diverged."""
        finite = (self._total.isfinite() & self._flat.isfinite().all(1)).tolist()
        return [
            self._restored(index, lane.state) if lane is not None and finite[index] else None
            for index, lane in enumerate(self._lanes)
        ]

    def _restored(self, index: int, state: TorchState) -> TorchState:
        moves = _option(state, "momentum") != 0
        with torch.no_grad():
            for name, each in state.model.named_parameters():
                each.copy_(corner(self._values[name][index], each))
                if moves:
                    velocity = corner(self._velocities[name][index], each)
                    state.optimizer.state[each]["momentum_buffer"] = torch.empty_like(each).copy_(velocity)
            for name, buffer in state.model.named_buffers():
                buffer.copy_(corner(self._buffers[f"model.{name}"][index], buffer))
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


def _dropout_calls(program: _Loss, feed: MaskFeed, inputs: Tensor, targets: Tensor) -> list[Site]:
    """Return the calls of dropout layers in a forward pass, in order."""
    feed.masks, feed.sites = None, []
    with torch.no_grad():
        program(inputs, targets)
    return feed.sites


def corner(tensor: Tensor, own: Tensor) -> Tensor:
    """Return the leading corner of a tensor that has the shape of `own`."""
    if tensor.dim() != own.dim() or any(there < here for there, here in zip(tensor.shape, own.shape, strict=True)):
        raise HpoError(
            f"a tensor of shape {tuple(own.shape)} does not fit into {tuple(tensor.shape)} of the padded model"
        )
    return tensor[tuple(slice(size) for size in own.shape)]


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
