"""T-test selection, an exploit step of population based training that is robust to noise.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 4.1.1: each member draws an
opponent and compares the last 10 evaluations of both with Welch's t-test. It copies the opponent if the opponent's mean is
higher and the difference is significant.
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
    """Replace each member by an opponent, drawn uniformly, if Welch's t-test says that the opponent is better.

    A member's evaluations are those along its lineage: of the model it holds, and of that model's ancestors. After a copy they
    are the donor's, so that a test never mixes evaluations of unrelated models. Two members with common ancestors share
    evaluations, which makes it harder to tell a copy from its donor. A model improves during training and successive
    evaluations are not independent, so, as in the paper, the test is a threshold and not an inference.

    A member with fewer than two evaluations neither copies nor is copied. If neither side varies at all, the one with the
    higher value is better. A diverged member copies any finite opponent.

    Args:
        window: the number of last evaluations to compare, at least 2.
        alpha: the two-sided significance level; p must be below it.
    """

    window: Annotated[int, Ge(2)] = 10
    alpha: Annotated[float, Gt(0), Lt(1)] = 0.05

    def check(self, population_size: int) -> None:
        """Raise `OptionError` unless `window` is at least 2, `alpha` is in (0, 1) and there are at least two members."""
        if self.window < 2:
            raise OptionError("window", self.window, "a whole number of at least 2")
        if not 0 < self.alpha < 1:
            raise OptionError("alpha", self.alpha, "a number above 0 and below 1")
        check_pair("t_test", population_size)

    def __call__(self, population: Sequence[Member], rng: np.random.Generator) -> Mapping[int, Key]:
        """Return the opponent's key for each member that lost. Opponents are drawn in slot order."""
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
        # Scaling by a power of two changes no bit of the test, but keeps the squares of large scores from overflowing.
        power = np.frexp(max(map(abs, (*own, *others))))[1]
        own, others = (np.ldexp(scores, -power).tolist() for scores in (own, others))
        return float(np.mean(others)) > float(np.mean(own)) and welch(own, others) < self.alpha


def evaluations(member: Member, known: Mapping[Key, Result]) -> list[float]:
    """Return the scores along the lineage of the model that a member holds, oldest first."""
    path = lineage(member.key, lambda key: known[key].segment)
    keys = [segment.parent for segment in path[1:]] + [member.key]
    return [known[key].score for key in keys if key is not None]


def welch(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the two-sided p value of Welch's t-test. For two constant samples it is 1 if they are equal, else 0.

    Args:
        first: at least two numbers.
        second: at least two numbers.
    """
    if min(first) == max(first) and min(second) == max(second):
        return float(first[0] == second[0])
    # `ttest_ind` would warn if one sample is constant.
    means, deviations = zip(*((np.mean(each), np.std(each, ddof=1)) for each in (first, second)), strict=True)
    found = stats.ttest_ind_from_stats(
        means[0], deviations[0], len(first), means[1], deviations[1], len(second), equal_var=False
    )
    return 1.0 if math.isnan(found.pvalue) else float(found.pvalue)
