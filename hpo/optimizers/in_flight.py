"""Which hyperparameters a perturbation changes: found by a look at what it makes of members that nobody trains."""

import numpy as np

from hpo.core.optimizer import Member, Perturbation
from hpo.core.space import SearchSpace

_MEMBERS, _TIMES = 8, 8


def changed_in_flight(perturbation: Perturbation, space: SearchSpace) -> set[str]:
    """Return the hyperparameters that a perturbation changed in one of some tries; all that may change, where it cannot be tried.

    Args:
        perturbation: to try, on members without a history.
        space: the search space.
    """
    rng = np.random.default_rng(0)
    changed: set[str] = set()
    for _ in range(_TIMES):
        members = [Member(slot, str(slot), space.sample(rng), 0.0, False) for slot in range(_MEMBERS)]
        try:
            for slot, hparams in perturbation(members, space, [], rng).items():
                before = members[slot].hparams
                changed |= {name for name, value in hparams.items() if name not in before or value != before[name]}
        except Exception:  # somebody's own, which needs more than that
            return set(space) - space.held
    return changed & set(space) - space.held
