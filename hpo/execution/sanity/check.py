"""The check itself: states are saved as a whole, members can copy each other, and every hyperparameter is read."""

import itertools
import os
import warnings
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from hpo.core.errors import InputError, did_you_mean
from hpo.core.seeding import Streams
from hpo.core.segments import HParams, Split, Value
from hpo.core.space import SearchSpace
from hpo.core.task import Diverged, Task
from hpo.execution.sanity.draws import draws, smallest_batches
from hpo.execution.sanity.members import Members, Trained
from hpo.execution.sanity.saved import check_saved, same
from hpo.execution.serial import generators_in_use, marked_interrupts
from hpo.study.spec import StudySpec

FURTHER_LOOKS = 8
"""Draws of a space, beyond the usual ones, before a hyperparameter counts as one that nothing reads."""
_PAIRS = 3
"""Pairs of draws that may show that a hyperparameter makes a difference."""
_WAIT = 5.0
"""Seconds to wait for another check in this process; a serial study in another thread is not waited for."""


def sanity_check(spec: StudySpec, task: Task[Any]) -> None:
    """Try a new study on tiny stretches of its data; the test set is not loaded, and nothing is kept.

    The task is initialized, trained on the first and the last batch of intervals of both splits, evaluated on a few validation
    examples, saved and restored. The restored state must go on as the one in memory does, bit for bit. Every choice of the
    search space is made once, the smallest batches that the study comes to are trained, and where members copy each other, one
    goes on from another's state. All random numbers come from streams of its own.

    Args:
        spec: the study.
        task: its task, on its device.

    Raises:
        InputError: something fails, a state is not saved as a whole, a hyperparameter that shapes the model is not fixed, or one is
            never read; with what to do.
    """
    if not generators_in_use.acquire(timeout=_WAIT):
        return
    try:
        with (
            _same_folder(),
            marked_interrupts(),
            threadpool_limits(1),
            task.numerics_scope(),
            np.errstate(all="ignore"),
        ):
            _check(spec, Members(spec, task))
    finally:
        generators_in_use.release()


@contextmanager
def _same_folder() -> Iterator[None]:
    """Go back to the current folder: a task may change it, and paths that the user gave start there."""
    folder = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield
    finally:
        os.fchdir(folder)
        os.close(folder)


def _check(spec: StudySpec, members: Members) -> None:
    arms = [arm for arm in spec.arms if arm.derived_from is None]
    spaces: dict[tuple[str, ...], SearchSpace] = {}
    tried: list[tuple[SearchSpace, Sequence[HParams]]] = []
    changing: dict[tuple[str, ...], set[str]] = {}
    for arm in arms:
        space = spec.problem(spec.seeds[0], arm).space
        spaces[tuple(space)] = space
        changing.setdefault(tuple(space), set()).update(arm.optimizer.changes(space))
    all_choices, idle = True, False
    for names, space in spaces.items():
        drawn, complete = draws(space)
        tried.append((space, drawn))
        all_choices = all_choices and complete
        first, trained, alike, diverged = None, 0, 0, len(members.diverged)
        for hparams in [*drawn, *_small_batches(space, drawn[0], members, spec)]:
            member = members.try_out(hparams)
            if member is None:
                continue
            if first is None:
                first = member
                check_saved(members, first)
            trained, alike = trained + 1, alike + same(first, member)
        if first is None:
            _all_diverged(members, diverged)
            continue
        _check_copy(members, first, drawn, changing[names])
        idle = idle or alike == trained > 1
    _check_read(members, list(spaces.values()), spec, all_choices)
    if any(hparams.taken for hparams in members.recorded):
        _check_used(members, tried)
    elif idle and members.task.reads_are_seen:
        warnings.warn(
            f"{type(members.task).__name__}: the first batches leave the same model whatever the hyperparameters are. Does"
            " training change it: backward() and the optimizer's step(), on this model's own parameters?",
            stacklevel=2,
        )


def _all_diverged(members: Members, before: int) -> None:
    """Warn that everything that was tried of a search space diverged: the study would have no answer."""
    warnings.warn(
        f"{type(members.task).__name__}: all {len(members.diverged) - before} members that were tried diverged in the first batches"
        f" ({members.diverged[before]}). A search in which every member diverges has no answer: look at the data, the"
        " loss, the metrics and the bounds of the search space",
        stacklevel=3,
    )


def _small_batches(space: SearchSpace, hparams: HParams, members: Members, spec: StudySpec) -> Iterable[HParams]:
    """Return draws with the batch sizes that leave the smallest batches, where the batch size is searched."""
    if "batch_size" not in hparams:
        return []
    found = dict.fromkeys(smallest_batches(space["batch_size"], spec.interval, members.sizes))
    return [space.restricted({**hparams, "batch_size": size}) for size in found]


# --- copies --------------------------------------------------------------------------------------------------------------


def _check_copy(members: Members, donor: Trained, drawn: Sequence[HParams], changing: Collection[str]) -> None:
    """Check that a member can go on from another one's state with its own values of those hyperparameters that may change.

    Raises:
        InputError: it cannot; with the hyperparameter that is to be fixed.
    """
    donors = donor.hparams.given
    own = {name: value for each in drawn for name, value in each.items() if value != donors.get(name)}
    changed = {name: own[name] for name in donors if name in changing and name in own}
    if not changed:
        return

    def failure(values: dict[str, Value]) -> InputError | None:
        recorded = members.recording(values)
        try:
            state = members.restored(donor.saved, recorded)
            members.segment(state, donor.saved, recorded, Split.SEARCH, members.second)
        except Diverged:
            return None
        except InputError as error:
            return error
        return None

    error = failure({**donors, **changed})
    if error is None:
        return
    guilty = [name for name, value in changed.items() if failure({**donors, name: value}) is not None]
    guilty = guilty or list(changed)
    names = " and ".join(guilty)
    raise InputError(
        f"a member that goes on from another one's state with its own {names} fails. What shapes the state must be fixed: write"
        f" fixed = true in [task.search_space.{guilty[0]}], or fixed=True in the task's search_space. {error}"
    ) from error


# --- hyperparameters that nothing reads ----------------------------------------------------------------------------------


def _check_read(members: Members, spaces: Sequence[SearchSpace], spec: StudySpec, all_choices: bool) -> None:
    """Check that every hyperparameter was read; controls of others decide something in any case.

    Raises:
        InputError: one was not, and the task is of a kind whose reads are seen.
    """
    controls = _controls(spaces)
    rng = Streams(spec.seeds[0]).generator("sanity/draws", shared=True)
    for _ in range(FURTHER_LOOKS):
        if not (_unread(members) - controls):
            return
        for space in spaces:
            members.try_out(space.sample(rng))
    unread = sorted(_unread(members) - controls)
    if not unread:
        return
    known = {name for space in spaces for name in space}
    looked_up = sorted(_read(members) - known)
    lines = []
    for name in unread:
        hint = did_you_mean(name, looked_up)
        lines.append(f"hyperparameter {name!r}: the task never reads it" + (f" ({hint})" if hint else ""))
    more = f". Names that it looks for: {', '.join(looked_up)}" if looked_up else ""
    text = (
        f"{type(members.task).__name__}: {'; '.join(lines)}{more}. Its values would make no difference: rename it, read it or"
        " remove it"
    )
    if members.task.reads_are_seen and members.saw_all and all_choices:
        raise InputError(text)
    warnings.warn(text, stacklevel=2)


def _check_used(members: Members, tried: Iterable[tuple[SearchSpace, Sequence[HParams]]]) -> None:
    """Warn of hyperparameters whose values change nothing of what is tried, where a task takes them as a whole."""
    idle = dict.fromkeys(
        name
        for space, drawn in tried
        for name in space
        if name not in _controls([space])
        and (pairs := _pairs(space, drawn, name))
        and not any(_differ(members, *pair) for pair in pairs)
    )
    if idle:
        warnings.warn(
            f"{type(members.task).__name__}: {', '.join(idle)} made no difference in the first batches, and the task takes its"
            " hyperparameters as a whole, so that nothing shows whether it uses them: see that their names are right",
            stacklevel=2,
        )


def _pairs(space: SearchSpace, drawn: Sequence[HParams], name: str) -> list[tuple[HParams, HParams]]:
    """Return draws that differ in one hyperparameter, and in those that depend on it."""
    having = [draw for draw in drawn if name in draw]
    pairs: list[tuple[HParams, HParams]] = [
        (draw, space.restricted({**draw, name: other[name]}))
        for draw, other in itertools.pairwise(having)
        if draw[name] != other[name]
    ]
    return pairs[:_PAIRS]


def _differ(members: Members, one: HParams, other: HParams) -> bool:
    first, second = members.try_out(one), members.try_out(other)
    return first is None or second is None or not same(first, second)


def _controls(spaces: Iterable[SearchSpace]) -> set[str]:
    return {control for space in spaces for parameter in space.values() for control in parameter.when or ()}


def _unread(members: Members) -> set[str]:
    """Return the hyperparameters that a member had when it was trained to the end, and that no member read."""
    return {name for hparams in members.finished for name in hparams} - _read(members)


def _read(members: Members) -> set[str]:
    return {name for hparams in members.recorded for name in hparams.read}
