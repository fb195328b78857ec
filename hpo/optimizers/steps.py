"""Exploit and explore, the two steps of population based training, with the checks that hold for every optimizer of the family.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 3.
"""

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Literal

from numpy.random import Generator

from hpo.core.errors import OptimizerError, OptionError
from hpo.core.optimizer import Explore, Member, Perturbation, Selection
from hpo.core.segments import HParams, Key, Result, Value
from hpo.core.space import Categorical, SearchSpace
from hpo.optimizers.composition import bounds_of

Inherit = Literal["weights_and_hyperparameters", "weights"]


class TwoSteps:
    """A selection and a perturbation, applied to members of a population.

    Args:
        selection: chooses which members copy which.
        perturbation: changes hyperparameters.
        space: the search space.
        inherit: what a member copies; see `hpo.optimizers.pbt.PBT`.
    """

    def __init__(
        self,
        selection: Selection,
        perturbation: Perturbation,
        space: SearchSpace,
        inherit: Inherit = "weights_and_hyperparameters",
    ) -> None:
        self._selection = selection
        self._perturbation = perturbation
        self._space = space
        self._inherit = inherit
        self.boundary_hits = 0
        """How many values were outside their bounds so far."""

    def exploit(
        self, population: Sequence[Member], moving: AbstractSet[int], results: Mapping[Key, Result], rng: Generator
    ) -> dict[int, Member]:
        """Return, by slot, the members that copy, after the copy: at the donor's segment, with the inherited hyperparameters.

        Those that explore although they copy nothing are returned as they are.

        Args:
            population: all evaluated members.
            moving: the slots that are about to continue.
            results: all results so far, by key.
            rng: the selection's random stream.

        Raises:
            OptimizerError: the selection returned an unknown slot or key, or a diverged donor.
        """
        members = {member.slot: member for member in population}
        past = {member.slot: member.history[-1].segment.interval + 1 for member in population}
        copied = {}
        for slot, key in self._selection(population, rng).items():
            donor = results.get(key)
            # A donor of another population has no entry in `past`.
            if slot not in members or donor is None or donor.segment.interval >= past.get(donor.segment.member, 0):
                raise _broken(
                    "selection",
                    self._selection,
                    f"slot {slot!r} would copy {key!r}: no such slot, or no such segment by this interval",
                )
            member = members[slot]
            if slot not in moving:
                continue
            if key != member.key:
                copied[slot] = self.copied(member, donor)
            elif isinstance(key, Explore):
                copied[slot] = member
        return copied

    def copied(self, member: Member, donor: Result) -> Member:
        """Return a member after it has copied a result: at that segment, with the inherited hyperparameters.

        Raises:
            OptimizerError: the donor has diverged.
        """
        if donor.diverged:
            what = f"slot {member.slot} would copy slot {donor.segment.member}, which has diverged"
            raise _broken("selection", self._selection, what)
        hparams = self._inherited(member.hparams, donor.segment.hparams)
        return Member(member.slot, donor.key, hparams, donor.score, donor.diverged, member.history)

    def explore(self, changing: Sequence[Member], history: Sequence[Result], rng: Generator) -> dict[int, HParams]:
        """Return new hyperparameters by slot, inside their bounds, and count those that were outside.

        Args:
            changing: the members to change, in slot order, with their inherited hyperparameters.
            history: all results so far, oldest first.
            rng: the perturbation's random stream.

        Raises:
            OptimizerError: the perturbation returned a slot that it was not given, names that differ from the member's, or a
                value that no bound can correct.
        """
        if not changing:
            return {}
        return self.bounded(changing, self._perturbation(changing, self._space, history, rng))

    def bounded(self, changing: Sequence[Member], returned: Mapping[int, HParams]) -> dict[int, HParams]:
        """Return what a perturbation returned, with held hyperparameters as they were and the others inside their bounds.

        Raises:
            OptimizerError: as for `explore`.
        """
        space = self._space
        before = {member.slot: member.hparams for member in changing}
        explored: dict[int, HParams] = {}
        for slot, new in returned.items():
            if slot not in before:
                raise _broken("perturbation", self._perturbation, f"slot {slot!r} was not to be changed")
            held = {name: value for name, value in before[slot].items() if name in space.held}
            raw = {**new, **held}
            wrong = _invalid(space, before[slot], raw)
            if wrong is not None:
                raise _broken("perturbation", self._perturbation, f"slot {slot}: {wrong}")
            inside, hits = _inside(space, raw, self._perturbation)
            explored[slot] = space.cast(inside)
            self.boundary_hits += hits
        return explored

    def _inherited(self, own: HParams, donors: HParams) -> HParams:
        return donors if self._inherit == "weights_and_hyperparameters" else self._space.inherited(own, donors)


def _broken(kind: Literal["selection", "perturbation"], part: object, what: str) -> OptimizerError:
    return OptimizerError(f"{kind} {type(part).__name__}: {what}")


def _inside(space: SearchSpace, raw: HParams, perturbation: Perturbation) -> tuple[dict[str, Value], int]:
    """Return hyperparameters clipped or reflected into their bounds, and how many were outside."""
    clipped, hits = space.bounded(raw, "clip")
    reflected, _ = space.bounded(raw, "reflect")
    reflects = {name for name in clipped if bounds_of(perturbation, name) == "reflect"}
    return {name: (reflected if name in reflects else clipped)[name] for name in clipped}, hits


def _invalid(space: SearchSpace, before: HParams, hparams: HParams) -> str | None:
    """Describe what is wrong with hyperparameters that clipping cannot correct; None if nothing is."""
    if hparams.keys() != before.keys():
        return f"hyperparameters {sorted(hparams)}, not {sorted(before)}"
    for name, value in hparams.items():
        parameter = space[name]
        if isinstance(parameter, Categorical):
            try:
                parameter.cast(value)
            except OptionError:
                return f"{name} = {value!r} is not one of {list(parameter.choices)!r}"
        elif not _is_finite_number(value):
            return f"{name} = {value!r} is not a finite number"
    return None


def _is_finite_number(value: Value) -> bool:
    try:
        return not isinstance(value, (str, bool)) and math.isfinite(value)
    except (TypeError, OverflowError):
        return False
