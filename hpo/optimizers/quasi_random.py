"""Quasi-random search: the members are points of a low-discrepancy sequence, each trained to completion.

Sobol, "On the distribution of points in a cube and the approximate evaluation of integrals", 1967, with Owen's scrambling
("Scrambling Sobol' and Niederreiter-Xing points", J. Complexity 14, 1998), or Halton's sequence with random permutations
(Owen, "A randomized Halton algorithm in R", arXiv:1706.02808, 2017), both as SciPy has them. Bergstra and Bengio, "Random
search for hyper-parameter optimization", JMLR 13, 2012, find Sobol sequences a little better than random ones.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import qmc

from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Value
from hpo.optimizers.chains import Select, root
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun


@register_optimizer("quasi_random")
@dataclass(frozen=True)
class QuasiRandom(OptimizerOptions):
    """Train points that fill the search space more evenly than independent draws do.

    Member i starts from slot i's initial weights, as in every arm, but with the hyperparameters of point i of the sequence,
    and not with those of the initial population: the first ones would break the sequence.

    Args:
        sequence: which one. Sobol's is best balanced at populations that are a power of two.
        select: which segment is the answer: "final", the best member at the full budget, or "any" interval's.
    """

    sequence: Literal["sobol", "halton"] = "sobol"
    select: Select = "final"

    def start(self, problem: Problem) -> RandomSearchRun:
        """Start a search."""
        members = quasi_random_members(problem, self.sequence)
        segments = (root(slot, hparams) for slot, hparams in enumerate(members))
        return RandomSearchRun(RandomSearch(self.select), problem, segments)


def quasi_random_members(problem: Problem, sequence: Literal["sobol", "halton"]) -> list[dict[str, Value]]:
    """Return the hyperparameters of the members, in the order of their slots."""
    space, count = problem.space, problem.population_size
    rng = np.random.default_rng(
        problem.streams.key("quasi_random")
    )  # SciPy spawns from it: a counter alone has no seed
    if sequence == "sobol":
        # Drawn to the next power of two and cut: the same points, without SciPy's warning that others are less balanced.
        points = qmc.Sobol(len(space), seed=rng).random_base2((count - 1).bit_length())[:count]
    else:
        points = qmc.Halton(len(space), seed=rng).random(count)
    return [space.cast(space.from_unit(point)) for point in points]
