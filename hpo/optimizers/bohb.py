"""BOHB: Hyperband's brackets, with members proposed by a model.

Falkner, Klein and Hutter, "BOHB: robust and efficient hyperparameter optimization at scale", ICML 2018, the section
"Model-based Hyperband" and algorithm 2. The model is the tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011): one
density of the good configurations and one of the others, at the highest budget with enough observations. Brackets here run one
after another; the paper's overlap on parallel workers.
"""

from bisect import insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError
from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import HParams, Result
from hpo.core.space import Categorical
from hpo.optimizers.brackets import Bracket, BracketRun, Proposals
from hpo.optimizers.hyperband import hyperband_brackets
from hpo.optimizers.incumbent import Select
from hpo.optimizers.kernel_density import Density, Floats
from hpo.optimizers.population import initial_hparams


@register_optimizer("bohb")
@dataclass(frozen=True)
class BOHB(OptimizerOptions):
    """Run Hyperband; once there are enough observations, a model proposes most of the new members.

    Args:
        reduction_factor: one in this many members is promoted to the next rung.
        min_budget: the lowest rung, in the task's unit; a whole number of intervals. None: one interval.
        random_fraction: the paper's ρ: the fraction of members that are still drawn from the prior. With 1 this is Hyperband.
        top_fraction: the paper's q: the best fraction of observations that counts as good.
        candidates: the paper's N_s: the number of draws from the good density; the most promising one is proposed.
        bandwidth_factor: the paper's b_w: widens the bandwidth from which candidates are drawn.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    reduction_factor: Annotated[int, Ge(2)] = 3
    min_budget: Annotated[float, Gt(0)] | None = None
    random_fraction: Annotated[float, Ge(0), Le(1)] = 1 / 3
    top_fraction: Annotated[float, Gt(0), Le(0.5)] = 0.15
    candidates: Annotated[int, Ge(1)] = 64
    bandwidth_factor: Annotated[float, Ge(1)] = 3.0
    select: Select = "final"

    def __post_init__(self) -> None:
        for option, holds, allowed in (
            ("random_fraction", 0 <= self.random_fraction <= 1, "a number of at least 0 and at most 1"),
            ("top_fraction", 0 < self.top_fraction <= 0.5, "a number above 0 and at most 0.5"),
            ("candidates", self.candidates >= 1, "a whole number of at least 1"),
            ("bandwidth_factor", self.bandwidth_factor >= 1, "a number of at least 1"),
        ):
            if not holds:
                raise OptionError(option, getattr(self, option), allowed)

    def start(self, problem: Problem) -> BracketRun:
        """Start a search.

        Raises:
            OptionError: `min_budget` is not a whole number of intervals or exceeds a member's budget, or `reduction_factor`
                is below 2.
        """
        brackets = hyperband_brackets(problem, self.min_budget, self.reduction_factor)
        budgets = {rung for bracket in brackets for rung in bracket.rungs}
        endless: Iterator[Bracket] = cycle(brackets)
        return BracketRun(problem, endless, ModelProposals(self, problem, budgets), self.select)


class ModelProposals(Proposals):
    """Proposals of the model, or draws from the prior until there is one.

    Args:
        options: the search's options.
        problem: the problem to solve.
        budgets: the budgets, in intervals, at which the model may be fitted. A member is observed at each that it reaches.
    """

    def __init__(self, options: BOHB, problem: Problem, budgets: set[int]) -> None:
        self._options = options
        self._problem = problem
        self._budgets = sorted(budgets, reverse=True)
        self._observed: dict[int, list[Result]] = {budget: [] for budget in budgets}
        self._choices = [
            len(parameter.choices) if isinstance(parameter, Categorical) and not parameter.ordered else None
            for parameter in problem.space.values()
        ]

    def observe(self, results: Sequence[Result]) -> None:
        """Record the results of one virtual time; those at a bracket's budgets are observations."""
        for result in results:
            if (budget := result.segment.interval + 1) in self._observed:
                insort(self._observed[budget], result, key=lambda each: each.rank_key)

    def propose(self, slot: int) -> HParams:
        """Return a slot's hyperparameters (algorithm 2), drawn from the slot's own stream."""
        rng = self._problem.streams.generator("proposal", member=slot)
        split = None if rng.random() < self._options.random_fraction else self.split()
        if split is None:
            return initial_hparams(self._problem, slot)
        good, others = (Density(self._units(part), self._choices) for part in split)
        candidates = good.sample(self._options.candidates, self._options.bandwidth_factor, rng)
        promise = good.log_density(candidates) - others.log_density(candidates)
        space = self._problem.space
        return space.cast(space.from_unit(candidates[int(np.argmax(promise))]))

    def split(self) -> tuple[list[Result], list[Result]] | None:
        """Return the good observations and the others, at the highest budget that has enough; None if no budget has.

        With d hyperparameters and N observations at a budget, N_min = d + 1, and N_min + 2 observations are enough. The good
        ones are the best max(N_min, q·N), the others the worst max(N_min, N - that), equation 3. Diverged results are the
        worst, and count neither towards N_min + 2 nor towards q·N.
        """
        least = len(self._problem.space) + 1
        for budget in self._budgets:
            observed = self._observed[budget]
            finite = sum(not result.diverged for result in observed)
            if finite >= least + 2:
                good = max(least, int(self._options.top_fraction * finite))
                return observed[:good], observed[-max(least, len(observed) - good) :]
        return None

    def _units(self, results: Sequence[Result]) -> Floats:
        return np.array([self._problem.space.to_unit(result.segment.hparams) for result in results])
