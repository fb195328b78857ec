"""Explore, the second of PBT's two steps: how hyperparameters change.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 3 (`explore`) and section
4.1.1 (perturb). A perturbation is a pure function of the members and a random stream. It draws for members in slot order and
for hyperparameters in alphabetical order. It may return values outside the bounds: PBT moves them inside as `bounds` says (by
`hpo.core.parameters`), and counts them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError
from hpo.core.optimizer import BoundsOf, Member, Perturbation
from hpo.core.parameters import at_place, place_of
from hpo.core.registry import register_perturbation
from hpo.core.segments import HParams, Result, Value
from hpo.core.space import Bounds, Categorical, Float, Int, SearchSpace

D = TypeVar("D")


def perturbable(space: SearchSpace) -> list[str]:
    """Return the sorted names of the hyperparameters that may change during training, active or not."""
    return sorted(set(space) - space.held)


def _each_moved(
    copied: Sequence[Member],
    space: SearchSpace,
    names: Sequence[str],
    drawn: Sequence[Sequence[D]],
    moved: Callable[[Float | Int | Categorical, Value, D], Value],
) -> dict[int, HParams]:
    """Return the members' hyperparameters, with each active one of `names` moved by its draw.

    Args:
        copied: the members.
        space: the search space.
        names: the hyperparameters to move.
        drawn: one draw for each member and name, shape (members, names).
        moved: returns a parameter's new value, given the parameter, its old value and the draw.
    """
    return {
        member.slot: dict(member.hparams)
        | {
            name: moved(space[name], member.hparams[name], draw)
            for name, draw in zip(names, draws, strict=True)
            if name in member.hparams
        }
        for member, draws in zip(copied, drawn, strict=True)
    }


def never_passes(name: str) -> Bounds | None:
    """Return None: the `bounds` of a perturbation whose values are never outside the bounds."""
    return None


@register_perturbation("multiply")
@dataclass(frozen=True)
class Multiply:
    """Multiply each hyperparameter by a random factor: Jaderberg et al. 2017, section 4.1.1, with 1.2 or 0.8.

    The factor multiplies the natural value on every scale (lr * 1.2, not log lr * 1.2). An integer moves by at least one, an
    ordered categorical moves to a neighbour, and an unordered one stays.

    Args:
        factors: the factors; one is drawn uniformly for each member and hyperparameter.
        bounds: whether a value outside the bounds is clipped or reflected.
    """

    factors: tuple[Annotated[float, Gt(0)], ...] = (1.2, 0.8)
    bounds: Bounds = "clip"

    def __post_init__(self) -> None:
        object.__setattr__(self, "factors", tuple(float(factor) for factor in self.factors))
        if not self.factors or not all(math.isfinite(factor) and factor > 0 for factor in self.factors):
            raise OptionError("factors", list(self.factors), "at least one factor, all above 0 and finite")

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, each multiplied by a random factor."""
        names = perturbable(space)
        drawn = rng.integers(len(self.factors), size=(len(copied), len(names))).tolist()
        return _each_moved(
            copied, space, names, drawn, lambda parameter, value, index: parameter.scaled(value, self.factors[index])
        )


@register_perturbation("resample")
@dataclass(frozen=True)
class Resample:
    """Redraw each hyperparameter from the prior with some probability: Jaderberg et al. 2017, section 3 (`explore`).

    An initial range is not used: values are redrawn between the bounds, and never outside them.

    Args:
        probability: the probability, independent for each member and hyperparameter (Ray Tune's `resample_probability`).
    """

    probability: Annotated[float, Ge(0), Le(1)] = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise OptionError("probability", self.probability, "a number of at least 0 and at most 1")

    @property
    def bounds(self) -> BoundsOf:
        """Values are never outside the bounds."""
        return never_passes

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, some of them redrawn."""
        names = perturbable(space)
        drawn = rng.random(size=(len(copied), len(names), 2)).tolist()
        return _each_moved(copied, space, names, drawn, self._moved)

    def _moved(self, parameter: Float | Int | Categorical, value: Value, draw: Sequence[float]) -> Value:
        chance, unit = draw
        return parameter.from_unit(unit) if chance < self.probability else value


@register_perturbation("gaussian")
@dataclass(frozen=True)
class Gaussian:
    """Add normal noise in the unit cube: `explore` as additive noise, a choice that Jaderberg et al. 2017, section 3, leave open.

    The unit cube is the search space with each hyperparameter mapped to [0, 1] on its own scale, so one `sigma` suits all of
    them: 0.1 is a tenth of a linear range, or of the decades of a logarithmic one. Numbers may leave their bounds, an ordered
    categorical stops at its first or last choice, and an unordered one stays.

    Args:
        sigma: the standard deviation in the unit cube.
        bounds: whether a value outside the bounds is clipped or reflected.
    """

    sigma: Annotated[float, Gt(0)] = 0.1
    bounds: Bounds = "clip"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise OptionError("sigma", self.sigma, "a finite number above 0")

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, each with its own noise added."""
        names = perturbable(space)
        noise = (self.sigma * rng.standard_normal(size=(len(copied), len(names)))).tolist()
        return _each_moved(copied, space, names, noise, self._moved)

    def _moved(self, parameter: Float | Int | Categorical, value: Value, shift: float) -> Value:
        if isinstance(parameter, Categorical):
            return parameter.from_unit(parameter.to_unit(value) + shift) if parameter.ordered else value
        moved = natural(parameter, parameter.to_unit(value) + shift)
        return round(moved) if isinstance(parameter, Int) else moved


@register_perturbation("neighbour")
@dataclass(frozen=True)
class Neighbour:
    """Move to the next value above or below, with equal probability: `explore` for discrete hyperparameters.

    Ordered categoricals, integers and floats with a `step` move; unordered categoricals and floats without a step stay.

    Args:
        bounds: what to do at the end of the scale, where one neighbour is missing: "clip" stays, "reflect" takes the other
            neighbour.
    """

    bounds: Bounds = "clip"

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, each one step up or down."""
        names = perturbable(space)
        drawn = (2 * rng.integers(2, size=(len(copied), len(names))) - 1).tolist()
        return _each_moved(copied, space, names, drawn, self._moved)

    def _moved(self, parameter: Float | Int | Categorical, value: Value, way: int) -> Value:
        if isinstance(parameter, Categorical):
            last = len(parameter.choices) - 1
            index = round(parameter.to_unit(value) * len(parameter.choices) - 0.5)
            moved = index + way if parameter.ordered else index
            if not 0 <= moved <= last:
                moved = index if self.bounds == "clip" else index - way
            return parameter.choices[moved]
        if parameter.step is None:
            return value
        stepped = parameter.cast(value) + way * parameter.step
        if not parameter.passes(stepped):
            return stepped
        # Return the mirror image of the other neighbour: PBT then clips or reflects it to the right value, and counts it.
        other = place_of(parameter, parameter.cast(value) - way * parameter.step)
        return at_place(parameter, (2.0 if way > 0 else 0.0) - other)


@register_perturbation("none")
@dataclass(frozen=True)
class NoPerturbation:
    """Change nothing: members continue with the inherited hyperparameters (the paper's "exploit only").

    Args:
        bounds: no effect.
    """

    bounds: Bounds = "clip"

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return no change."""
        return {}


def natural(parameter: Float | Int, unit: float) -> float:
    """Return the natural value at a coordinate on the unit axis, extrapolating the scale beyond the bounds.

    `Float.from_unit` clips to the bounds. This function does not, so that PBT can bound the value and count it. The result is
    finite and not rounded.
    """
    start, stop = parameter.to_unit(parameter.low), parameter.to_unit(parameter.high)
    return at_place(parameter, (unit - start) / (stop - start))


def changed_by(perturbation: Perturbation, space: SearchSpace) -> set[str]:
    """Return the hyperparameters that a perturbation changes in a few trial calls, or all that may change if a call fails.

    Args:
        perturbation: the perturbation to call, with sampled members that have no history.
        space: the search space.
    """
    rng = np.random.default_rng(0)
    changed: set[str] = set()
    for _ in range(8):
        members = [Member(slot, str(slot), space.sample(rng), 0.0, False) for slot in range(8)]
        try:
            for slot, hparams in perturbation(members, space, [], rng).items():
                before = members[slot].hparams
                changed |= {name for name, value in hparams.items() if name not in before or value != before[name]}
        except Exception:  # a user's perturbation may need a history
            return set(perturbable(space))
    return changed & set(perturbable(space))
