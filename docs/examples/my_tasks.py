"""A task of one's own: a small network that tells two interleaved half-moons apart."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt
from torch import nn

import hpo


@hpo.register_task("moons")
@dataclass(frozen=True)
class Moons(hpo.TorchClassification):
    """The fields are the task's options in a study file; `batch_size` and `validation_size` are inherited.

    Args:
        validation_size: points that each replicate sets aside for validation.
        size: development points.
        noise: standard deviation of what is added to each coordinate.
        width: hidden units.
    """

    validation_size: Annotated[int, Gt(0)] = 300
    size: Annotated[int, Gt(0)] = 1500
    noise: Annotated[float, Ge(0)] = 0.25
    width: Annotated[int, Gt(0)] = 32

    @property
    def search_space(self):
        return hpo.SearchSpace(
            {
                "lr": hpo.Float(1e-4, 1.0, log=True),
                "momentum": hpo.Float(0.0, 0.99),
                "weight_decay": hpo.Float(1e-6, 1e-1, log=True),
            }
        )

    def build_model(self, hparams):
        return nn.Sequential(nn.Linear(2, self.width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(self.width, 2))

    def development_data(self):
        return hpo.ArrayDataset(*half_moons(self.size, self.noise, seed=1))

    def test_data(self):
        return hpo.ArrayDataset(*half_moons(5000, self.noise, seed=2))


def half_moons(size, noise, seed):
    """Return points, shape (size, 2), and their classes; always the same for the same arguments."""
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 2, size)
    angle = np.pi * rng.random(size)
    upper, lower = (np.cos(angle), np.sin(angle)), (1 - np.cos(angle), 0.5 - np.sin(angle))
    points = np.where(classes, lower, upper).T + noise * rng.standard_normal((size, 2))
    return points.astype(np.float32), classes
