"""Explore, put together from parts: one perturbation after another, and another one for some of the hyperparameters.

The parts are perturbations as any other, and may be put together themselves.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from hpo.core.errors import OptionError
from hpo.core.optimizer import BoundsOf, ChecksSpace, Member, Perturbation
from hpo.core.registry import register_perturbation
from hpo.core.segments import HParams, Result, Value
from hpo.core.space import Bounds, SearchSpace
from hpo.optimizers.perturbation import Multiply, NoPerturbation, perturbable

_DEFAULT = Multiply()


def bounds_of(perturbation: Perturbation, name: str) -> Bounds | None:
    """Return what happens to a hyperparameter that passed a bound; None where the perturbation keeps it inside."""
    if isinstance(perturbation, NoPerturbation):
        return None
    bounds = perturbation.bounds
    return bounds(name) if callable(bounds) else bounds


def check(perturbation: Perturbation, space: SearchSpace) -> None:
    """Raise `OptionError` where a perturbation's options mean nothing in this space; most have nothing to say."""
    if isinstance(perturbation, ChecksSpace):
        perturbation.check(space)


@contextmanager
def option_of(key: str) -> Iterator[None]:
    """Name, in every `OptionError` of the block, the option that holds the plug-in which raised it."""
    try:
        yield
    except OptionError as error:
        raise OptionError(f"{key}.{error.option}", error.given, error.allowed) from error


@register_perturbation("chain")
@dataclass(frozen=True)
class Chain:
    """One perturbation after another, each seeing what the former made.

    Values are brought inside their bounds after the last step, not in between: a step may be given a value that passed one.

    Args:
        steps: in this order, at least one. All that can carry a hyperparameter past its bounds must agree on what happens
            then.
    """

    steps: tuple[Perturbation, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(self.steps))
        if not self.steps:
            raise OptionError("steps", [], "at least one perturbation")

    @property
    def bounds(self) -> BoundsOf:
        """As its steps say."""
        return self._bounds_of

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` where a step means nothing in this space, or two differ about one hyperparameter's bounds."""
        for index, step in enumerate(self.steps):
            with option_of(f"steps[{index}]"):
                check(step, space)
        for name in perturbable(space):
            if len(said := self._said(name)) > 1:
                raise OptionError("steps", sorted(said), f"steps that agree on the `bounds` of {name}")

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters as the last step left them."""
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
    """One perturbation for all hyperparameters, but for some another.

    Each perturbation sees the hyperparameters that are not its own as `fixed`. Those of several hyperparameters that are
    equal in all their options are one and draw together, so that with a single kind this is that perturbation itself.

    Args:
        default: for all hyperparameters that `parameters` does not name.
        parameters: perturbations by hyperparameter; `none` leaves one as it was inherited.
    """

    default: Perturbation = _DEFAULT
    parameters: Mapping[str, Perturbation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", dict(self.parameters))

    @property
    def bounds(self) -> BoundsOf:
        """As the perturbation of each hyperparameter says."""
        return self._bounds_of

    def check(self, space: SearchSpace) -> None:
        """Raise `OptionError` for a name that is no hyperparameter, or one that never changes, and for what parts say."""
        names = perturbable(space)
        for name, part in self.parameters.items():
            if name not in names:
                allowed = f"the name of a hyperparameter that may change: {', '.join(names) or 'there is none'}"
                raise OptionError(f"parameters.{name}", type(part).__name__, allowed)
        for part, own in self._parts(space):
            key = "default" if part == self.default else f"parameters.{own[0]}"
            with option_of(key):
                check(part, _only(space, own))

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, each as its own perturbation changed it."""
        inherited = {member.slot: member.hparams for member in copied}
        changed: dict[int, dict[str, Value]] = {}
        for part, own in self._parts(space):
            for slot, hparams in part(copied, _only(space, own), history, rng).items():
                new = changed.setdefault(slot, dict(inherited.get(slot, {})))
                # What the space does not know goes on to PBT, which refuses it.
                new |= {name: value for name, value in hparams.items() if name in own or name not in space}
        return changed

    def _parts(self, space: SearchSpace) -> list[tuple[Perturbation, list[str]]]:
        """Return each perturbation with its hyperparameters, in the order of the first of them."""
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
    return SearchSpace(
        {name: parameter if name in names else replace(parameter, fixed=True) for name, parameter in space.items()}
    )
