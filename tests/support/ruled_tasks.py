"""Tasks with a rule across hyperparameters, which fail if a search does not keep to it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import hpo
from hpo.tasks.toy import Toy
from hpo.testing import SPACES


def half(hparams: Any) -> bool:
    """Whether h1 is at most half of h0."""
    return bool(hparams["h0"] >= 2 * hparams["h1"])


def band(low: float, high: float) -> Callable[[Any], bool]:
    """Return the rule that the learning rate of one of `SPACES` lies in a part of its scale."""
    return lambda hparams: low <= SPACES["floats"]["lr"].to_unit(hparams["lr"]) <= high


@hpo.register_task("ruled")
@dataclass(frozen=True)
class Ruled(Toy):
    """The toy with a rule."""

    version = "1"

    def is_feasible(self, hparams: Any) -> bool:
        return half(hparams)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        assert half(hparams), dict(hparams)
        return super().train(state, hparams, batches)
