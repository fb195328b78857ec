"""Checks that a member can copy another one's state and go on with its own hyperparameters."""

from collections.abc import Collection, Sequence

from hpo.core.errors import InputError
from hpo.core.segments import HParams, Split, Value
from hpo.core.space import SearchSpace
from hpo.core.task import Diverged, NotInForce
from hpo.execution.sanity.members import Members, Trained


def check_copy(
    members: Members, space: SearchSpace, donor: Trained, drawn: Sequence[HParams], changing: Collection[str]
) -> None:
    """Check that a member can train from another one's state with its own values of the hyperparameters that may change.

    Args:
        members: trains it.
        space: the search space.
        donor: the other member.
        drawn: configurations to take the member's own values from.
        changing: the hyperparameters that change when members copy each other.

    Raises:
        InputError: it cannot; with the hyperparameter that must be fixed.
    """
    donors = donor.hparams.given
    own = {name: value for each in drawn for name, value in each.items() if value != donors.get(name)}
    changed = {name: own[name] for name in donors if name in changing and name in own}
    if not changed:
        return

    def failure(values: dict[str, Value]) -> InputError | None:
        recorded = members.recording(space.made_feasible(values, donors))
        try:
            state = members.restored(donor.saved, recorded)
            members.train_segment(state, donor.saved, recorded, Split.SEARCH, members.second)
        except Diverged:
            return None
        except InputError as error:
            return error
        return None

    error = failure({**donors, **changed})
    if error is None:
        return
    if isinstance(error, NotInForce):
        raise error
    guilty = [name for name, value in changed.items() if failure({**donors, name: value}) is not None]
    guilty = guilty or list(changed)
    names = " and ".join(guilty)
    raise InputError(
        f"training from another member's state with its own {names} fails. What shapes the state must be fixed: write"
        f" fixed = true in [task.search_space.{guilty[0]}], or fixed=True in the task's search_space. {error}"
    ) from error
