"""A task whose hyperparameters depend on each other."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch_tasks import Blobs

import hpo
from hpo import Categorical, Float, Int, SearchSpace


@hpo.register_task("choosing")
@dataclass(frozen=True)
class Choosing(Blobs):
    """Three clouds, with a choice of the optimizer and of the depth."""

    search_space = SearchSpace(
        {
            "lr": Float(1e-3, 0.3, log=True),
            "momentum": Float(0.1, 0.9, when={"optimizer": "sgd"}),
            "nesterov": Categorical((False, True), when={"optimizer": "sgd"}),
            "weight_decay": Float(1e-6, 1e-2, log=True, when={"optimizer": "adam"}),
            "optimizer": Categorical(("sgd", "adam")),
            "layers": Int(1, 2, fixed=True),
            "width": Int(4, 16, fixed=True, when={"layers": 2}),
        }
    )
    optional_space = SearchSpace({"bonus": Float(0.0, 1.0), "other": Int(1, 9)})

    def build_model(self, hparams: Any) -> nn.Module:
        if hparams["layers"] == 1:
            return nn.Linear(8, 3)
        return nn.Sequential(nn.Linear(8, hparams["width"]), nn.ReLU(), nn.Linear(hparams["width"], 3))

    def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
        if hparams["optimizer"] == "adam":
            return torch.optim.AdamW(model.parameters())
        return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.5)

    def apply_hparams(self, state: Any, hparams: Any) -> None:
        super().apply_hparams(state, hparams)
        state.model.bonus, state.model.other = hparams.get("bonus", 0.5), hparams.get("other", 1)
