"""Checks that a member goes on from its saved state as from the one in memory, and that nothing else changes what it computes."""

import warnings
from typing import Any

from hpo.core.checkpoints import decode, encode
from hpo.core.errors import InputError
from hpo.core.segments import Split
from hpo.core.task import Diverged
from hpo.execution.sanity.beside import beside
from hpo.execution.sanity.failures import failed
from hpo.execution.sanity.members import Members, Trained


def check_saved(members: Members, member: Trained) -> None:
    """Check that a member goes on from its saved state as from the one in memory.

    Raises:
        InputError: it does not.
    """
    task, hparams, name = members.task, member.hparams, type(members.task).__name__
    for key, value in task.applied_hparams(member.state).items():
        if key in hparams and value != hparams[key]:
            warnings.warn(
                f"{name}: training changes {key} from {hparams[key]!r} to {value!r}. Each interval begins with the searched value"
                " again; for a learning rate that changes over the whole budget override learning_rate_schedule",
                stacklevel=2,
            )
    restored = members.restored(member.saved, hparams)
    with failed(task, "to_arrays", hparams):
        again = encode(task.to_arrays(restored))
    if again != member.saved:
        raise InputError(
            f"{name}: {_differing(member.saved, again)} changes when a state is saved and restored: from_arrays must give back what"
            " to_arrays saved"
        )

    def gone_on(state: Any) -> Trained:
        return members.segment(state, member.saved, hparams, Split.SEARCH, members.second)

    try:
        straight, resumed = gone_on(member.state), gone_on(restored)
        before = beside(task)
        repeated = gone_on(members.restored(member.saved, hparams))
        after = beside(task)
    except Diverged:
        return
    with failed(task, "unsaved", hparams):
        lost = list(task.unsaved(straight.state, resumed.state))
    if lost:
        raise InputError(
            f"{name}: {'; '.join(lost)}. A checkpoint does not hold it, so that it would begin anew in every interval: keep it in a"
            " buffer of the model or in the optimizer's state_dict, or override to_arrays and from_arrays"
        )
    changed = ", ".join(each for each in after if after[each] != before.get(each))
    if not same(resumed, repeated):
        _two_results(name, _differing(resumed.saved, repeated.saved), changed)
    elif not same(straight, resumed):
        raise InputError(
            f"{name}: a state that was saved and restored trains on otherwise than the one in memory"
            f" ({_differing(straight.saved, resumed.saved)}): to_arrays leaves out something that training goes on from"
        )
    elif changed:
        warnings.warn(
            f"{name}: {changed} changes as members train. It is part of no state: it begins anew in every process, and goes on"
            " from one member to the next. What training depends on belongs in the state",
            stacklevel=2,
        )


def _two_results(name: str, differing: str, changed: str) -> None:
    """Say that training gives two results from one state and seed.

    Raises:
        InputError: something is known that changed in between.
    """
    text = f"{name}: training twice from one state with the same seed gave two results ({differing})"
    advice = "Draw from the global generators of torch, numpy or random, which are seeded"
    if changed:
        raise InputError(
            f"{text}, and {changed} changed in between: what a member computes would depend on which ones its process trained"
            f" before. {advice}, and keep what else training depends on in the state"
        )
    warnings.warn(f"{text}: the study cannot be reproduced. {advice}, and read no clock", stacklevel=3)


def same(one: Trained, other: Trained) -> bool:
    """Say whether two members are the same, bit for bit."""
    return one.saved == other.saved and dict(one.metrics) == dict(other.metrics)


def _differing(one: bytes, other: bytes) -> str:
    """Return the names of the arrays in which two saved states differ; where they do not, the metrics did."""
    left, right = decode(one), decode(other)
    names = [
        name
        for name in sorted(left.keys() | right.keys())
        if name not in left
        or name not in right
        or (left[name].dtype, left[name].shape, left[name].tobytes())
        != (right[name].dtype, right[name].shape, right[name].tobytes())
    ]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "the metrics"
