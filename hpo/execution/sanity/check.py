"""The sanity check of a study: all checks, in order."""

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from hpo.core.segments import HParams, Value
from hpo.core.space import SearchSpace
from hpo.core.task import Task
from hpo.execution.sanity.configurations import covering_configurations, smallest_batches
from hpo.execution.sanity.copies import check_copy
from hpo.execution.sanity.members import Members
from hpo.execution.sanity.saved_state import check_saved_state, same
from hpo.execution.sanity.unread import check_read, check_used
from hpo.execution.serial import generators_in_use, marked_interrupts
from hpo.study.spec import StudySpec

_WAIT = 5.0
"""Seconds to wait for another check in this process; after that, as when a serial study runs in another thread, skip the check."""


def sanity_check(spec: StudySpec, task: Task[Any]) -> None:
    """Try a new study on a little of its data, without the test set; nothing is stored.

    The task is initialized, trained on the first and the last batch of intervals of both splits, evaluated on a few validation
    examples, saved and restored. The restored state must train as the one in memory does, bit for bit. Every choice of the
    search space is used once, and the smallest batches of the study are trained. If members copy each other, one member goes
    on from another's state. All random numbers come from streams of the check's own.

    Args:
        spec: the study.
        task: its task, on its device.

    Raises:
        InputError: something fails, a checkpoint leaves out state, a hyperparameter that shapes the model is not fixed, or one is
            never read; with what to do.
    """
    if not generators_in_use.acquire(timeout=_WAIT):
        return
    try:
        with (
            _same_folder(),
            marked_interrupts(),
            threadpool_limits(task.threads),
            task.numerics_scope(),
            np.errstate(all="ignore"),
        ):
            _check(spec, Members(spec, task))
    finally:
        generators_in_use.release()


@contextmanager
def _same_folder() -> Iterator[None]:
    """Return to the current folder afterwards: a task may change it, and the user's paths are relative to it."""
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
        drawn, complete = covering_configurations(space)
        tried.append((space, drawn))
        all_choices = all_choices and complete
        first, trained, alike, diverged = None, 0, 0, len(members.diverged)
        for hparams in [*drawn, *_small_batches(space, drawn, members, spec)]:
            member = members.try_out(hparams)
            if member is None:
                continue
            if first is None:
                first = member
                check_saved_state(members, first)
            trained, alike = trained + 1, alike + same(first, member)
        if first is None:
            _all_diverged(members, diverged)
            continue
        check_copy(members, space, first, drawn, changing[names])
        idle = idle or alike == trained > 1
    check_read(members, list(spaces.values()), spec, all_choices)
    if members.task.free_space or any(hparams.taken for hparams in members.recorded):
        check_used(members, tried)
    elif idle and members.task.reads_are_seen:
        warnings.warn(
            f"{members.task.title}: training on the first batches gives the same model for all hyperparameters."
            " Does training call backward() and the optimizer's step(), and does the optimizer have this model's parameters?",
            stacklevel=2,
        )


def _all_diverged(members: Members, before: int) -> None:
    """Warn that every member of a search space diverged: the study would have no answer."""
    warnings.warn(
        f"{members.task.title}: all {len(members.diverged) - before} members that were tried diverged in the first batches"
        f" ({members.diverged[before]}). A search in which every member diverges has no answer: look at the data, the"
        " loss, the metrics and the bounds of the search space",
        stacklevel=3,
    )


def _small_batches(
    space: SearchSpace, drawn: Sequence[HParams], members: Members, spec: StudySpec
) -> Iterable[HParams]:
    """Return configurations with the batch sizes that leave the smallest batches, if the batch size is searched."""
    having = [each for each in drawn if "batch_size" in each]
    if not having:
        return []

    def with_size(size: Value) -> HParams | None:
        sized = ({**each, "batch_size": size} for each in having)
        return next((each for each in map(space.restricted, sized) if space.is_feasible(each)), None)

    sizes = smallest_batches(
        space["batch_size"], spec.interval, members.sizes, lambda size: with_size(size) is not None
    )
    return [found for found in map(with_size, dict.fromkeys(sizes)) if found is not None]
