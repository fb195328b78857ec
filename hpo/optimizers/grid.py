"""Grid search: the members are points of a full factorial grid, each trained to completion.

It is here because people ask for it. Bergstra and Bengio, "Random search for hyper-parameter optimization", JMLR 13, 2012,
figure 1, show why random search is the better default: with p points per hyperparameter, the few that matter get p different
values, however many members there are.
"""

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Annotated

import numpy as np
from annotated_types import Ge, Le

from hpo.core.errors import OptionError
from hpo.core.optimizer import OptimizerOptions, Problem
from hpo.core.registry import register_optimizer
from hpo.core.segments import Value
from hpo.core.space import Categorical, Int, Parameter, SearchSpace
from hpo.optimizers.chains import Select, root
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun

MOST = 1_000_000
"""Points of a grid, at most."""

Count = Annotated[int, Ge(1), Le(MOST)]
Axes = list[list[float]]
"""The places of a grid on each axis of the unit cube, in the space's order."""


@register_optimizer("grid")
@dataclass(frozen=True)
class Grid(OptimizerOptions):
    """Train every point of a grid; of one that is larger than the population, a random part.

    Points lie evenly between the bounds, both included, on the hyperparameter's own scale (a single one in the middle); an
    integer or a stepped hyperparameter has at most its values, a categorical one all its choices. A grid of exactly
    `population_size` points is walked in order, the last hyperparameter of the space fastest; a larger one in an order
    drawn from the arm's stream, and cut at the population's size. A smaller one is refused: it would leave budget unspent
    that the other arms have. Member i starts from slot i's initial weights.

    Args:
        points: how many on each axis: one number for all that are not categorical, or one for each of them, by name. None:
            the least number for all that makes the grid no smaller than the population.
        select: which segment is the answer: "final", the best member at the full budget, or "any" interval's.
    """

    points: Count | dict[str, Count] | None = None
    select: Select = "final"

    def start(self, problem: Problem) -> RandomSearchRun:
        """Start a search.

        Raises:
            OptionError: `points` does not name each hyperparameter that is not categorical, and no others; or the grid is
                smaller than the population, or has more than a million points.
        """
        members = grid_members(problem, self.points)
        segments = (root(slot, problem.space.cast(hparams)) for slot, hparams in enumerate(members))
        return RandomSearchRun(RandomSearch(self.select), problem, segments)


def grid_members(problem: Problem, points: int | dict[str, int] | None) -> list[dict[str, Value]]:
    """Return the hyperparameters of the members, in the order of their slots.

    Raises:
        OptionError: as `Grid.start`.
    """
    space, members = problem.space, problem.population_size
    given = _enough(space, members) if points is None else points
    axes = _axes(space, _counts(space, given))
    if _size(axes) > MOST:
        raise OptionError("points", points, f"numbers that make a grid of at most {MOST:,} points, not {_size(axes):,}")
    order: Iterable[int] = range(_size(axes))
    if _size(axes) > members:
        order = problem.streams.generator("grid").permutation(_size(axes))
    found = list(islice(_different(space, axes, order), members))
    if len(found) < members:
        raise OptionError(
            "points",
            points,
            f"numbers that make a grid of at least population_size = {members} points, not {len(found)}: no budget may be"
            f" left over ({_enough(space, members)} for each hyperparameter that is not categorical would do)",
        )
    return found


def _counts(space: SearchSpace, points: int | dict[str, int]) -> dict[str, int]:
    """Return the number of points by name, of all that are not categorical."""
    names = [name for name, parameter in space.items() if not isinstance(parameter, Categorical)]
    counts = dict.fromkeys(names, points) if isinstance(points, int) else points
    if counts.keys() != set(names):
        raise OptionError("points", points, f"a number for each of: {', '.join(names)}; and no other name")
    if not all(1 <= count <= MOST for count in counts.values()):
        raise OptionError("points", points, f"numbers from 1 to {MOST:,}")
    return counts


def _axes(space: SearchSpace, counts: dict[str, int]) -> Axes:
    return [_axis(parameter, counts.get(name, 1)) for name, parameter in space.items()]


def _axis(parameter: Parameter, count: int) -> list[float]:
    """Return the places of so many values on one axis, or of all its values if they are fewer."""
    if isinstance(parameter, Categorical):
        return [parameter.to_unit(choice) for choice in parameter.choices]
    if isinstance(parameter, Int) and parameter.log and count > parameter.high - parameter.low:
        return [parameter.to_unit(value) for value in range(parameter.low, parameter.high + 1)]
    low, high = (parameter.to_unit(parameter.bounded(bound, "clip")) for bound in (parameter.low, parameter.high))
    places = [(low + high) / 2] if count == 1 else [float(place) for place in np.linspace(low, high, count)]
    return list({parameter.from_unit(place): place for place in reversed(places)}.values())[::-1]


def _size(axes: Axes) -> int:
    return math.prod(len(axis) for axis in axes)


def _different(space: SearchSpace, axes: Axes, order: Iterable[int]) -> Iterator[dict[str, Value]]:
    """Yield the points of a grid in an order of their numbers; those that differ only in what is not active, once."""
    seen = set()
    shape = [len(axis) for axis in axes]
    for number in order:
        hparams = space.from_unit([axis[at] for axis, at in zip(axes, np.unravel_index(number, shape), strict=True)])
        point = tuple(hparams.items())
        if point not in seen:
            seen.add(point)
            yield hparams


def _enough(space: SearchSpace, members: int) -> int:
    """Return the least number of points for every hyperparameter that makes a grid of so many members.

    Raises:
        OptionError: the space has not so many points.
    """

    def size(count: int) -> int:
        return _size(_axes(space, _counts(space, count)))

    # Ten points for each member are more than rounding to integers on a log scale can make equal.
    most = min(10 * members, MOST)
    count = bisect_left(range(1, most + 1), members, key=size) + 1
    while count <= most and (points := size(count)) <= MOST:
        axes = _axes(space, _counts(space, count))
        if sum(1 for _ in islice(_different(space, axes, range(points)), members)) == members:
            return count
        count += 1
    raise OptionError("population_size", members, "one that is no larger than a grid of the search space can be")
