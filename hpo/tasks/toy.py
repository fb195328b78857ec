"""Task `toy`: the quadratic of Figure 2 in Jaderberg et al., "Population based training of neural networks" (2017).

The objective is J(θ) = 1.2 - θ0² - θ1², to be maximized. Training ascends a surrogate that depends on the hyperparameters:
J^(θ | h) = 1.2 - h0 θ0² - h1 θ1². Neither h = [1, 0] nor h = [0, 1] alone reaches the maximum; a schedule of the two does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from hpo.core.registry import register_task
from hpo.core.segments import SHRINK_PERTURB, HParams, ShrinkPerturb
from hpo.core.space import Float, SearchSpace
from hpo.core.task import Batches, Evaluation, Examples, Metric, Task

SPACE = SearchSpace({"h0": Float(0.0, 1.0), "h1": Float(0.0, 1.0)})
METRICS = (Metric("score", "maximize"),)
OPTIMUM = 1.2

Theta = NDArray[np.float64]


@register_task("toy")
@dataclass(frozen=True)
class Toy(Task[Theta]):
    """Gradient ascent on the surrogate; the state is θ, shape (2,). The unit is one gradient step; there is no data.

    Without noise, k steps with hyperparameters h turn θ_i into θ_i (1 - 2 · step_size · h_i)^k.

    Args:
        step_size: of the gradient ascent.
        start: θ at the beginning.
        training_noise: standard deviation of the noise that is added to each coordinate of θ after each step.
        evaluation_noise: standard deviation of the noise that is added to the score.
    """

    step_size: Annotated[float, Gt(0)] = 0.01
    start: tuple[float, float] = (0.9, 0.9)
    training_noise: Annotated[float, Ge(0)] = 0.0
    evaluation_noise: Annotated[float, Ge(0)] = 0.0

    unit = "steps"
    transforms = frozenset({SHRINK_PERTURB})

    @property
    def search_space(self) -> SearchSpace:
        """h0 and h1, the weights of the surrogate."""
        return SPACE

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The score J(θ), at most 1.2 without noise."""
        return METRICS

    def initialize(self, hparams: HParams) -> Theta:
        """Return θ at the start."""
        return np.array(self.start, dtype=np.float64)

    def train(self, state: Theta, hparams: HParams, batches: Batches | range) -> Theta:
        """Take as many gradient steps as the interval has."""
        theta0, theta1 = state.tolist()
        rate0 = 2 * self.step_size * float(hparams["h0"])
        rate1 = 2 * self.step_size * float(hparams["h1"])
        if self.training_noise == 0:
            for _ in batches:
                theta0 -= rate0 * theta0
                theta1 -= rate1 * theta1
        else:
            # The engine seeds the global generator for each segment.
            draws = self.training_noise * np.random.standard_normal((len(batches), 2))
            for noise0, noise1 in draws.tolist():
                theta0 += noise0 - rate0 * theta0
                theta1 += noise1 - rate1 * theta1
        return np.array([theta0, theta1])

    def shrink_perturb(self, state: Theta, fresh: Theta, transform: ShrinkPerturb) -> Theta:
        """Return shrink * θ + perturb * θ at the start."""
        return transform.shrink * state + transform.perturb * fresh

    def evaluate(self, state: Theta, data: Examples | None) -> Evaluation:
        """Return the score, and θ as `theta0` and `theta1`."""
        theta0, theta1 = state.tolist()
        score = OPTIMUM - theta0 * theta0 - theta1 * theta1
        if self.evaluation_noise > 0:
            score += self.evaluation_noise * float(np.random.standard_normal())
        return Evaluation({"score": score, "theta0": theta0, "theta1": theta1})

    def to_arrays(self, state: Theta) -> dict[str, NDArray[Any]]:
        """Return θ as `theta`."""
        return {"theta": state}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> Theta:
        """Return the θ of a checkpoint."""
        return arrays["theta"]
