"""PyTorch tasks whose members can be trained as one batch of tensors."""

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from hpo.core.errors import HpoError, InputError
from hpo.core.seeding import forked_generators
from hpo.core.segments import HParams
from hpo.core.task import Batches, Lane
from hpo.tasks.torch.dropout import Masks, dropout_layers
from hpo.tasks.torch.lanes import Lanes, Stack, corner
from hpo.tasks.torch.task import TorchState, TorchTask

SAMPLES = 10
"""Padding is checked for this many random members before a study starts."""
TOLERANCE = 1e-3
"""The largest difference of losses and gradients in a padded model, relative to the largest gradient."""
_VALUES = (bool, int, float, str, tuple, list, dict, set, frozenset, type(None))


@dataclass(frozen=True)
class StackedSGD(TorchTask):
    """A PyTorch task whose members can be stacked: a mixin for `TorchTask` or `TorchClassification`.

    The optimizer must be SGD with one parameter group, with or without momentum and weight decay. `vmap` must be able to run the
    model: no branches on the values of tensors, and nothing random except `nn.Dropout`, `Dropout1d`, `Dropout2d` and
    `Dropout3d`, whose rates may differ between lanes. `loss` and `learning_rate_schedule` may be overridden; a task that
    overrides `train` or `training_step` must override `train_stacked` too.

    Models of different sizes can share a stack; see `padded_hparams`.
    """

    def padded_hparams(self, hparams: HParams) -> HParams:
        """Return the hyperparameters of the larger model that this one is padded to in a stack. Default: no padding.

        Members with the same padded model share a stack, even if their sizes differ. A member's tensors fill the leading corners of
        the padded model's, surrounded by zeros, which must not change its results: true of units and channels between linear
        layers or convolutions with `relu`, but not of layer norm over the units, for instance.
        """
        return hparams

    def check_stacked(self) -> None:
        """Train a stack of two members for one step on two examples, and check that padding changes nothing for some members.

        Raises:
            InputError: the task cannot be stacked; with the reason.
        """
        kind = type(self)
        if kind.train_stacked is StackedSGD.train_stacked:
            for name in ("train", "training_step"):
                if getattr(kind, name) is not getattr(TorchTask, name):
                    raise InputError(
                        f"{kind.__name__} overrides {name}: to be stacked it must override train_stacked too"
                    )
        if self.compile or self.precision != "float32":
            raise InputError(
                f"{kind.__name__} with compile or precision = {self.precision!r} cannot be stacked: leave them out"
            )
        data = self.development_data()
        if data is None:
            raise InputError(f"{kind.__name__} has no data: it cannot be stacked")
        rng = np.random.default_rng(0)
        space = replace(self.search_space, feasible=self.is_feasible)
        drawn = [space.sample(rng) for _ in range(SAMPLES)]
        batches = Batches(data, np.arange(min(2, len(data))), 2, 0.0, 1.0, 1.0)

        def two(hparams: HParams) -> list[Lane[TorchState]]:
            return [Lane(self.initialize(hparams), hparams, noise) for noise in range(2)]

        try:
            with self.numerics_scope(), forked_generators(0):
                if kind.train_stacked is StackedSGD.train_stacked:
                    for hparams in (each for each in drawn if self.padded_hparams(each) != each):
                        self._check_padding(two(hparams), batches)
                self.train_stacked(two(drawn[0]), batches)
        except Exception as error:
            raise InputError(f"{kind.__name__} cannot be stacked: {error}") from error

    def stack_signature(self, state: TorchState, hparams: HParams) -> Hashable:
        """Return the padded model's structure: its modules with their plain attributes, and the shapes of its tensors.

        Dropout rates may differ between lanes; all other attributes, like the slope of a leaky ReLU, must agree.
        """
        frame = self._frame(state, hparams)
        dropouts = dropout_layers(frame)
        modules = tuple(
            (name, type(module), *sorted(_attributes(module, {"p"} if name in dropouts else set())))
            for name, module in frame.named_modules()
        )
        tensors = itertools.chain(frame.named_parameters(), frame.named_buffers())
        return modules, tuple((name, tuple(each.shape), each.dtype, each.requires_grad) for name, each in tensors)

    def train_stacked(self, lanes: Lanes, batches: Batches | range) -> list[TorchState | None]:
        """Take one step of every lane on every batch of the interval.

        Raises:
            HpoError: the optimizer is not plain SGD, or a parameter takes no part in the loss.
        """
        if isinstance(batches, range):
            raise HpoError(
                f"{type(self).__name__}.development_data gives no data; a task without data must override train"
            )
        busy = [lane for lane in lanes if lane is not None]
        # A padded member, if there is one: the frame is then a fresh model, independent of the rest of the stack.
        of = next((lane for lane in busy if self.padded_hparams(lane.hparams) != lane.hparams), busy[0])
        stack = Stack(self, lanes, self._frame(of.state, of.hparams))
        rates = self._rates(lanes, batches, stack.rates)
        masks: dict[int, Masks] = {}
        for step, (inputs, targets) in enumerate(map(self._on_device, batches)):
            size = len(inputs)
            if size not in masks:
                masks[size] = stack.masks(inputs, targets)
            stack.step(inputs, targets, masks[size].drawn(), rates[step])
        return stack.states()

    def _frame(self, state: TorchState, hparams: HParams) -> nn.Module:
        """Return the padded model of a member."""
        padded = self.padded_hparams(hparams)
        if padded == hparams:
            return state.model
        with forked_generators(0):
            return self.initialize(padded).model

    def _check_padding(self, lanes: Sequence[Lane[TorchState]], batches: Batches) -> None:
        """Check that padding changes neither losses nor gradients, and gets no gradient itself."""
        (inputs, targets), *_ = map(self._on_device, batches)
        found = []
        for frame in (lanes[0].state.model, self._frame(lanes[0].state, lanes[0].hparams)):
            stack = Stack(self, lanes, frame)
            found.append(stack.gradients(inputs, targets, stack.masks(inputs, targets).drawn()))
        (losses, gradients), (padded_losses, padded_gradients) = found
        if not torch.allclose(losses, padded_losses, rtol=TOLERANCE):
            raise HpoError("the padded model has another loss: padded_hparams does not suit the model")
        largest = max(float(gradient.abs().max()) for gradient in gradients.values())
        for name, wide in padded_gradients.items():
            gradient = gradients.get(name)
            own = wide[:0] if gradient is None else corner(wide, gradient)
            if gradient is not None and float((own - gradient).abs().max()) > TOLERANCE * largest:
                raise HpoError(
                    f"{name} has another gradient in the padded model: padded_hparams does not suit the model"
                )
            if wide.count_nonzero() != own.count_nonzero():
                raise HpoError(f"the padding of {name} gets a gradient: padded_hparams does not suit the model")

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


def _attributes(module: nn.Module, without: set[str]) -> list[tuple[str, str]]:
    """Return the plain attributes of a module."""
    return [
        (name, repr(value))
        for name, value in vars(module).items()
        if not name.startswith("_") and name not in without | {"training"}
        if isinstance(value, _VALUES) or (callable(value) and not isinstance(value, nn.Module))
    ]
