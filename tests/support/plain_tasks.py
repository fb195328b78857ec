"""Tasks without torch for the engine's tests: quick, and with a way to go wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

import hpo
from hpo import Diverged, Evaluation, Float, Metric, SearchSpace, Task

HIGH = 0.05
"""Above this rate a `guess` that is told to explode at high rates does."""


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
        test_file: a file that holds the fingerprint of the test set; empty: it never changes.
    """

    size: int = 4
    log: str = ""
    test_file: str = ""
    batch_size: int = 8
    validation_size: int = 10

    search_space = SearchSpace({"rate": Float(1e-3, 0.5, log=True), "noise": Float(0.0, 0.2)})
    metrics = (Metric("distance"), Metric("spread"))

    def development_data(self) -> Numbers:
        return Numbers(50, "development")

    def test_data(self) -> Numbers:
        self._note("test_data")
        return Numbers(20, Path(self.test_file).read_text() if self.test_file else "test")

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


@hpo.register_task("tenth")
@dataclass(frozen=True)
class Tenth(Walk):
    """Every model has an error of 0.1: computed as 1 - 0.9, or as 0.1 where a hyperparameter changed on the way."""

    metrics = (Metric("error"),)

    def initialize(self, hparams: Any) -> Any:
        return np.array([hparams["rate"], 0.0])

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        return np.array([hparams["rate"], state[1] + (state[0] != hparams["rate"])])

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        return Evaluation({"error": 0.1 if state[1] else 1 - 0.9})


@hpo.register_task("guess")
@dataclass(frozen=True)
class Guess(Walk):
    """A walk in whole numbers, whose evaluation cannot be done where the state is NaN.

    Args:
        explode: training diverges never, in the middle of the second interval at rates above `HIGH`, or on the full split, by
            saying so or with a state of NaN; or the test gives NaN.
    """

    explode: Literal["never", "high", "full", "nan", "test"] = "never"

    metrics = (Metric("error", counts="error_count", worst=1.0),)

    def initialize(self, hparams: Any) -> Any:
        return np.random.randint(0, 1000, self.size)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        full = len(batches.positions) == 50
        for number, positions in enumerate(batches):
            if number == 1 and (
                self.explode == "full"
                if full
                else self.explode == "high" and batches.start >= 1 and hparams["rate"] > HIGH
            ):
                raise Diverged("as it was told")
            state = state + int(positions.sum() * 100 * hparams["rate"])
        return state * np.nan if full and self.explode == "nan" else state

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        guess = int(state.sum())  # raises for NaN
        correct = (guess + data.indices) % 7 > 2
        count = len(correct)
        errors = count - int(correct.sum())
        if self.explode == "test" and count == 20:
            return Evaluation({"error": np.nan, "error_count": np.nan, "count": count})
        return Evaluation({"error": errors / count, "error_count": errors, "count": count}, correct)


@hpo.register_task("products")
@dataclass(frozen=True)
class Products(Walk):
    """Products that a linear-algebra library computes in parallel, and sums up in another order for it."""

    metrics = (Metric("norm"),)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        matrix = np.random.standard_normal((300, 300))
        product = matrix @ matrix
        flat = product.ravel()
        return state + hparams["rate"] * np.array(
            [flat @ flat, product[7] @ product[:, 9], product[3, 5], matrix.sum()]
        )

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        return Evaluation({"norm": float(state @ state), "first": float(state[0])})


@hpo.register_task("huge")
@dataclass(frozen=True)
class Huge(Walk):
    """A walk whose hyperparameters may have any size, and whose metric is that of the walk times a power of two.

    Args:
        power: of two.
    """

    power: int = 0

    search_space = SearchSpace({"rate": Float(1e-300, 1e300, log=True), "noise": Float(0.0, 1e300)})
    metrics = (Metric("distance"),)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        rate = 0.1 + 0.2 * np.log10(hparams["rate"]) / 300
        return super().train(state, {"rate": rate, "noise": 0.01}, batches)

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        return Evaluation({"distance": super().evaluate(state, data).metrics["distance"] * 2.0**self.power})
