"""Checks that every hyperparameter is read, and makes a difference."""

import itertools
import warnings
from collections.abc import Iterable, Sequence

from hpo.core.errors import InputError, did_you_mean
from hpo.core.seeding import Streams
from hpo.core.segments import HParams
from hpo.core.space import SearchSpace
from hpo.execution.sanity.members import Members
from hpo.execution.sanity.saved_state import alike
from hpo.study.spec import StudySpec

FURTHER_CONFIGURATIONS = 8
"""Random configurations of a space that are tried before a hyperparameter counts as unread."""
_PAIRS = 3
"""Pairs of configurations that may show that a hyperparameter makes a difference."""


def check_read(members: Members, spaces: Sequence[SearchSpace], spec: StudySpec, all_choices: bool) -> None:
    """Check that every hyperparameter was read, except for controls of others, which always make a difference.

    A hyperparameter that was not read is a warning if the task may have read it unseen, or not all choices were tried.

    Raises:
        InputError: one was certainly not read.
    """
    controls = _controls(spaces)
    rng = Streams(spec.seeds[0]).generator("sanity/draws", shared=True)
    for _ in range(FURTHER_CONFIGURATIONS):
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
    more = f". It looks for: {', '.join(looked_up)}" if looked_up else ""
    text = (
        f"{members.task.title}: {'; '.join(lines)}{more}. Its values would make no difference: rename it, read it or"
        " remove it"
    )
    if members.task.reads_are_seen and members.saw_all and all_choices:
        raise InputError(text)
    warnings.warn(text, stacklevel=2)


def check_used(members: Members, tried: Iterable[tuple[SearchSpace, Sequence[HParams]]]) -> None:
    """Warn of hyperparameters whose values change no result."""
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
            f"{members.task.title}: {', '.join(idle)} made no difference in the first batches. If training should use it from the"
            " start, check its name, and that nothing overwrites its value",
            stacklevel=2,
        )


def _pairs(space: SearchSpace, drawn: Sequence[HParams], name: str) -> list[tuple[HParams, HParams]]:
    """Return pairs of configurations that differ in one hyperparameter, and in those that depend on it."""
    having = [each for each in drawn if name in each]
    pairs: list[tuple[HParams, HParams]] = [
        (one, space.restricted({**one, name: other[name]}))
        for one, other in itertools.pairwise(having)
        if one[name] != other[name]
    ]
    return [pair for pair in pairs if space.is_feasible(pair[1])][:_PAIRS]


def _differ(members: Members, one: HParams, other: HParams) -> bool:
    first, second = members.first(one), members.first(other)
    return first is None or second is None or not alike(first, second, members.task.describing)


def _controls(spaces: Iterable[SearchSpace]) -> set[str]:
    return {control for space in spaces for parameter in space.values() for control in parameter.when or ()}


def _unread(members: Members) -> set[str]:
    """Return the hyperparameters of fully trained members that no member read."""
    return {name for hparams in members.finished for name in hparams} - _read(members)


def _read(members: Members) -> set[str]:
    return {name for hparams in members.recorded for name in hparams.read}
