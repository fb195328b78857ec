"""Tasks without noise that know their greedy choice, and an optimizer that transforms weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np

import hpo
from hpo import Evaluation, Float, Metric, SearchSpace, Task
from hpo.core.segments import Segment, ShrinkPerturb
from hpo.optimizers.generations import DONE, Generation, Generations
from hpo.optimizers.incumbent import best_of
from hpo.optimizers.population import roots


@hpo.register_task("halving")
@dataclass(frozen=True)
class Halving(Task[Any]):
    """A step multiplies θ by 1 - rate, from 1; the loss is θ². The larger the rate, the better, now and in the end.

    Args:
        noise: added to each evaluation.
    """

    noise: float = 0.0

    unit = "steps"
    transforms = frozenset({"shrink_perturb"})
    search_space = SearchSpace({"rate": Float(0.0, 0.5)})
    metrics = (Metric("loss"),)

    def initialize(self, hparams: Any) -> Any:
        return np.ones(1)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        return state * (1 - hparams["rate"]) ** len(batches)

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        return Evaluation({"loss": float(state[0]) ** 2 + self.noise * np.random.standard_normal()})

    def to_arrays(self, state: Any) -> Any:
        return {"state": state}

    def from_arrays(self, arrays: Any, hparams: Any) -> Any:
        return arrays["state"]

    def shrink_perturb(self, state: Any, fresh: Any, transform: Any) -> Any:
        return transform.shrink * state + transform.perturb * fresh

    def greedy_hparams(self, state: Any, steps: int, space: Any) -> Any:
        return {"rate": space["rate"].high}

    def best_schedule(self, steps: int, space: Any) -> Any:
        return [{"rate": space["rate"].high}] * steps


@hpo.register_task("investing")
@dataclass(frozen=True)
class Investing(Halving):
    """A step adds spend * capital to the score and multiplies the capital by 2 - spend. The state is (capital, score), from (1, 0).

    Over one step, to spend all is best: the score after n of them is n. In the end it is best to spend nothing but in the last
    step: 2^(n - 1).
    """

    search_space = SearchSpace({"spend": Float(0.0, 1.0)})
    metrics = (Metric("score", "maximize"),)

    def initialize(self, hparams: Any) -> Any:
        return np.array([1.0, 0.0])

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        capital, score = state.tolist()
        for _ in batches:
            capital, score = capital * (2 - hparams["spend"]), score + hparams["spend"] * capital
        return np.array([capital, score])

    def evaluate(self, state: Any, data: Any) -> Evaluation:
        return Evaluation({"score": float(state[1])})

    def greedy_hparams(self, state: Any, steps: int, space: Any) -> Any:
        assert steps == 1
        return {"spend": space["spend"].high}

    def best_schedule(self, steps: int, space: Any) -> Any:
        return [{"spend": 0.0}] * (steps - 1) + [{"spend": 1.0}]


@hpo.register_optimizer("halving_weights")
@dataclass(frozen=True)
class HalvingWeights(hpo.OptimizerOptions):
    """Random search that halves all weights after two intervals."""

    def start(self, problem: Any) -> Any:
        return HalvingWeightsRun(problem, Generation(list(roots(problem)), 2))


class HalvingWeightsRun(Generations):
    def evolve(self, members: Any) -> Generation:
        if members[0].history[-1].segment.interval + 1 == self.problem.intervals:
            return DONE
        half = ShrinkPerturb(0.5, 0.0)
        segments = [Segment(s.member, s.parent, s.interval, s.hparams, transform=half) for s in self.going_on(members)]
        return Generation(segments, 2)

    def best(self) -> str:
        return best_of(self.results, "final", self.problem.intervals)
