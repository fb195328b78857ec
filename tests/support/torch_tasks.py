"""A small PyTorch task with dropout for the engine's tests."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from annotated_types import Ge, Gt
from torch import nn

import hpo
from hpo import Diverged, Float, SearchSpace
from hpo.tasks.torch import ArrayDataset, TorchClassification


def blobs(examples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return three overlapping clouds of points in eight dimensions, and which cloud each is of."""
    draws = torch.Generator().manual_seed(seed)
    targets = torch.randint(3, (examples,), generator=draws)
    centres = torch.eye(3, 8) * 1.5
    return centres[targets] + torch.randn(examples, 8, generator=draws), targets


@hpo.register_task("blobs")
@dataclass(frozen=True)
class Blobs(TorchClassification):
    """Three clouds.

    Args:
        explode: training diverges never, for learning rates above 0.2, always, or on the full split alone.
        test_inputs: what the model sees of the test set.
        dropout: probability of a hidden unit to be dropped.
    """

    batch_size: Annotated[int, Gt(0)] = 16
    validation_size: Annotated[int, Gt(0)] = 60
    explode: Literal["never", "high", "always", "full"] = "never"
    test_inputs: Literal["whole", "nan"] = "whole"
    dropout: Annotated[float, Ge(0)] = 0.3

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({"lr": Float(1e-3, 1.0, log=True), "momentum": Float(0.1, 0.99)})

    def build_model(self, hparams: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(self.dropout), nn.Linear(16, 3))

    def development_data(self) -> ArrayDataset:
        return ArrayDataset(*blobs(300, 1))

    def test_data(self) -> ArrayDataset:
        inputs, targets = blobs(100, 2)
        return ArrayDataset(inputs * torch.nan if self.test_inputs == "nan" else inputs, targets)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        state = super().train(state, hparams, batches)
        if self.explode == "high" and hparams["lr"] > 0.2:
            with torch.no_grad():  # seen by the engine, not by the task
                next(state.model.parameters())[0, 0] = torch.inf
        if self.explode == "always" or (self.explode == "full" and len(batches.positions) > 130):
            raise Diverged("as it was told")
        return state
