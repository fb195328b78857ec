"""Task `digits`: scikit-learn's 8 × 8 digits, classified by a small network; for tests and tutorials.

The images come with the scikit-learn package (the test set of Alpaydin and Kaynak, "Optical recognition of
handwritten digits", UCI Machine Learning Repository, 1998): 1,797 of them, of which 500 are the test set, the classes
in the same proportions in both parts.
"""

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

import numpy as np
from annotated_types import Gt
from torch import nn

from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.core.space import Float, Int, SearchSpace
from hpo.tasks.torch import ArrayDataset, StackedSGD, TorchClassification, TorchState
from hpo.tasks.torch.datasets import stratified

TEST_SIZE = 500


@register_task("digits")
@dataclass(frozen=True)
class Digits(StackedSGD, TorchClassification):
    """Two hidden layers with dropout, trained by SGD: 1,297 development and 500 test images.

    Args:
        batch_size: images per training step.
        validation_size: development images that each replicate sets aside for validation.
        drop_last: leave out an interval's last batch if it is short.
    """

    batch_size: Annotated[int, Gt(0)] = 50
    validation_size: Annotated[int, Gt(0)] = 297

    @property
    def search_space(self) -> SearchSpace:
        """Learning rate, momentum and weight decay of SGD, the dropout rate, and the units of a hidden layer, which are fixed."""
        return SearchSpace(
            {
                "lr": Float(1e-4, 1.0, log=True),
                "momentum": Float(0.0, 0.99),
                "weight_decay": Float(1e-6, 1e-1, log=True),
                "dropout": Float(0.0, 0.8),
                "width": Int(8, 128, log=True, fixed=True),
            }
        )

    def build_model(self, hparams: HParams) -> nn.Module:
        """Return the network with random weights; `apply_hparams` sets its dropout rate."""
        width = int(hparams["width"])
        return nn.Sequential(
            nn.Linear(64, width),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(width, width),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(width, 10),
        )

    def padded_hparams(self, hparams: HParams) -> HParams:
        """Return the hyperparameters with the next width of 32, 128, 512, ...: few sizes, so that stacks are full."""
        width = 32
        while width < int(hparams["width"]):
            width *= 4
        return {**hparams, "width": width}

    def apply_hparams(self, state: TorchState, hparams: HParams) -> None:
        """Set the hyperparameters of SGD, and the dropout rate of every dropout layer."""
        super().apply_hparams(state, hparams)
        for layer in _dropouts(state.model):
            layer.p = float(hparams["dropout"])

    def applied_hparams(self, state: TorchState) -> HParams:
        """Return the present values in SGD and in the first dropout layer, and the model's width."""
        (rate, *_), width = [layer.p for layer in _dropouts(state.model)], state.model.get_parameter("0.bias").numel()
        return {**super().applied_hparams(state), "dropout": rate, "width": width}

    def development_data(self) -> ArrayDataset:
        """Return the 1,297 development images."""
        return _dataset("development")

    def test_data(self) -> ArrayDataset:
        """Return the 500 test images."""
        return _dataset("test")


def _dropouts(model: nn.Module) -> list[nn.Dropout]:
    return [layer for layer in model.modules() if isinstance(layer, nn.Dropout)]


@cache
def _dataset(part: Literal["development", "test"]) -> ArrayDataset:
    """Return a part of the images, pixels from 0 to 1, shape (n, 64), and their digits; once per process."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    chosen = np.zeros(len(digits), dtype=np.bool_)
    chosen[stratified(digits, TEST_SIZE)] = True
    if part == "development":
        chosen = ~chosen
    return ArrayDataset((pixels[chosen] / 16).astype(np.float32), digits[chosen].astype(np.int64))
