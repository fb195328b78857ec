"""Tasks with an optional hyperparameter that makes training depend on a member's budget."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch_tasks import Blobs

import hpo
from hpo import Float, Int, SearchSpace


@hpo.register_task("fading")
@dataclass(frozen=True)
class Fading(Blobs):
    """Three clouds, with a learning rate that may decay, and a hyperparameter that shapes the model."""

    @property
    def search_space(self) -> SearchSpace:
        return SearchSpace({**super().search_space, "width": Int(4, 16, fixed=True)})

    @property
    def optional_space(self) -> SearchSpace:
        return SearchSpace({"decay": Float(1e-3, 1.0, log=True), "unused": Float(0.0, 1.0)})

    def learning_rate_schedule(self, hparams: Any) -> Callable[[float], float] | None:
        return partial(pow, hparams["decay"]) if "decay" in hparams else None

    def build_model(self, hparams: Any) -> Any:
        from torch import nn

        width = hparams["width"]
        return nn.Sequential(nn.Linear(8, width), nn.ReLU(), nn.Dropout(0.3), nn.Linear(width, 3))
