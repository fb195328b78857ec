"""Quasi-random search: the members are points of a low-discrepancy sequence, each trained to completion.

Sobol, "On the distribution of points in a cube and the approximate evaluation of integrals", 1967, with Owen's scrambling
("Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14, 1998), or Halton's sequence with random permutations
(Owen, "A randomized Halton algorithm in R", arXiv:1706.02808, 2017), both from SciPy. Bergstra and Bengio, "Random
search for hyper-parameter optimization", JMLR 13, 2012, find Sobol sequences slightly better than random draws.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import qmc

from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Value
from hpo.optimizers.incumbent import Select
from hpo.optimizers.population import root
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun


@register_optimizer("quasi_random")
@dataclass(frozen=True)
class QuasiRandom(OptimizerOptions):
    """Train points that cover the search space more evenly than independent draws.

    Member i starts from slot i's initial weights, as in every arm, but takes its hyperparameters from point i of the sequence
    rather than from the initial population, which would break the sequence. Points fill the initial range of hyperparameters that
    have one.

    Args:
        sequence: the sequence. Sobol's is best balanced if the population size is a power of two.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    sequence: Literal["sobol", "halton"] = "sobol"
    select: Select = "final"

    def start(self, problem: Problem) -> RandomSearchRun:
        """Start a search."""
        members = quasi_random_members(problem, self.sequence)
        segments = (root(slot, hparams) for slot, hparams in enumerate(members))
        return RandomSearchRun(RandomSearch(self.select), problem, segments)


def quasi_random_members(problem: Problem, sequence: Literal["sobol", "halton"]) -> list[dict[str, Value]]:
    """Return the members' hyperparameters, in slot order."""
    space, count = problem.space, problem.population_size
    # SciPy spawns child generators, which needs a seed sequence rather than only a counter.
    rng = np.random.default_rng(problem.streams.key("quasi_random"))
    if sequence == "sobol":
        # The same points as `random(count)`, but without SciPy's warning about sizes that are not a power of two.
        points = qmc.Sobol(len(space), seed=rng).random_base2((count - 1).bit_length())[:count]
    else:
        points = qmc.Halton(len(space), seed=rng).random(count)
    return [space.cast(space.initial_from_unit(point)) for point in points]
