"""The configurations that a study is tried with: few, which together use every choice of its search space."""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction

import numpy as np

from hpo.core.parameters import Categorical, Int, conditions
from hpo.core.segments import HParams, Value
from hpo.core.space import SearchSpace
from hpo.core.splits import boundary

MOST = 24
"""The largest number of configurations of one search space."""
_PLACES = (0.5, 0.25, 0.75, 0.375, 0.625, 0.125, 0.875)
"""In the unit interval, away from the bounds, where training may well diverge."""
_DRAWS = 32
"""Draws from the prior, towards which infeasible configurations are moved."""


def covering_configurations(space: SearchSpace) -> tuple[list[dict[str, Value]], bool]:
    """Return feasible configurations that together activate every hyperparameter and make every choice of a categorical one.

    Without a rule, the first two differ in every hyperparameter that both have.

    Returns:
        The configurations, at most `MOST`, and whether they are complete.
    """
    choices = {name: _choices(space, name) for name in space}

    def base(number: int) -> dict[str, Value]:
        place = _PLACES[number % len(_PLACES)]
        return {
            name: found[number % len(found)] if (found := choices[name]) else space[name].from_unit(place)
            for name in space
        }

    rounds = max([2, *map(len, choices.values())])
    found = [space.restricted(base(number)) for number in range(min(rounds, MOST))]
    for name in space:
        if not any(name in each for each in found):
            found.append(_activated(space, name, base(0)))
        for choice in choices[name]:
            if not any(_chooses(each, name, choice) for each in found):
                found.append(_activated(space, name, base(0) | {name: choice}))
    if space.feasible is not None:
        found = _feasible(space, found, choices)
    complete = all(any(_chooses(each, name, choice) for each in found) for name in space for choice in choices[name])
    return found[:MOST], complete and len(found) <= MOST


def _feasible(
    space: SearchSpace, configurations: Sequence[HParams], choices: Mapping[str, Sequence[Value]]
) -> list[dict[str, Value]]:
    """Return feasible configurations near the given ones, with the same choices where the rule allows them."""
    rng = np.random.default_rng(0)
    drawn = [space.sample(rng) for _ in range(_DRAWS)]

    def made(given: HParams) -> dict[str, Value]:
        chosen = [name for name in given if choices[name]]
        anchor = max(drawn, key=lambda each: sum(_chooses(each, name, given[name]) for name in chosen))
        return dict(space.made_feasible(given, anchor))

    return [made(given) for given in configurations]


def _choices(space: SearchSpace, name: str) -> Sequence[Value]:
    """Return the values that must all be tried: the choices of a categorical, and the values of an Int that conditions name."""
    parameter = space[name]
    if isinstance(parameter, Categorical):
        return parameter.choices
    named = [value for other in space.values() for value in conditions(other.when).get(name, ())]
    if not isinstance(parameter, Int) or not named:
        return ()
    return list(dict.fromkeys([*map(parameter.cast, named), parameter.low, parameter.high]))


def _chooses(hparams: HParams, name: str, choice: Value) -> bool:
    return name in hparams and type(hparams[name]) is type(choice) and hparams[name] == choice


def _activated(space: SearchSpace, name: str, values: dict[str, Value]) -> dict[str, Value]:
    """Return a configuration in which a hyperparameter is active, with its controls set accordingly."""
    needed: dict[str, list[Value]] = {}
    waiting = [name]
    while waiting:
        for control, allowed in conditions(space[waiting.pop()].when).items():
            if control not in needed:
                needed[control] = []
                waiting.append(control)
            needed[control] += [space[control].cast(value) for value in allowed]
    for combination in itertools.product(*needed.values()):
        trial = values | dict(zip(needed, combination, strict=True))
        if space.is_active(name, trial):
            break
    else:
        trial = values
    return space.restricted(trial)


def smallest_batches(
    parameter: object, interval: Fraction, sizes: Iterable[int], allowed: Callable[[Value], bool] = lambda _: True
) -> Iterator[Value]:
    """Yield, for each split and length of interval, the batch size in the search space that leaves the smallest last batch.

    Args:
        parameter: the hyperparameter `batch_size`.
        interval: its length in epochs.
        sizes: training examples of each split.
        allowed: says whether a batch size is feasible.
    """
    if isinstance(parameter, Categorical):
        values: Sequence[Value] = parameter.choices
    elif isinstance(parameter, Int):
        values = range(parameter.low, min(parameter.high, parameter.low + 10_000 * parameter.step) + 1, parameter.step)
    else:
        return
    whole = [value for value in values if type(value) is int and value > 0 and allowed(value)]
    for examples in sizes:
        for length in {boundary(k + 1, interval, examples) - boundary(k, interval, examples) for k in range(100)}:
            if length and whole:
                yield min(whole, key=lambda value: (length - 1) % value)
