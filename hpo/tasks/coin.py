"""Task `coin`: nothing can be learned, so that a leak of the test set into the search shows.

A model classifies an example correctly or not by the toss of a coin, which depends on the hyperparameter and the example alone. So
models differ on the validation set by luck, and the luckiest is selected. On the test set it is as good as any other: the mean
test error of the winners is one half. It is lower if the selection has seen the test set.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Gt
from numpy.typing import NDArray

from hpo.core.registry import register_task
from hpo.core.segments import SHRINK_PERTURB, HParams, ShrinkPerturb
from hpo.core.space import Float, SearchSpace
from hpo.core.task import Batches, Dataset, Evaluation, Examples, Indices, Metric, Task

SPACE = SearchSpace({"side": Float(0.0, 1.0)})
METRICS = (Metric("error", complement="accuracy", counts="error_count", worst=1.0),)


@dataclass(frozen=True)
class Tosses:
    """Examples that consist of their position alone.

    Args:
        name: of the part; every toss depends on it.
        size: number of examples.
    """

    name: str
    size: int

    @property
    def fingerprint(self) -> str:
        """The name and the size, which determine the data."""
        return f"{self.name} {self.size}"

    def __len__(self) -> int:
        return self.size

    def take(self, indices: Indices) -> Indices:
        """Return the positions themselves."""
        return indices

    def right(self, side: float) -> NDArray[np.bool_]:
        """Return for every example whether a model with this hyperparameter classifies it correctly, shape (size,)."""
        key = hashlib.blake2b(f"{self.name}/{side.hex()}".encode(), digest_size=16).digest()
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(key, "little")))
        return generator.random(self.size) < 0.5


@register_task("coin")
@dataclass(frozen=True)
class Coin(Task[float]):
    """Right or wrong by the toss of a coin; its state is its hyperparameter `side`, and training changes nothing.

    Args:
        size: development examples.
        test_size: test examples.
        validation_size: of the development examples.
        batch_size: training examples per batch.
    """

    size: Annotated[int, Gt(1)] = 200
    test_size: Annotated[int, Gt(0)] = 200
    validation_size: Annotated[int, Gt(0)] = 100
    batch_size: Annotated[int, Gt(0)] = 100

    transforms = frozenset({SHRINK_PERTURB})

    @property
    def search_space(self) -> SearchSpace:
        """`side`; no value is better than another."""
        return SPACE

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The error rate, whose mean is one half."""
        return METRICS

    def initialize(self, hparams: HParams) -> float:
        """Return the hyperparameter."""
        return float(hparams["side"])

    def train(self, state: float, hparams: HParams, batches: Batches | range) -> float:
        """Change nothing."""
        return state

    def shrink_perturb(self, state: float, fresh: float, transform: ShrinkPerturb) -> float:
        """Change nothing: there are no weights."""
        return state

    def evaluate(self, state: float, data: Examples | None) -> Evaluation:
        """Toss the coin of every example."""
        assert data is not None
        assert isinstance(data.dataset, Tosses)
        correct = data.dataset.right(state)[data.indices]
        errors = len(correct) - int(correct.sum())
        return Evaluation({"error": errors / len(correct), "error_count": errors, "count": len(correct)}, correct)

    def to_arrays(self, state: float) -> dict[str, NDArray[Any]]:
        """Return the hyperparameter as `side`."""
        return {"side": np.array([state])}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> float:
        """Return the hyperparameter."""
        return float(hparams["side"])

    def development_data(self) -> Dataset:
        """Return the development examples."""
        return Tosses("development", self.size)

    def test_data(self) -> Dataset:
        """Return the test examples."""
        return Tosses("test", self.test_size)
