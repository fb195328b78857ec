"""PB2-Mix: PB2 for spaces that also have categoricals.

Parker-Holder, Nguyen, Desai, Roberts, "Tuning mixed input hyperparameters on the fly for efficient population based AutoRL",
NeurIPS 2021, section 4. A member to change first receives categories, each by a bandit of its own (TV.EXP3.M, in
`hpo.optimizers.exp3`) whose rewards are the improvements of intervals with them. Then PB2's Gaussian process chooses the
numbers, given these categories: its kernel is a mixture over both (`hpo.optimizers.gaussian_process`).

The paper was published with a program (jparkerholder/procgen_autorl), which PBT-Zoo adapts. They differ, and so does this:

- *What is pending.* In the paper all B members of the population pick at once. Here, as in the program, only those that have just
  copied pick, and the others keep their categories. Those count as picks: what they hold is taken from the expected picks of
  the whole population, and the rest is divided among the members that pick. In the program they change nothing.
- *Rewards* lie from 0 to 1: the improvements within the window, standardised and cut as for the process, between the lowest and the
  highest. The program does not cut them. The reward of a category in an interval is the mean over its members; in the program the
  rewards add up, so that a category gains by being frequent.
- *T* is one more than the number of intervals in the window, so that the bandit needs no horizon; `rounds` gives the paper's T.
- *The kernel* forgets once, with one ω and one variance for the whole mixture; the program has two of each, and halves the sum. Its
  acquisition takes the variance where the paper and PB2 here take the deviation.
- *Ordered categoricals* are numbers here. The program refuses them, and spaces without any categorical.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from annotated_types import Ge

from hpo.core.errors import OptionError
from hpo.core.optimizer import Member
from hpo.core.registry import register_perturbation
from hpo.core.segments import HParams, Result
from hpo.core.space import SearchSpace
from hpo.optimizers import exp3
from hpo.optimizers.observations import Encoding, Floats, next_rows_of_others
from hpo.optimizers.pb2 import PB2
from hpo.optimizers.perturbation import perturbable


@register_perturbation("pb2_mix")
@dataclass(frozen=True)
class PB2Mix(PB2):
    """Choose unordered categoricals by a bandit, and then all other hyperparameters by PB2, given the categories.

    Floats and integers are chosen as by `pb2`; ordered categoricals, too, by their position. In a space of floats and integers it
    is `pb2`. Until there are more improvements than hyperparameters, numbers are drawn from the prior.

    Args:
        c1: in β = c1 + max(0, log(c2 n)), with n improvements; a larger β explores more.
        c2: as above.
        window: the number of latest improvements to use; the time of a fit grows with its cube.
        rounds: T, for which the bandits set their exploration and their forgetting; fewer explore and forget more. None: one more
            than the number of intervals in the window.
    """

    rounds: Annotated[int, Ge(1)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds is not None and self.rounds < 1:
            raise OptionError("rounds", self.rounds, "a whole number of at least 1")

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` if the space has no hyperparameter that may change."""
        if not perturbable(space):
            raise OptionError("name", "pb2_mix", "a search space with a hyperparameter that is not fixed")

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters: first the categories of all of them, then the numbers in slot order."""
        encoding = Encoding.of(space)
        points, gains = self._observed(history, encoding)
        others = next_rows_of_others({member.slot for member in copied}, history, encoding)
        pending = np.array(others).reshape(-1, 1 + len(encoding.names))
        for column in encoding.categorical:
            copied = self._with_category(copied, encoding, column, points, _from_0_to_1(gains), pending, rng)
        if encoding.numbers == 0:
            return {member.slot: member.hparams for member in copied}
        return self._with_numbers(copied, encoding, history, points, gains, rng)

    def _with_category(
        self,
        copied: Sequence[Member],
        encoding: Encoding,
        column: int,
        points: Floats,
        rewards: Floats,
        pending: Floats,
        rng: np.random.Generator,
    ) -> list[Member]:
        """Return the members with new values of one categorical; those that lack it are unchanged.

        Args:
            copied: the members, in slot order.
            encoding: the hyperparameters in the columns of points.
            column: the categorical's column.
            points: what was observed, shape (n, 1 + d).
            rewards: from 0 to 1, shape (n,).
            pending: the next points of the members that are not changed, shape (p, 1 + d).
            rng: the random stream.
        """
        name = encoding.names[column - 1]
        choices = encoding.choices(name)
        known, taken = points[:, column] >= 0, pending[pending[:, column] >= 0, column].astype(np.int64)
        picking = [member.slot for member in copied if name in member.hparams]
        plays = len(picking) + len(taken)
        if not picking:
            return list(copied)
        rounds = self.rounds if self.rounds is not None else len(np.unique(points[:, 0])) + 1
        arms = points[known, column].astype(np.int64)
        weights = exp3.learned(points[known, 0], arms, rewards[known], len(choices), rounds)
        expected, _ = exp3.expected_plays(weights, plays, exp3.mixing(len(choices), plays, rounds))
        picked = exp3.picked(expected, np.bincount(taken, minlength=len(choices)), rng)
        values = {slot: choices[arm] for slot, arm in zip(picking, picked.tolist(), strict=True)}
        return [
            replace(member, hparams={**member.hparams, name: values[member.slot]}) if member.slot in values else member
            for member in copied
        ]


def _from_0_to_1(values: Floats) -> Floats:
    """Return values, shape (n,), scaled to lie from 0 to 1; all 0 if they are all equal."""
    if len(values) == 0 or np.ptp(values) == 0:
        return np.zeros(len(values))
    return np.asarray((values - values.min()) / np.ptp(values))
