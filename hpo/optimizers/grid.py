"""Grid search: the members are points of a full factorial grid, each trained to completion.

Grid search is provided because it is widely known. Random search is the better default (Bergstra and Bengio, "Random search
for hyper-parameter optimization", JMLR 13, 2012, figure 1): a grid with p points per hyperparameter tries only p values of the
few that matter, however many members it has.
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
from hpo.core.parameters import initial_range
from hpo.core.registry import register_optimizer
from hpo.core.segments import Value
from hpo.core.space import Categorical, Int, Parameter, SearchSpace
from hpo.optimizers.incumbent import Select
from hpo.optimizers.population import root
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun

MOST = 1_000_000
"""The largest number of points in a grid."""

Count = Annotated[int, Ge(1), Le(MOST)]
Axes = list[list[float]]
"""The grid's coordinates on each axis of the unit cube of initial values, in the order of the search space."""


@register_optimizer("grid")
@dataclass(frozen=True)
class Grid(OptimizerOptions):
    """Train every feasible point of a grid, or a random subset if the grid is larger than the population.

    Points are evenly spaced between the bounds (inclusive), or over the initial range, on the hyperparameter's own scale; a
    single point lies in the middle. An integer or stepped hyperparameter has no more points than values, and a categorical one
    has all its choices.
    A grid of exactly `population_size` points is tried in order, with the last hyperparameter of the space varying fastest.
    A larger grid is shuffled with the arm's random stream and cut to the population size. A smaller one is an error: it would
    leave budget unspent that the other arms use. Member i starts from slot i's initial weights.

    Args:
        points: the number of points per axis: one number for all non-categorical hyperparameters, or one for each of them by
            name. None: the smallest number that makes the grid at least as large as the population.
        select: the answer: "final", the best member at the full budget; or "any", the best segment of any interval.
    """

    points: Count | dict[str, Count] | None = None
    select: Select = "final"

    def start(self, problem: Problem) -> RandomSearchRun:
        """Start a search.

        Raises:
            OptionError: `points` does not name exactly the non-categorical hyperparameters, or the grid has fewer points than
                the population or more than a million.
        """
        members = grid_members(problem, self.points)
        segments = (root(slot, problem.space.cast(hparams)) for slot, hparams in enumerate(members))
        return RandomSearchRun(RandomSearch(self.select), problem, segments)


def grid_members(problem: Problem, points: int | dict[str, int] | None) -> list[dict[str, Value]]:
    """Return the members' hyperparameters, in slot order.

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
            f"numbers that make a grid of at least population_size = {members} points, not {len(found)}, so that no budget"
            f" is left over (for example {_enough(space, members)} for each non-categorical hyperparameter)",
        )
    return found


def _counts(space: SearchSpace, points: int | dict[str, int]) -> dict[str, int]:
    """Return the number of points for each non-categorical hyperparameter, by name."""
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
    """Return `count` coordinates on one axis, or one per value if the parameter has fewer values."""
    if isinstance(parameter, Categorical):
        return [parameter.to_unit(choice) for choice in parameter.choices]
    narrow = initial_range(parameter)
    if narrow is None:
        return [0.5]
    parameter = narrow
    if isinstance(parameter, Int) and parameter.log and count > parameter.high - parameter.low:
        return [parameter.to_unit(value) for value in range(parameter.low, parameter.high + 1)]
    low, high = (parameter.to_unit(parameter.bounded(bound, "clip")) for bound in (parameter.low, parameter.high))
    places = [(low + high) / 2] if count == 1 else [float(place) for place in np.linspace(low, high, count)]
    return list({parameter.from_unit(place): place for place in reversed(places)}.values())[::-1]


def _size(axes: Axes) -> int:
    return math.prod(len(axis) for axis in axes)


def _different(space: SearchSpace, axes: Axes, order: Iterable[int]) -> Iterator[dict[str, Value]]:
    """Yield the feasible grid points in the given order, skipping points that differ only in inactive hyperparameters."""
    seen = set()
    shape = [len(axis) for axis in axes]
    for number in order:
        places = zip(axes, np.unravel_index(number, shape), strict=True)
        hparams = space.initial_from_unit([axis[at] for axis, at in places])
        point = tuple(hparams.items())
        if point not in seen:
            seen.add(point)
            if space.is_feasible(hparams):
                yield hparams


def _enough(space: SearchSpace, members: int) -> int:
    """Return the smallest number of points per hyperparameter that makes a grid of at least `members` points.

    Raises:
        OptionError: the space has fewer points than that.
    """

    def size(count: int) -> int:
        return _size(_axes(space, _counts(space, count)))

    # Rounding to integers on a log scale merges fewer than ten points into one.
    most = min(10 * members, MOST)
    count = bisect_left(range(1, most + 1), members, key=size) + 1
    while count <= most and (points := size(count)) <= MOST:
        axes = _axes(space, _counts(space, count))
        if sum(1 for _ in islice(_different(space, axes, range(points)), members)) == members:
            return count
        count += 1
    raise OptionError(
        "population_size", members, "at most the number of points in the largest grid of the search space"
    )
