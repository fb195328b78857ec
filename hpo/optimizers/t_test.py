"""T-test selection, an exploit step of population based training that does not follow noise.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 4.1.1: each member draws
another one, the last 10 evaluations of both are compared with Welch's t-test, and the other one is copied if its mean is
higher and the difference significant.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt, Lt
from scipy import stats

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.registry import register_selection
from hpo.core.segments import Key, Result, lineage
from hpo.optimizers.selection import check_pair, opponents


@register_selection("t_test")
@dataclass(frozen=True)
class TTest:
    """Each member draws another one uniformly, and goes on from it if Welch's t-test says that it is better.

    The evaluations of a member are those of the model that it holds, and of the models which that one was trained from: its
    lineage. After a copy they are the donor's, and what its slot held before no longer counts: the test never mixes models that
    are strangers to each other. Two members with common ancestors share their evaluations, which makes a copy harder to tell
    from its donor. A model improves while it is trained, and successive evaluations are not independent: as in the paper,
    the test is a threshold, not an inference.

    With fewer than two evaluations on either side there is no test, and no copy. If neither side varies at all, the one with
    the higher value is better. A diverged member, which ranks below everything finite, goes on from any finite one that it draws.

    Args:
        window: how many evaluations of each are compared, the last ones; at least 2.
        alpha: the two-sided level below which p must be.
    """

    window: Annotated[int, Ge(2)] = 10
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05

    def check(self, population_size: int) -> None:
        """Raise `OptionError` for a window without a variance, a level outside (0, 1), and a single member."""
        if self.window < 2:
            raise OptionError("window", self.window, "a whole number of at least 2")
        if not 0 < self.alpha < 1:
            raise OptionError("alpha", self.alpha, "a number above 0 and below 1")
        check_pair("t_test", population_size)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return the opponent's key for each member that lost; opponents are drawn in the order of the slots."""
        if len(population) < 2:
            return {}
        known = {result.key: result for member in population for result in member.history}
        chosen = {}
        for member, other in zip(population, opponents(len(population), rng), strict=True):
            opponent = population[other]
            if opponent.diverged:
                continue
            if member.diverged or self._loses(evaluations(member, known), evaluations(opponent, known)):
                chosen[member.slot] = opponent.key
        return chosen

    def _loses(self, own: Sequence[float], others: Sequence[float]) -> bool:
        own, others = own[-self.window :], others[-self.window :]
        if min(len(own), len(others)) < 2:
            return False
        # A power of two changes no bit of the test, and the square of a large score is no float.
        power = np.frexp(max(map(abs, (*own, *others))))[1]
        own, others = (np.ldexp(scores, -power).tolist() for scores in (own, others))
        return float(np.mean(others)) > float(np.mean(own)) and welch(own, others) < self.alpha


def evaluations(member: Member, known: Mapping[Key, Result]) -> list[float]:
    """Return the scores along the lineage of the model that a member holds, oldest first."""
    path = lineage(member.key, lambda key: known[key].segment)
    keys = [segment.parent for segment in path[1:]] + [member.key]
    return [known[key].score for key in keys if key is not None]


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p value of Welch's t-test; of samples that do not vary, 1 if they are equal and else 0.

    Args:
        first: at least two numbers.
        second: at least two numbers.
    """
    if min(first) == max(first) and min(second) == max(second):
        return float(first[0] == second[0])
    # Not `ttest_ind`, which warns where one sample is constant.
    means, deviations = zip(*((np.mean(each), np.std(each, ddof=1)) for each in (first, second)), strict=True)
    found = stats.ttest_ind_from_stats(
        means[0], deviations[0], len(first), means[1], deviations[1], len(second), equal_var=False
    )
    return 1.0 if math.isnan(found.pvalue) else float(found.pvalue)
