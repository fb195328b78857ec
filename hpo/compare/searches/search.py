"""A search of another tool, as it is read: what it found, from how many trials."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpo.compare.data import Direction, Role


@dataclass(frozen=True)
class Search:
    """A study of Optuna, or an experiment of Ray Tune.

    Attributes:
        names: the folders or the database that hold it, and its own name.
        place: the same for messages.
        attributes: name -> text, by which `--column` finds roles.
        roles: what the search itself says, without `--column` and `--names`.
        metric: name of its metric; None if it has none.
        direction: whether a small or a large value is good.
        value: of its best trial.
        chosen_by: whether the best trial was chosen by this value.
        trials: how many finished, successful or not.
        reports: how many results its trials reported; None if trials report one each.
        unfinished: trials that run, or wait; they are left out.
    """

    names: tuple[str, ...]
    place: str
    attributes: Mapping[str, str]
    roles: Mapping[Role, str]
    metric: str | None
    direction: Direction
    value: float
    chosen_by: bool
    trials: int
    reports: int | None
    unfinished: int

    @property
    def name(self) -> str:
        """Its own name."""
        return self.names[-1]


def attributes_of(values: Mapping[str, object]) -> dict[str, str]:
    """Return the attributes that are one word or number, as text."""
    return {str(name): str(value) for name, value in values.items() if isinstance(value, str | int | float)}


def number(value: object) -> float | None:
    """Return a value as a finite number; None if it is not one."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def best(values: Iterable[float], direction: Direction) -> float | None:
    """Return the best of the values; None without any."""
    return (min if direction == "minimize" else max)(values, default=None)
