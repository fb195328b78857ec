"""Tasks `zoo_plain` and `zoo_deceptive`: one hyperparameter, and whether following the greedy objective pays in the end.

Chebykin, Alderliesten and Bosman, "To be greedy, or not to be: that is the question for population based training variants", TMLR
2025, section 5.2 and figure 2; the constants are those of their program (PBT-Zoo, `task/toy_plain.py` and `task/toy_deceptive.py`).
Both maximise J(θ) = 1.2 - θ² from θ = 0.9, by steps of size s = 0.001 along the gradient of a surrogate:

    plain:      θ  <-  θ (1 - 2 s (2 - lr)),
    deceptive:  θ  <-  θ (1 - 2 s max(2 - lr - penalty, 0)),   penalty = 0.2 Σ_i |lr_i - (1 - 20 i / 1000)|.                   (1)

The deceptive task remembers one lr for each 20 steps: lr_i is the rate at the first of them. So a rate far from the line that falls
from 1 to 0 within 1,000 steps slows down all steps that follow. If the speed of a step is 2 - lr, or max(2 - lr - penalty, 0), then
the score after any steps is 1.2 - 0.81 Π (1 - 2 s speed)².
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

LOW, HIGH = 1e-4, 1.1
OPTIMUM = 1.2


@dataclass(frozen=True)
class ZooState:
    """The state of a member.

    Args:
        theta: θ.
        steps: how many steps it has taken.
        rates: what it remembers: the rate at the first step of each stretch of `memory_interval` steps.
    """

    theta: float
    steps: int = 0
    rates: tuple[float, ...] = ()


@register_task("zoo_plain")
@dataclass(frozen=True)
class ZooPlain(Task[ZooState]):
    """The plain task: no noise, no data, and a unit of one step.

    The gain of a step depends on its own rate alone, and falls with it. So the best schedule is the lower bound throughout, which
    is also the greedy one: 1.2 - 0.81 (1 - 0.002 (2 - 0.0001))^2000 = 1.19973 after 1,000 steps. A search starts between
    0.9 and 1.1, where a constant rate reaches 1.19010 at best.

    Args:
        start: θ at the beginning.
        step_size: s.
    """

    start: Annotated[float, Gt(0)] = 0.9
    step_size: Annotated[float, Gt(0)] = 0.001

    unit = "steps"
    transforms = frozenset({SHRINK_PERTURB})

    @property
    def search_space(self) -> SearchSpace:
        """`lr`, whose initial values lie between 0.9 and 1.1."""
        return SearchSpace({"lr": Float(LOW, HIGH, initial=(0.9, 1.1))})

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The score J(θ), at most 1.2."""
        return (Metric("score", "maximize"),)

    def initialize(self, hparams: HParams) -> ZooState:
        """Return θ at the start."""
        return ZooState(self.start)

    def train(self, state: ZooState, hparams: HParams, batches: Batches | range) -> ZooState:
        """Take as many steps as the interval has."""
        rate = float(hparams["lr"])
        for _ in batches:
            state = self.step(state, rate)
        return state

    def step(self, state: ZooState, rate: float) -> ZooState:
        """Return the state after one step at a rate."""
        rates = self.remembered(state, rate)
        theta = state.theta * (1 - 2 * self.step_size * self.speed(rate, rates))
        return ZooState(theta, state.steps + 1, rates)

    def remembered(self, state: ZooState, rate: float) -> tuple[float, ...]:
        """Return the remembered rates during the next step: none."""
        return ()

    def speed(self, rate: float, rates: Sequence[float]) -> float:
        """Return how fast log|θ| falls in a step, in units of 2 s.

        Args:
            rate: of the step.
            rates: the remembered ones, with that of the step's own stretch.
        """
        return 2 - rate

    def score_along(self, rates: Sequence[float]) -> float:
        """Return the score after one step at each of these rates."""
        state = self.initialize({})
        for rate in rates:
            state = self.step(state, rate)
        return self.score(state)

    def score(self, state: ZooState) -> float:
        """Return J(θ)."""
        return OPTIMUM - state.theta * state.theta

    def greedy_hparams(self, state: ZooState, steps: int, space: SearchSpace) -> HParams:
        """Return the lower bound: the lower the rate, the more each step gains."""
        return {"lr": space["lr"].from_unit(0.0)}

    def best_schedule(self, steps: int, space: SearchSpace) -> list[HParams]:
        """Return the lower bound for each step."""
        return [{"lr": space["lr"].from_unit(0.0)}] * steps

    def evaluate(self, state: ZooState, data: Examples | None) -> Evaluation:
        """Return the score, and θ as `theta`."""
        return Evaluation({"score": self.score(state), "theta": state.theta})

    def to_arrays(self, state: ZooState) -> dict[str, NDArray[Any]]:
        """Return θ as `theta`, the number of steps and the remembered rates."""
        return {"theta": np.array(state.theta), "steps": np.array(state.steps), "rates": np.array(state.rates)}

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], hparams: HParams) -> ZooState:
        """Return the state of a checkpoint."""
        return ZooState(float(arrays["theta"]), int(arrays["steps"]), tuple(arrays["rates"].tolist()))

    def shrink_perturb(self, state: ZooState, fresh: ZooState, transform: ShrinkPerturb) -> ZooState:
        """Return shrink * θ + perturb * θ at the start; the steps and the memory stay."""
        theta = transform.shrink * state.theta + transform.perturb * fresh.theta
        return ZooState(theta, state.steps, state.rates)


@register_task("zoo_deceptive")
@dataclass(frozen=True)
class ZooDeceptive(ZooPlain):
    """The deceptive task: a low rate pays at once, and a rate off the line costs in all later steps.

    In its own stretch a rate costs lr + 0.2 |lr - target| of the speed, so that the greedy choice is always the lower bound. But
    the distance costs 0.2 in every later stretch, too, up to 50 times as much in all. So the best rate of a stretch is its target,
    unless it is one of the last four: then it is the lower bound (`best_rates`). Within 1,000 steps the best schedule reaches
    1.19794, the straight line 1.19793, greed 0.82697, and the best constant rate between 0.9 and 1.1 reaches 1.05051.

    Args:
        start: θ at the beginning.
        step_size: s.
        steps: the number of steps in which the target falls from 1 to 0, whatever the study's budget.
        memory_interval: the number of steps for which one rate is remembered, whatever the study's intervals.
        penalty: the factor on the sum of distances, 0.2 in (1).
    """

    steps: Annotated[int, Gt(0)] = 1000
    memory_interval: Annotated[int, Gt(0)] = 20
    penalty: Annotated[float, Ge(0)] = 0.2

    def target(self, entry: int) -> float:
        """Return the rate from which the penalty measures the distance of a remembered one, by its position."""
        return 1 - entry * self.memory_interval / self.steps

    def remembered(self, state: ZooState, rate: float) -> tuple[float, ...]:
        """Return the remembered rates during the next step, which is the first of its stretch or not."""
        begins = state.steps % self.memory_interval == 0
        return (*state.rates, rate) if begins else state.rates

    def speed(self, rate: float, rates: Sequence[float]) -> float:
        """Return max(2 - lr - penalty, 0)."""
        distance = math.fsum(abs(each - self.target(entry)) for entry, each in enumerate(rates))
        return max(2 - rate - self.penalty * distance, 0.0)

    def best_rates(self, steps: int) -> list[float]:
        """Return the rate for each of so many steps that makes the score at their end the largest.

        While no speed reaches 0, log|θ| at the end is to first order in s a sum over stretches: the rate of stretch i takes
        lr + penalty |lr - target| from the speed in its own, and penalty |lr - target| in each later one. That is least at the
        target, or, if penalty times the number of stretches from i on is below 1, at the lower bound.
        """
        stretches = -(-steps // self.memory_interval)
        rates = []
        for entry in range(stretches):
            to_come = (steps - entry * self.memory_interval) / self.memory_interval
            pays = self.penalty * to_come >= min(to_come, 1.0)
            rate = min(max(self.target(entry), LOW), HIGH) if pays else LOW
            rates += [rate] * self.memory_interval
        return rates[:steps]

    def greedy_hparams(self, state: ZooState, steps: int, space: SearchSpace) -> HParams:
        """Return the best of the bounds and the targets of the stretches that begin within these steps. Ties go to the lower rate.

        Between two neighbours among them, 2 - lr - penalty is linear in lr at every step. So -log(1 - 2 s speed) is convex in lr,
        and is largest at one of the two.
        """
        lowest, highest = float(space["lr"].from_unit(0.0)), float(space["lr"].from_unit(1.0))
        entries = range(len(state.rates), -(-(state.steps + steps) // self.memory_interval))
        targets = (self.target(entry) for entry in entries)
        rates = [lowest, *(rate for rate in sorted(targets) if lowest < rate < highest), highest]
        best = max(rates, key=lambda rate: self.score(self.train(state, {"lr": rate}, range(steps))))
        return {"lr": best}

    def best_schedule(self, steps: int, space: SearchSpace) -> list[HParams]:
        """Return `best_rates`, inside the bounds of the space."""
        lowest, highest = float(space["lr"].from_unit(0.0)), float(space["lr"].from_unit(1.0))
        return [{"lr": min(max(rate, lowest), highest)} for rate in self.best_rates(steps)]
