"""Explore, the second of PBT's two steps: how hyperparameters change.

Jaderberg et al., "Population based training of neural networks", arXiv:1711.09846, 2017, section 3 (`explore`) and section
4.1.1 (perturb). A perturbation is a pure function of the members and a random stream; it draws for members in the order of
their slots and for hyperparameters in the order of their names. What it returns may pass a bound: PBT brings it inside, as
`bounds` says, and counts.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

import numpy as np
from annotated_types import Ge, Gt, Le

from hpo.core.errors import OptionError
from hpo.core.optimizer import BoundsOf, Member
from hpo.core.parameters import at_place, place_of
from hpo.core.registry import register_perturbation
from hpo.core.segments import HParams, Result, Value
from hpo.core.space import Bounds, Categorical, Float, Int, SearchSpace

D = TypeVar("D")


def perturbable(space: SearchSpace) -> list[str]:
    """Return the names that may change in flight, sorted: all but the held ones, whether they are active or not."""
    return sorted(set(space) - space.held)


def _each_moved(
    copied: Sequence[Member],
    space: SearchSpace,
    names: Sequence[str],
    drawn: Sequence[Sequence[D]],
    moved: Callable[[Float | Int | Categorical, Value, D], Value],
) -> dict[int, HParams]:
    """Return the members' hyperparameters, each of these that is active moved by what was drawn for it.

    Args:
        copied: the members.
        space: the search space.
        names: what may change.
        drawn: for each member and name.
        moved: gives the new value of a parameter from the old one and the draw.
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
    """Say, as the `bounds` of a perturbation, that it keeps inside the bounds."""
    return None


@register_perturbation("multiply")
@dataclass(frozen=True)
class Multiply:
    """Multiply each hyperparameter by a factor drawn for it: Jaderberg et al. 2017, section 4.1.1, with 1.2 or 0.8.

    The factor acts on the natural value on every scale (lr * 1.2, not log lr * 1.2). An integer moves by at least one; an
    ordered categorical moves to a neighbour; an unordered one stays.

    Args:
        factors: what is drawn from, uniformly, once per member and hyperparameter.
        bounds: what happens to a value that passes a bound.
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
        """Return the members' hyperparameters, each times one of the factors."""
        names = perturbable(space)
        drawn = rng.integers(len(self.factors), size=(len(copied), len(names))).tolist()
        return _each_moved(
            copied, space, names, drawn, lambda parameter, value, index: parameter.scaled(value, self.factors[index])
        )


@register_perturbation("resample")
@dataclass(frozen=True)
class Resample:
    """Draw each hyperparameter anew from the prior, with some probability: Jaderberg et al. 2017, section 3 (`explore`).

    The prior lies inside the bounds, so nothing ever passes one.

    Args:
        probability: for each member and hyperparameter on its own (Ray Tune's `resample_probability`).
    """

    probability: Annotated[float, Ge(0), Le(1)] = 0.25

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise OptionError("probability", self.probability, "a number of at least 0 and at most 1")

    @property
    def bounds(self) -> BoundsOf:
        """Nothing passes a bound."""
        return never_passes

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, some of them drawn anew."""
        names = perturbable(space)
        drawn = rng.random(size=(len(copied), len(names), 2)).tolist()
        return _each_moved(copied, space, names, drawn, self._moved)

    def _moved(self, parameter: Float | Int | Categorical, value: Value, draw: Sequence[float]) -> Value:
        chance, unit = draw
        return parameter.from_unit(unit) if chance < self.probability else value


@register_perturbation("gaussian")
@dataclass(frozen=True)
class Gaussian:
    """Add normal noise in the unit cube: `explore` as additive noise, where Jaderberg et al. 2017, section 3, leave it open.

    The unit cube is the search space with each hyperparameter mapped to [0, 1] on its own scale, so that one `sigma` fits
    all: 0.1 is a tenth of a linear range, or of the decades of a logarithmic one. Numbers may pass their bounds; an ordered
    categorical stops at its ends; an unordered one stays.

    Args:
        sigma: the standard deviation, in the unit cube.
        bounds: what happens to a value that passes a bound.
    """

    sigma: Annotated[float, Gt(0)] = 0.1
    bounds: Bounds = "clip"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.sigma) and self.sigma > 0):
            raise OptionError("sigma", self.sigma, "a finite number above 0")

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return the members' hyperparameters, each moved by its own noise."""
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
    """Move to the value above or below, with equal probability: `explore` for what comes in steps.

    Ordered categoricals, integers and floats with a `step` move; unordered categoricals and floats without a step stay.

    Args:
        bounds: at an end of the scale, on the side where there is no neighbour: "clip" stays, "reflect" takes the other
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
        # The other neighbour's mirror image, so that PBT, which counts it, clips or reflects it to where it should be.
        other = place_of(parameter, parameter.cast(value) - way * parameter.step)
        return at_place(parameter, (2.0 if way > 0 else 0.0) - other)


@register_perturbation("none")
@dataclass(frozen=True)
class NoPerturbation:
    """Change nothing: members go on with what they inherited (the paper's "exploit only").

    Args:
        bounds: has no effect; every perturbation has it.
    """

    bounds: Bounds = "clip"

    def __call__(
        self, copied: Sequence[Member], space: SearchSpace, history: Sequence[Result], rng: np.random.Generator
    ) -> Mapping[int, HParams]:
        """Return no change."""
        return {}


def natural(parameter: Float | Int, unit: float) -> float:
    """Return the natural value at a place on the unit axis, on past the bounds, linear or logarithmic as the scale is.

    `Float.from_unit` stops at the bounds; this does not, so that PBT sees, bounds and counts what passed one. The result is
    finite, and not rounded.
    """
    start, stop = parameter.to_unit(parameter.low), parameter.to_unit(parameter.high)
    return at_place(parameter, (unit - start) / (stop - start))
