"""Perturbations composed of others: several in a row, or different ones for different hyperparameters.

Composed perturbations can be nested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from hpo.core.errors import OptionError, nested_option
from hpo.core.optimizer import BoundsOf, ChecksSpace, Member, Perturbation
from hpo.core.registry import register_perturbation
from hpo.core.segments import HParams, Result, Value
from hpo.core.space import Bounds, SearchSpace
from hpo.optimizers.perturbation import Multiply, NoPerturbation, perturbable

_DEFAULT = Multiply()


def bounds_of(perturbation: Perturbation, name: str) -> Bounds | None:
    """Return what happens to a hyperparameter outside its bounds, or None if the perturbation keeps it inside."""
    if isinstance(perturbation, NoPerturbation):
        return None
    bounds = perturbation.bounds
    return bounds(name) if callable(bounds) else bounds


def check(perturbation: Perturbation, space: SearchSpace) -> None:
    """Raise `OptionError` if a perturbation's options do not suit this space. Most perturbations suit every space."""
    if isinstance(perturbation, ChecksSpace):
        perturbation.check(space)


@register_perturbation("chain")
@dataclass(frozen=True)
class Chain:
    """Apply perturbations in a row, each to the result of the one before.

    Values are moved inside their bounds only after the last step, so a step may see a value outside them.

    Args:
        steps: at least one perturbation. Those that can move a hyperparameter outside its bounds must agree on `bounds`.
    """

    steps: tuple[Perturbation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        if not self.steps:
            raise OptionError("steps", [], "at least one perturbation")

    @property
    def bounds(self) -> BoundsOf:
        """What the steps say, by hyperparameter."""
        return self._bounds_of

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` if a step does not suit this space, or two steps differ on a hyperparameter's bounds."""
        for index, step in enumerate(self.steps):
            with nested_option(f"steps[{index}]"):
                check(step, space)
        for name in perturbable(space):
            if len(said := self._said(name)) > 1:
                raise OptionError("steps", sorted(said), f"steps that agree on the `bounds` of {name}")

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters after the last step."""
        changed: dict[int, HParams] = {}
        for step in self.steps:
            changed |= step(copied, space, history, rng)
            copied = [replace(member, hparams=changed.get(member.slot, member.hparams)) for member in copied]
        return changed

    def _said(self, name: str) -> set[Bounds]:
        return {bounds for step in self.steps if (bounds := bounds_of(step, name)) is not None}

    def _bounds_of(self, name: str) -> Bounds | None:
        return min(self._said(name), default=None)


@register_perturbation("per_parameter")
@dataclass(frozen=True)
class PerParameter:
    """Apply one perturbation by default, and other perturbations to some hyperparameters.

    Each perturbation sees all other hyperparameters as `fixed`. Equal perturbations of several hyperparameters are applied once,
    to all of them together, so that with equal perturbations everywhere the result is that perturbation's own.

    Args:
        default: the perturbation of every hyperparameter that `parameters` does not name.
        parameters: perturbations by hyperparameter; `none` keeps the inherited value.
    """

    default: Perturbation = _DEFAULT
    parameters: Mapping[str, Perturbation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", dict(self.parameters))

    @property
    def bounds(self) -> BoundsOf:
        """What each hyperparameter's perturbation says."""
        return self._bounds_of

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` if a name is not that of a hyperparameter that may change, or a part does not suit the space."""
        names = perturbable(space)
        for name, part in self.parameters.items():
            if name not in names:
                allowed = (
                    f"the name of a hyperparameter that may change: {', '.join(names) or '(the space has no such one)'}"
                )
                raise OptionError(f"parameters.{name}", type(part).__name__, allowed)
        for part, own in self._parts(space):
            key = "default" if part == self.default else f"parameters.{own[0]}"
            with nested_option(key):
                check(part, _only(space, own))

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, each changed by its own perturbation."""
        inherited = {member.slot: member.hparams for member in copied}
        changed: dict[int, dict[str, Value]] = {}
        for part, own in self._parts(space):
            for slot, hparams in part(copied, _only(space, own), history, rng).items():
                new = changed.setdefault(slot, dict(inherited.get(slot, {})))
                # Names that are not in the space are passed on: PBT raises an error that names them.
                new |= {name: value for name, value in hparams.items() if name in own or name not in space}
        return changed

    def _parts(self, space: SearchSpace) -> list[tuple[Perturbation, list[str]]]:
        """Return each perturbation with its hyperparameters, ordered by the first of them."""
        parts: list[tuple[Perturbation, list[str]]] = []
        for name in perturbable(space):
            part = self.parameters.get(name, self.default)
            own = next((names for known, names in parts if known == part), None)
            if own is None:
                parts.append((part, [name]))
            else:
                own.append(name)
        return parts

    def _bounds_of(self, name: str) -> Bounds | None:
        return bounds_of(self.parameters.get(name, self.default), name)


def _only(space: SearchSpace, names: Sequence[str]) -> SearchSpace:
    """Return the space with all other hyperparameters fixed."""
    changed = {name: each if name in names else replace(each, fixed=True) for name, each in space.items()}
    return replace(space, parameters=changed)
