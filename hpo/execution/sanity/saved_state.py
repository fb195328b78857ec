"""Checks that a restored state trains as the one in memory does, and that nothing outside of the state changes the result."""

import warnings
from typing import Any

from hpo.core.checkpoints import decode, encode
from hpo.core.errors import InputError
from hpo.core.segments import Split
from hpo.core.task import Diverged
from hpo.execution.sanity.failures import failed
from hpo.execution.sanity.members import Members, Trained
from hpo.execution.sanity.shared_state import shared_state


def check_saved_state(members: Members, member: Trained) -> None:
    """Check that a member trains from its saved state as it does from the one in memory, bit for bit.

    Raises:
        InputError: it does not, or state outside of the checkpoint changes the result.
    """
    task, hparams, name = members.task, member.hparams, members.task.title
    for key, value in task.applied_hparams(member.state).items():
        if key in hparams and value != hparams[key]:
            warnings.warn(
                f"{name}: training changes {key} from {hparams[key]!r} to {value!r}. Each interval starts with the searched value"
                " again. For a learning rate that changes over the whole budget, override learning_rate_schedule",
                stacklevel=2,
            )
    restored = members.restored(member.saved, hparams)
    with failed(task, "to_arrays", hparams):
        again = encode(task.to_arrays(restored))
    if again != member.saved and not task.opaque_states:
        raise InputError(
            f"{name}: {_differing(member.saved, again)} changes when a state is saved and restored: from_arrays must restore"
            " exactly what to_arrays saved"
        )

    def trained_further(state: Any) -> Trained:
        return members.train_segment(state, member.saved, hparams, Split.SEARCH, members.second)

    try:
        straight, resumed = trained_further(member.state), trained_further(restored)
        before = shared_state(task)
        repeated = trained_further(members.restored(member.saved, hparams))
        after = shared_state(task)
    except Diverged:
        return
    with failed(task, "unsaved", hparams):
        lost = list(task.unsaved(straight.state, resumed.state))
    if lost:
        raise InputError(
            f"{name}: {'; '.join(lost)}. Checkpoints do not hold it, so it would be reset in every interval: keep it in a"
            " buffer of the model or in the optimizer's state_dict, or override to_arrays and from_arrays"
        )
    if not task.deterministic:
        return
    changed = ", ".join(each for each in after if after[each] != before.get(each))
    if not same(resumed, repeated, task.opaque_states):
        _two_results(name, _differing(resumed.saved, repeated.saved), changed)
    elif not same(straight, resumed, task.opaque_states):
        raise InputError(
            f"{name}: a restored state trains differently from the one in memory"
            f" ({_differing(straight.saved, resumed.saved)}): {'save(folder)' if task.opaque_states else 'to_arrays'} leaves out"
            " something that training depends on, or evaluation leaves something changed, such as the mode of a model (`eval`)"
        )
    elif changed:
        warnings.warn(
            f"{name}: {changed} changes as members train. It is not part of their state: it is reset in every process, and one"
            " member passes it to the next. Keep everything that training depends on in the state",
            stacklevel=2,
        )


def _two_results(name: str, differing: str, changed: str) -> None:
    """Report that training gives two results from one state and seed: as a warning if the cause is unknown.

    Raises:
        InputError: shared state changed in between.
    """
    text = f"{name}: training twice from one state with the same seed gave two results ({differing})"
    advice = "Draw from the global generators of torch, numpy or random, which are seeded"
    if changed:
        raise InputError(
            f"{text}, and {changed} changed in between: a member's result would depend on which members its process trained"
            f" before. {advice}, and keep everything else that training depends on in the state"
        )
    warnings.warn(f"{text}: the study cannot be reproduced. {advice}, and do not depend on the time", stacklevel=3)


def same(one: Trained, other: Trained, opaque: bool = False) -> bool:
    """Return whether two members are equal, bit for bit; if their states are opaque, whether their metrics are."""
    return (opaque or one.saved == other.saved) and dict(one.metrics) == dict(other.metrics)


def alike(one: Trained, other: Trained, describing: frozenset[str]) -> bool:
    """Return whether training made the same of two members, which may have been made differently."""
    return dict(one.metrics) == dict(other.metrics) and set(_different(one.saved, other.saved)) <= describing


def _different(one: bytes, other: bytes) -> list[str]:
    """Return the names of the arrays in which two saved states differ."""
    left, right = decode(one), decode(other)
    return [
        name
        for name in sorted(left.keys() | right.keys())
        if name not in left
        or name not in right
        or (left[name].dtype, left[name].shape, left[name].tobytes())
        != (right[name].dtype, right[name].shape, right[name].tobytes())
    ]


def _differing(one: bytes, other: bytes) -> str:
    """Return the names of the arrays in which two saved states differ, or "the metrics" if the states are equal."""
    names = _different(one, other)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "the metrics"
