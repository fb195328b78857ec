"""Tasks that somebody might write, for the tests of what is tried before a study starts."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from helpers import PBT, RANDOM, document
from torch import nn

import hpo
from hpo import Float, SearchSpace
from hpo.core.registry import tasks
from hpo.core.task import Evaluation, Metric, Task
from hpo.execution.sanity import sanity_check
from hpo.tasks.torch import ArrayDataset, TorchClassification

LR = {"lr": Float(1e-3, 0.1, log=True)}
RATE = SearchSpace({"rate": Float(0.1, 0.9)})


@dataclass(frozen=True)
class Points(TorchClassification):
    """Points in four dimensions, of three classes: 100 development examples."""

    batch_size: int = 16
    validation_size: int = 30

    version = "1"
    search_space = SearchSpace(LR)

    def build_model(self, hparams: Any) -> nn.Module:
        return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))

    def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.5)

    def development_data(self) -> ArrayDataset:
        return points(100, 0)

    def test_data(self) -> ArrayDataset:
        return points(50, 1)


def points(size: int, seed: int) -> ArrayDataset:
    rng = np.random.default_rng(seed)
    return ArrayDataset(rng.standard_normal((size, 4), dtype=np.float32), rng.integers(3, size=size), f"points {size}")


@dataclass(frozen=True)
class Plain(Task[Any]):
    """A task without PyTorch."""

    batch_size: int = 16
    validation_size: int = 30

    version = "1"
    search_space = RATE
    metrics = (Metric("distance"),)

    def development_data(self) -> ArrayDataset:
        return points(100, 0)

    def test_data(self) -> ArrayDataset:
        return points(50, 1)

    def initialize(self, hparams: Any) -> Any:
        return {"mean": np.zeros(4), "speed": np.zeros(4)}

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        for inputs, _ in batches:
            state["speed"] = 0.5 * state["speed"] + hparams["rate"] * (inputs.numpy().mean(0) - state["mean"])
            state["mean"] = state["mean"] + state["speed"]
        return state

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        return Evaluation({"distance": float(np.abs(state["mean"]).sum())})

    def to_arrays(self, state: Any) -> Mapping[str, Any]:
        return state

    def from_arrays(self, arrays: Any, hparams: Any) -> Any:
        return dict(arrays)


def frozen(cls: type) -> type:
    """Return a class as a frozen dataclass."""
    return cls if "__dataclass_params__" in vars(cls) else dataclass(frozen=True)(cls)


@contextmanager
def registered(cls: type[Task[Any]]) -> Iterator[str]:
    """Register a class for a while; what is registered meanwhile stays, because its module is not run again."""
    tasks.register("tried")(frozen(cls))
    try:
        yield "tried"
    finally:
        del tasks._classes["tried"]


def tried(cls: type[Task[Any]], arms: Any = (RANDOM, PBT), study: Any = None, **task: Any) -> None:
    """Try a study of a task; what it warns of is an error, unless the test expects it."""
    with registered(cls) as name:
        spec = hpo.parse_study(document({"name": name, **task}, arms=arms, **(study or {})))
        sanity_check(spec, spec.task)


def task(**attributes: Any) -> type[Points]:
    """Return a task that differs from `Points` in some attributes."""
    return frozen(type("Tried", (Points,), {"__annotations__": {}, **attributes}))


def space(**parameters: Any) -> SearchSpace:
    return SearchSpace({**LR, **parameters})
