"""Tasks `schedule_wins`, `greed_loses` and `all_tie`: learning dynamics whose best answers are known in closed form.

The first two descend a noisy quadratic, the model in which Wu, Ren, Liao and Grosse, "Understanding short-horizon
bias in stochastic meta-optimization" (ICLR 2018), tell schedules from constant rates. Each coordinate has the
loss θ² / 2 and the gradient θ - σ ξ, with ξ standard normal and fresh at each step. So a step is

    θ  <-  (1 - lr) θ + lr σ ξ,

and the mean square v = E[θ²], twice the expected loss, goes

    v  <-  (1 - lr)² v + lr² σ².                                                                             (1)

With a constant rate, k steps from v0 give

    v_k = (1 - lr)^(2k) v0 + (1 - (1 - lr)^(2k)) f,   with the floor   f = lr σ² / (2 - lr).                 (2)
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray

from hpo.core.registry import register_task
from hpo.core.segments import SHRINK_PERTURB, HParams, ShrinkPerturb
from hpo.core.space import Float, SearchSpace
from hpo.core.task import Batches, Evaluation, Examples, Metric, Task

SMALLEST = 1e-300
"""Replaces a loss of 0, which has no logarithm."""

State = NDArray[np.float64]


@register_task("schedule_wins")
@dataclass(frozen=True)
class ScheduleWins(Task[State]):
    """Stochastic gradient descent on a noisy quadratic; the state is θ, shape (dimensions,). Its unit is one step, without data.

    Only a falling learning rate reaches the optimum, and a greedy search finds it. The right side of (1) is least at
    lr = v / (v + σ²), where 1/v grows by 1/σ²; so the best schedule averages the noise of all its steps:

        lr_t = 1 / (t + 1 + σ² / v0)  for t = 0, 1, ...,   with   v_T = σ² / (T + σ² / v0).

    As v after a step grows with v before it, for any later rates, the best choice for the next interval is best for the
    end: greed is right. A constant rate cannot get below its floor: by (2), for large T v0 / σ², the best one is close to
    ln(4 T v0 / σ²) / (2 T), with v_T close to σ² (1 + ln(4 T v0 / σ²)) / (4 T). Random search can do no better, so that it is
    worse by a factor that grows as the logarithm of T.

    Args:
        dimensions: coordinates; the more, the closer the loss is to its mean.
        start: every coordinate at the beginning, √v0.
        training_noise: σ, the standard deviation of the noise of the gradient.
        evaluation_noise: standard deviation of the noise that is added to `log_loss`.
    """

    dimensions: Annotated[int, Gt(0)] = 200
    start: Annotated[float, Gt(0)] = 30.0
    training_noise: Annotated[float, Ge(0)] = 1.0
    evaluation_noise: Annotated[float, Ge(0)] = 0.02

    unit = "steps"
    transforms = frozenset({SHRINK_PERTURB})

    @property
    def search_space(self) -> SearchSpace:
        """`lr`; 1 would be at the optimum after one step, but for the noise."""
        return SearchSpace({"lr": Float(1e-3, 1.0, log=True)})

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The decimal logarithm of the loss."""
        return (Metric("log_loss", "minimize"),)

    def initialize(self, hparams: HParams) -> State:
        """Return θ at the start."""
        return np.full(self.dimensions, self.start)

    def train(self, state: State, hparams: HParams, batches: Batches | range) -> State:
        """Take as many steps as the interval has."""
        rate = float(hparams["lr"])
        # The engine seeds the global generator for each segment.
        for noise in self.training_noise * np.random.standard_normal((len(batches), self.dimensions)):
            state = state + rate * (noise - state)
        return state

    def shrink_perturb(self, state: State, fresh: State, transform: ShrinkPerturb) -> State:
        """Return shrink * θ + perturb * θ at the start."""
        return transform.shrink * state + transform.perturb * fresh

    def evaluate(self, state: State, data: Examples | None) -> Evaluation:
        """Return `log_loss`, and the `loss` without the noise of the evaluation."""
        loss = self.loss(state)
        wrong_by = self.evaluation_noise * float(np.random.standard_normal())
        return Evaluation({"log_loss": math.log10(max(loss, SMALLEST)) + wrong_by, "loss": loss})

    def loss(self, state: State) -> float:
        """Return the mean over the coordinates of θ² / 2."""
        return float(np.square(state).mean()) / 2

    def expected_loss(self, rates: Sequence[float]) -> float:
        """Return the expectation of the loss after one step at each of these rates, by equation (1)."""
        square = self.start**2
        for rate in rates:
            square = (1 - rate) ** 2 * square + (rate * self.training_noise) ** 2
        return square / 2

    def averaging_schedule(self, steps: int) -> list[float]:
        """Return the rate for each of so many steps that averages the noise of all: the best schedule."""
        return [1 / (step + 1 + (self.training_noise / self.start) ** 2) for step in range(steps)]

    def to_arrays(self, state: State) -> dict[str, NDArray[Any]]:
        """Return the state as `state`."""
        return {"state": state}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> State:
        """Return the state of a checkpoint."""
        return arrays["state"]


@register_task("greed_loses")
@dataclass(frozen=True)
class GreedLoses(ScheduleWins):
    """The noisy quadratic, plus a hidden distance to cover: what looks best early is worst in the end.

    The state is (distance left, θ), shape (1 + dimensions,). Each step takes lr off the distance, and the loss is θ²
    / 2 in the mean, plus `plateau` while any distance is left. (Networks, too, can improve in validation long
    after they do in training: Power et al., "Grokking", 2022.) So a schedule arrives only if its rates sum to the
    distance. On the plateau a lower rate looks better, by its lower floor (2), and is better until the interval of
    the arrival: a search that copies what looks better loses the rates that would arrive, and stays on the plateau.
    Random search judges the end alone. A constant rate arrives if lr ≥ distance / T: the best one is distance / T,
    with a loss close to half its floor, lr σ² / (2 (2 - lr)). The best schedule of all has a loss between that of
    `schedule_wins`, σ² / (2 (T + σ² / v0)), and σ² / (2 (T - distance + 1)), which is to arrive at rate 1 and to average
    from there.

    Args:
        dimensions: coordinates of θ.
        start: every coordinate at the beginning.
        training_noise: σ, the standard deviation of the noise of the gradient.
        evaluation_noise: standard deviation of the noise that is added to `log_loss`.
        distance: the sum of rates at which the plateau ends.
        plateau: how much higher the loss is until then.
    """

    start: Annotated[float, Gt(0)] = 1.0
    distance: Annotated[float, Gt(0)] = 30.0
    plateau: Annotated[float, Gt(0)] = 0.3

    @property
    def search_space(self) -> SearchSpace:
        """`lr`; half of its prior arrives within 300 steps."""
        return SearchSpace({"lr": Float(1e-2, 1.0, log=True)})

    def initialize(self, hparams: HParams) -> State:
        """Return the whole distance and θ at the start."""
        return np.concatenate([[self.distance], super().initialize(hparams)])

    def train(self, state: State, hparams: HParams, batches: Batches | range) -> State:
        """Take as many steps as the interval has."""
        left = max(0.0, float(state[0]) - len(batches) * float(hparams["lr"]))
        return np.concatenate([[left], super().train(state[1:], hparams, batches)])

    def shrink_perturb(self, state: State, fresh: State, transform: ShrinkPerturb) -> State:
        """Return the distance that is left, unchanged, and the transformed θ."""
        return np.concatenate([state[:1], super().shrink_perturb(state[1:], fresh[1:], transform)])

    def loss(self, state: State) -> float:
        """Return the mean over the coordinates of θ² / 2, plus the plateau while any distance is left."""
        return super().loss(state[1:]) + (self.plateau if state[0] > 0 else 0.0)

    def expected_loss(self, rates: Sequence[float]) -> float:
        """Return the expectation of the loss after one step at each of these rates."""
        return super().expected_loss(rates) + (self.plateau if math.fsum(rates) < self.distance else 0.0)

    def averaging_schedule(self, steps: int) -> list[float]:
        """Return rates that arrive at rate 1 and average the noise from there."""
        arrived = math.ceil(self.distance)
        return [1.0] * arrived + [1 / (step + 2) for step in range(steps - arrived)]


@register_task("all_tie")
@dataclass(frozen=True)
class AllTie(Task[State]):
    """No choice of an optimizer matters: every optimizer has the same distribution of results.

    The state is (t, z), shape (2,): the steps so far, and the noise of the last one, z = ξ1 cos(2π angle) + ξ2 sin(2π
    angle) with (ξ1, ξ2) standard normal and fresh at each step. `loss` = 1 / (1 + t / 10) + training_noise · z, and
    the noise of the evaluation. As a normal distribution in the plane is the same in all directions, z is standard
    normal for every `angle`; as it is drawn again at each step, nothing of it is inherited by copying. So the final
    losses of the members are independent and equally distributed in each arm that keeps all its members to the end,
    and so is the best of them. The realised z do depend on `angle`: arms differ from seed to seed, and not in the
    mean.

    Args:
        training_noise: standard deviation of the noise of training.
        evaluation_noise: standard deviation of the noise that is added to the loss.
    """

    training_noise: Annotated[float, Ge(0)] = 0.05
    evaluation_noise: Annotated[float, Ge(0)] = 0.1

    unit = "steps"
    transforms = frozenset({SHRINK_PERTURB})

    @property
    def search_space(self) -> SearchSpace:
        """`angle`, in turns; no value is better than another."""
        return SearchSpace({"angle": Float(0.0, 1.0)})

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The loss."""
        return (Metric("loss", "minimize"),)

    def initialize(self, hparams: HParams) -> State:
        """Return no steps and no noise."""
        return np.zeros(2)

    def train(self, state: State, hparams: HParams, batches: Batches | range) -> State:
        """Count the steps, and draw the noise of the last one."""
        angle = 2 * math.pi * float(hparams["angle"])
        first, second = np.random.standard_normal((len(batches), 2))[-1].tolist()
        return np.array([state[0] + len(batches), first * math.cos(angle) + second * math.sin(angle)])

    def shrink_perturb(self, state: State, fresh: State, transform: ShrinkPerturb) -> State:
        """Return the transformed noise z, and the count of steps unchanged."""
        return np.array([state[0], transform.shrink * state[1] + transform.perturb * fresh[1]])

    def evaluate(self, state: State, data: Examples | None) -> Evaluation:
        """Return the loss with the noise of the evaluation."""
        steps, z = state.tolist()
        wrong_by = self.evaluation_noise * float(np.random.standard_normal())
        return Evaluation({"loss": 1 / (1 + steps / 10) + self.training_noise * z + wrong_by})

    def to_arrays(self, state: State) -> dict[str, NDArray[Any]]:
        """Return (t, z) as `state`."""
        return {"state": state}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> State:
        """Return the (t, z) of a checkpoint."""
        return arrays["state"]
