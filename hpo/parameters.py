"""What one hyperparameter may be: how it is drawn, moved, and kept inside its bounds.

The classes name their fields as Optuna's distributions do and convert to them. Types come from the space, never from a
value: a `Float` that is read as `0` is `0.0`, an `Int` stays an int through every operation.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from hpo.errors import OptionError
from hpo.segments import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Bounds = Literal["clip", "reflect"]
When = Mapping[str, Value | tuple[Value, ...]]
"""Conditions: names of other hyperparameters, and the value, or the values, with which this one is active."""


def _check_bounds(low: float, high: float, log: bool, step: float | None) -> None:
    for option, value in (("low", low), ("high", high)):
        try:
            finite = math.isfinite(value)
        except OverflowError:  # an integer that no float holds
            finite = False
        if not finite:
            raise OptionError(option, value, "a finite number")
    if low >= high:
        raise OptionError("low", low, f"a number below high = {high!r}")
    if log and low <= 0:
        raise OptionError("low", low, "a number above 0, because log = true")
    if step is not None and not 0 < step <= high - low:
        raise OptionError("step", step, f"a number above 0 and at most high - low = {high - low!r}")
    if step is not None and log:
        raise OptionError("step", step, "no step together with log = true")


def conditions(when: When | None) -> dict[str, tuple[Value, ...]]:
    """Return conditions with a tuple of values for each name.

    Raises:
        OptionError: a list is empty.
    """
    found = {}
    for name, values in (when or {}).items():
        found[name] = tuple(values) if isinstance(values, (list, tuple)) else (values,)
        if not found[name]:
            raise OptionError(f"when.{name}", [], "a value, or a list of at least one")
    return found


def _fold(u: float) -> float:
    """Reflect a number into [0, 1]: a ball between two walls."""
    u = math.fmod(abs(u), 2.0)
    return 2.0 - u if u > 1.0 else u


@dataclass(frozen=True)
class Float:
    """A real hyperparameter in [low, high].

    Args:
        low: smallest value.
        high: largest value.
        log: uniform in the logarithm; low must be positive.
        step: only low + k * step; not together with `log`.
        fixed: shapes the model at initialization: sampled and inherited, never perturbed in flight.
        when: active only with these values of other hyperparameters of the space; see `SearchSpace`.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    fixed: bool = False
    when: When | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", conditions(self.when) or None)
        object.__setattr__(self, "low", float(self.low))
        object.__setattr__(self, "high", float(self.high))
        _check_bounds(self.low, self.high, self.log, self.step)

    def cast(self, value: Value) -> float:
        """Return the value as this parameter's type."""
        return float(value)

    def contains(self, value: Value) -> bool:
        """Say whether the value lies inside the bounds and, to within rounding, on the grid; NaN and booleans never do."""
        if isinstance(value, (str, bool)) or not self.low <= value <= self.high:
            return False
        return self.step is None or abs(self._on_grid(value) - value) <= 1e-9 * self.step

    def passes(self, value: Value) -> bool:
        """Say whether the value lies beyond a bound."""
        return not self.low <= float(value) <= self.high

    def sample(self, rng: np.random.Generator) -> float:
        """Draw from the prior: uniform, or uniform in the logarithm."""
        return self.from_unit(float(rng.random()))

    def to_unit(self, value: Value) -> float:
        """Return the value's place in the unit interval; below 0 or above 1 for a value out of bounds."""
        low, high, at = self.low, self.high, float(value)
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(at, 5e-324))
        return (at - low) / (high - low)

    def from_unit(self, unit: float) -> float:
        """Return the value at a place in the unit interval; it lies inside the bounds."""
        unit = min(max(unit, 0.0), 1.0)
        if self.log:
            value = math.exp(math.log(self.low) + unit * (math.log(self.high) - math.log(self.low)))
        else:
            value = self.low + unit * (self.high - self.low)
        return self._on_grid(min(max(value, self.low), self.high))

    def scaled(self, value: Value, factor: float) -> float:
        """Return value * factor on the natural scale, which may pass a bound; it moves by at least one `step`, if any."""
        product = float(value) * factor
        if self.step is not None and factor != 1 and abs(product - float(value)) < self.step:
            product = float(value) + (self.step if (factor > 1) == (float(value) >= 0) else -self.step)
        return product

    def bounded(self, value: Value, how: Bounds) -> float:
        """Return the value inside the bounds: put on the bound it passed, or reflected from it (in log space if log)."""
        value = float(value)
        if self.low <= value <= self.high:
            return self._on_grid(value)
        if how == "reflect" and math.isfinite(value):
            return self.from_unit(_fold(self.to_unit(value)))
        return self.low if value < self.low else self._on_grid(self.high)

    def to_optuna(self) -> "BaseDistribution":
        """Return Optuna's distribution of the same name and bounds."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def _on_grid(self, value: float) -> float:
        if self.step is None:
            return value
        steps = round((value - self.low) / self.step)
        most = math.floor((self.high - self.low) / self.step * (1 + 1e-12))
        return min(self.low + min(steps, most) * self.step, self.high)  # 3 * 0.1 > 0.3


@dataclass(frozen=True)
class Int:
    """A whole-number hyperparameter in [low, high], both included.

    Args:
        low: smallest value.
        high: largest value.
        log: uniform in the logarithm; low must be positive.
        step: only low + k * step; must be 1 together with `log`.
        fixed: shapes the model at initialization: sampled and inherited, never perturbed in flight.
        when: active only with these values of other hyperparameters of the space; see `SearchSpace`.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    fixed: bool = False
    when: When | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", conditions(self.when) or None)
        _check_bounds(self.low, self.high, self.log, None if self.log and self.step == 1 else self.step)

    def cast(self, value: Value) -> int:
        """Return the value as this parameter's type."""
        return int(value)

    def contains(self, value: Value) -> bool:
        """Say whether the value is a whole number, and no boolean, inside the bounds and on the grid."""
        if isinstance(value, (str, bool)) or not self.low <= value <= self.high:
            return False
        return value == int(value) and (int(value) - self.low) % self.step == 0

    def passes(self, value: Value) -> bool:
        """Say whether the value lies beyond a bound."""
        return not self.low <= float(value) <= self.high

    def sample(self, rng: np.random.Generator) -> int:
        """Draw from the prior: each value equally likely, or uniform in the logarithm."""
        return self.from_unit(float(rng.random()))

    def to_unit(self, value: Value) -> float:
        """Return the middle of the value's cell in the unit interval."""
        low, high = self._edges()
        at = float(value)
        if self.log:
            at = math.log(max(at, 5e-324))
        return (at - low) / (high - low)

    def from_unit(self, unit: float) -> int:
        """Return the value whose cell of the unit interval holds `unit`."""
        low, high = self._edges()
        at = low + min(max(unit, 0.0), 1.0) * (high - low)
        return self._nearest(math.exp(at) if self.log else at)

    def scaled(self, value: Value, factor: float) -> int:
        """Return value * factor, rounded; unless the factor is 1 it moves by at least one step (0 moves up or down)."""
        value = int(value)
        if factor == 1:
            return value
        product = round(value * factor)
        if abs(product - value) < self.step:
            product = value + (self.step if (factor > 1) == (value >= 0) else -self.step)
        return product

    def bounded(self, value: Value, how: Bounds) -> int:
        """Return the value inside the bounds: put on the bound it passed, or reflected from it."""
        value = float(value)
        if how == "reflect" and not self.low <= value <= self.high:
            value = self.low + _fold((value - self.low) / (self.high - self.low)) * (self.high - self.low)
        return self._nearest(value)

    def to_optuna(self) -> "BaseDistribution":
        """Return Optuna's distribution of the same name and bounds."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def _edges(self) -> tuple[float, float]:
        half = self.step / 2
        if self.log:
            return math.log(self.low - half), math.log(self.high + half)
        return self.low - half, self._top() + half

    def _top(self) -> int:
        return self.low + (self.high - self.low) // self.step * self.step

    def _nearest(self, value: float) -> int:
        value = min(max(value, self.low), self._top())
        return min(self.low + round((value - self.low) / self.step) * self.step, self._top())


@dataclass(frozen=True)
class Categorical:
    """A hyperparameter that is one of a list of choices.

    Args:
        choices: at least two, all different.
        ordered: the list is an order: perturbation steps to a neighbour.
        fixed: shapes the model at initialization: sampled and inherited, never perturbed in flight.
        when: active only with these values of other hyperparameters of the space; see `SearchSpace`.
    """

    choices: tuple[Value, ...]
    ordered: bool = False
    fixed: bool = False
    when: When | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", conditions(self.when) or None)
        object.__setattr__(self, "choices", tuple(self.choices))
        if len(self.choices) < 2:
            raise OptionError("choices", list(self.choices), "at least two choices")
        if len({(type(choice), choice) for choice in self.choices}) < len(self.choices):
            raise OptionError("choices", list(self.choices), "choices that are all different")

    def cast(self, value: Value) -> Value:
        """Return the choice that equals the value, with the choice's own type."""
        return self.choices[self._index(value)]

    def contains(self, value: Value) -> bool:
        """Say whether the value is one of the choices; a boolean is no number."""
        return any(choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in self.choices)

    def passes(self, value: Value) -> bool:
        """Say whether the value lies beyond a bound: a choice has none."""
        return False

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw from the prior: each choice equally likely."""
        return self.from_unit(float(rng.random()))

    def to_unit(self, value: Value) -> float:
        """Return the middle of the choice's cell in the unit interval."""
        return (self._index(value) + 0.5) / len(self.choices)

    def from_unit(self, unit: float) -> Value:
        """Return the choice whose cell of the unit interval holds `unit`."""
        return self.choices[min(max(int(unit * len(self.choices)), 0), len(self.choices) - 1)]

    def scaled(self, value: Value, factor: float) -> Value:
        """Return the next choice (factor above 1) or the one before; the same at an end, or when not ordered."""
        if not self.ordered or factor == 1:
            return value
        index = self._index(value) + (1 if factor > 1 else -1)
        return self.choices[min(max(index, 0), len(self.choices) - 1)]

    def bounded(self, value: Value, how: Bounds) -> Value:
        """Return the value, which must be one of the choices."""
        return self.cast(value)

    def to_optuna(self) -> "BaseDistribution":
        """Return Optuna's distribution of the same choices."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def _index(self, value: Value) -> int:
        for index, choice in enumerate(self.choices):
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return index
        raise OptionError("value", value, f"one of {list(self.choices)!r}")


Parameter = Float | Int | Categorical
