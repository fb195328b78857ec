"""Task `mnist1d`: signals of 40 numbers, a small conv net, and hyperparameters of every kind.

The data and the net are those of Greydanus and Kobak, "Scaling down deep learning with MNIST-1D", ICML 2024, whose conv net errs on
6% of the test set; logistic regression on 68%.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, TypeVar

import torch
from annotated_types import Gt
from torch import Tensor, nn

from hpo.core.errors import OptionError
from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.core.space import Categorical, Float, Int, SearchSpace
from hpo.tasks.mnist1d_data import LENGTH, datasets
from hpo.tasks.torch import ArrayDataset, TorchClassification, TorchState

T = TypeVar("T")
OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": torch.relu,
    "gelu": nn.functional.gelu,
    "silu": nn.functional.silu,
    "tanh": torch.tanh,
}
AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda signals: signals,
    "noise": lambda signals: signals + 0.2 * torch.randn_like(signals),
    "scale": lambda signals: signals * (1 + 0.2 * _uniform(signals)),
    "shear": lambda signals: signals + _uniform(signals) * torch.linspace(-1, 1, LENGTH, device=signals.device),
}
"""What happens to a batch of signals, shape (b, 40), in training."""
IN_MODEL = ("activation", "label_smoothing", "augmentation", "shift", "max_norm")
"""The hyperparameters that are attributes of the model."""
BETA1 = 0.9
"""AdamW's decay of the mean of the gradients."""


class Net(nn.Module):
    """Three 1-d convolutions with stride 2 and a linear layer: the net of the paper, whose width is 25, with dropout.

    Args:
        width: channels of each convolution.
    """

    activation: str
    label_smoothing: float
    augmentation: str
    shift: int
    max_norm: float

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, width, kernel_size=5, stride=2, padding=1)
        self.conv2 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(width, width, kernel_size=3, stride=2, padding=1)
        self.drop = nn.Dropout()
        self.linear = nn.Linear(5 * width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (b, 10), of signals, shape (b, 40)."""
        activate = _chosen(ACTIVATIONS, "activation", self.activation)
        x = x.unsqueeze(1)
        for layer in (self.conv1, self.conv2, self.conv3):
            x = activate(layer(x))
        return self.linear(self.drop(x.flatten(1)))  # type: ignore[no-any-return]


@register_task("mnist1d")
@dataclass(frozen=True)
class Mnist1d(TorchClassification):
    """MNIST-1D: 4,000 development and 1,000 test signals; a conv net, SGD or AdamW, and augmentation.

    Args:
        batch_size: signals per training step.
        validation_size: development signals that each replicate sets aside for validation.
        drop_last: leave out an interval's last batch if it is short.
    """

    batch_size: Annotated[int, Gt(0)] = 100
    validation_size: Annotated[int, Gt(0)] = 1000

    one_step_per_batch = True

    @property
    def search_space(self) -> SearchSpace:
        """Numbers and categories; training holds `optimizer`, a control, and `width`, and may change all others."""
        return SearchSpace(
            {
                "optimizer": Categorical(tuple(OPTIMIZERS)),
                "lr": Float(3e-3, 0.06, log=True),
                "momentum": Float(0.8, 0.99, when={"optimizer": "sgd"}),
                "nesterov": Categorical((False, True), when={"optimizer": "sgd"}),
                "beta2": Float(0.9, 0.9999, when={"optimizer": "adamw"}),
                "weight_decay": Float(1e-6, 1e-2, log=True),
                "max_norm": Categorical((0.5, 1.0, 2.0, 4.0), ordered=True),
                "activation": Categorical(tuple(ACTIVATIONS)),
                "dropout": Float(0.0, 0.3),
                "label_smoothing": Float(0.0, 0.2),
                "augmentation": Categorical(tuple(AUGMENTATIONS)),
                "shift": Int(0, 5),
                "width": Int(12, 48, log=True, fixed=True),
            }
        )

    def build_model(self, hparams: HParams) -> nn.Module:
        """Return the net with random weights."""
        return Net(int(hparams["width"]))

    def build_optimizer(self, model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
        """Return the optimizer that the hyperparameter of that name chooses."""
        options: dict[str, Any] = {"lr": 1e-3, "fused": True}
        return _chosen(OPTIMIZERS, "optimizer", hparams["optimizer"])(model.parameters(), **options)

    def apply_hparams(self, state: TorchState, hparams: HParams) -> None:
        """Set the hyperparameters of the optimizer, and those that the model holds."""
        super().apply_hparams(state, hparams)
        if "beta2" in hparams:
            state.optimizer.param_groups[0]["betas"] = (BETA1, float(hparams["beta2"]))
        net = _net(state.model)
        net.drop.p = float(hparams["dropout"])
        for name in IN_MODEL:
            setattr(net, name, hparams[name])

    def applied_hparams(self, state: TorchState) -> HParams:
        """Return the present values of all hyperparameters."""
        net, group = _net(state.model), state.optimizer.param_groups[0]
        optimizer = next(name for name, kind in OPTIMIZERS.items() if type(state.optimizer) is kind)
        own = {name: getattr(net, name) for name in IN_MODEL}
        own |= {"optimizer": optimizer, "dropout": net.drop.p, "width": net.conv1.out_channels}
        if "betas" in group:
            own["beta2"] = group["betas"][1]
        return {**super().applied_hparams(state), **own}

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean cross-entropy against smoothed targets."""
        return nn.functional.cross_entropy(model(inputs), targets, label_smoothing=_net(model).label_smoothing)

    def training_step(self, state: TorchState, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take one step on augmented signals, the gradient's norm clipped to `max_norm`."""
        net = _net(state.model)
        inputs = _chosen(AUGMENTATIONS, "augmentation", net.augmentation)(shifted(inputs, net.shift))
        state.optimizer.zero_grad()
        with self.autocast():
            loss = self.loss(net, inputs, targets)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(net.parameters(), net.max_norm)
        state.optimizer.step()
        return loss.detach()

    def development_data(self) -> ArrayDataset:
        """Return the 4,000 development signals."""
        return datasets()[0]

    def test_data(self) -> ArrayDataset:
        """Return the 1,000 test signals."""
        return datasets()[1]


def shifted(signals: Tensor, most: int) -> Tensor:
    """Return signals, shape (b, n), each moved by at most `most` places in either direction, around the end."""
    if most == 0:
        return signals
    size = signals.shape[1]
    moves = torch.randint(-most, most + 1, (len(signals), 1), device=signals.device)
    return signals.gather(1, (torch.arange(size, device=signals.device) + moves) % size)


def _uniform(signals: Tensor) -> Tensor:
    """Return a number from -1 to 1 for each signal, shape (b, 1)."""
    return torch.empty_like(signals[:, :1]).uniform_(-1, 1)


def _net(model: nn.Module) -> Net:
    assert isinstance(model, Net)
    return model


def _chosen(table: Mapping[str, T], name: str, value: object) -> T:
    """Return what a hyperparameter's value stands for; a study may give it other choices.

    Raises:
        OptionError: it stands for nothing.
    """
    if value not in table:
        raise OptionError(name, value, f"one of {', '.join(table)}")
    return table[str(value)]
