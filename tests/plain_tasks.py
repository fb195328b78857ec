"""Tasks without torch for the engine's tests: quick, and with a way to go wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import hpo
from hpo import Evaluation, Float, Metric, SearchSpace, Task


class Numbers:
    """Examples that are their own positions."""

    def __init__(self, size: int, fingerprint: str) -> None:
        self._size, self.fingerprint = size, fingerprint

    def __len__(self) -> int:
        return self._size

    def take(self, indices: Any) -> Any:
        return indices


@hpo.register_task("walk")
@dataclass(frozen=True)
class Walk(Task[Any]):
    """A noisy walk of `size` numbers towards their targets; each segment depends on all that was before it.

    Args:
        size: of the state; 8 bytes each.
        log: a file that gets a line for each thing that the engine does; empty for none.
    """

    size: int = 4
    log: str = ""
    batch_size: int = 8
    validation_size: int = 10

    search_space = SearchSpace({"rate": Float(1e-3, 0.5, log=True), "noise": Float(0.0, 0.2)})
    metrics = (Metric("distance"), Metric("spread"))

    def development_data(self) -> Numbers:
        return Numbers(50, "development")

    def test_data(self) -> Numbers:
        self._note("test_data")
        return Numbers(20, "test")

    def initialize(self, hparams: Any) -> Any:
        return np.random.standard_normal(self.size)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        for positions in batches:
            noise = hparams["noise"] * np.random.standard_normal(self.size)
            state = state + hparams["rate"] * (positions.mean() / 50 - state) + noise
        self._note(f"train {sum(map(len, batches))} {batches.start}")
        return state

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        goal = data.indices.mean() / 50
        return Evaluation({"distance": float(np.abs(state - goal).mean()), "spread": float(state.std())})

    def to_arrays(self, state: Any) -> Mapping[str, Any]:
        return {"state": state}

    def from_arrays(self, arrays: Mapping[str, Any], hparams: Any) -> Any:
        return arrays["state"]

    def _note(self, line: str) -> None:
        if self.log:
            with Path(self.log).open("a") as file:
                file.write(line + "\n")
