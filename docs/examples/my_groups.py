"""The half-moons once more: biases have no weight decay, and the batch size is searched."""

from dataclasses import dataclass

import torch
from my_tasks import Moons

import hpo


@hpo.register_task("moons_in_groups")
@dataclass(frozen=True)
class MoonsInGroups(Moons):
    @property
    def search_space(self):
        return hpo.SearchSpace({**super().search_space, "batch_size": hpo.Categorical((16, 32, 64), ordered=True)})

    def build_optimizer(self, model, hparams):
        weights = [each for each in model.parameters() if each.dim() > 1]
        biases = [each for each in model.parameters() if each.dim() == 1]
        return torch.optim.SGD([{"params": weights}, {"params": biases, "weight_decay": 0.0}], lr=1e-3)
