"""A single hyperparameter: how it is sampled, moved, and kept inside its bounds.

The classes have the same field names as Optuna's distributions and convert to them. Types come from the space, not from values: a
`Float` written as `0` is `0.0`, and an `Int` stays an int through every operation.
"""

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from hpo.core.errors import OptionError
from hpo.core.segments import Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Bounds = Literal["clip", "reflect"]
When = Mapping[str, Value | tuple[Value, ...]]
"""Conditions: names of other hyperparameters, with the value or values for which this one is active."""
LARGEST = 1e300
"""The largest size of a bound, and 1 / the smallest lower bound on a log scale: leaves room for sums, such as axes of figures."""
_LARGEST_EXPONENT = math.log(sys.float_info.max)
_SMALLEST = 5e-324
_ROUNDING = 1e-9
"""Values closer than this fraction of a step to a value of a stepped range count as that value."""


def is_finite(value: float) -> bool:
    """Return whether a number is a finite float, or an integer that fits into one."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _check_bounds(low: float, high: float, log: bool) -> None:
    for option, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not is_finite(value) or abs(float(value)) > LARGEST:
            raise OptionError(option, value, f"a finite number, at most {LARGEST:g} in size")
    if low >= high:
        raise OptionError("low", low, f"a number below high = {high!r}")
    if log and low <= 0:
        raise OptionError("low", low, "a number above 0, because log = true")
    if log and low < 1 / LARGEST:
        raise OptionError("low", low, f"at least {1 / LARGEST:g}, because log = true")


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


# --- initial ranges ------------------------------------------------------------------------------------------------------


def initial_range(parameter: "Float | Int") -> "Float | Int | None":
    """Return a hyperparameter with its initial range as its bounds; None if the range is a single value."""
    if parameter.initial is None:
        return parameter
    low, high = parameter.initial
    narrowed: dict[str, Any] = {"low": low, "high": high, "initial": None}
    return replace(parameter, **narrowed) if low < high else None


def _check_initial(parameter: "Float | Int") -> None:
    given: object = parameter.initial
    ends = given if isinstance(given, (tuple, list)) else ()
    pair = tuple(end.item() if isinstance(end, np.generic) else end for end in ends)
    inside = all(isinstance(end, int | float) and parameter.contains(end) for end in pair)
    if len(pair) != 2 or not inside or pair[0] > pair[1]:
        step = f" in steps of {parameter.step}" if parameter.step not in (None, 1) else ""
        allowed = f"[low, high]: two values from {parameter.low!r} to {parameter.high!r}{step}, the lower one first"
        raise OptionError("initial", list(pair) if pair else given, allowed)
    object.__setattr__(parameter, "initial", tuple(map(parameter.cast, pair)))


# --- numbers on a scale --------------------------------------------------------------------------------------------------


def place_of(parameter: "Float | Int", value: float) -> float:
    """Return a number's position on a parameter's scale: 0 at `low`, 1 at `high`, and beyond them outside the bounds."""
    low, high, at = parameter.low, parameter.high, value
    if parameter.log:
        low, high, at = math.log(low), math.log(high), math.log(max(at, _SMALLEST))
    return (at - low) / (high - low)


def at_place(parameter: "Float | Int", place: float) -> float:
    """Return the number at a position on a parameter's scale: finite, not rounded, and possibly outside the bounds."""
    if not parameter.log:
        return parameter.low + place * (parameter.high - parameter.low)
    low, high = math.log(parameter.low), math.log(parameter.high)
    return math.exp(min(low + place * (high - low), _LARGEST_EXPONENT))


def _product(value: float, factor: float) -> float:
    """Return a product, limited to the largest float."""
    return min(max(value * factor, -sys.float_info.max), sys.float_info.max)


def _reflected(parameter: "Float | Int", value: float) -> float:
    """Reflect a number at the bounds until it lies between them, on the parameter's scale."""
    place = math.fmod(abs(place_of(parameter, value)), 2.0)
    return at_place(parameter, 2.0 - place if place > 1.0 else place)


@dataclass(frozen=True)
class Steps:
    """The values of a stepped range: low, low + step, low + 2 step, ...

    Each is the float nearest to the intended decimal number: 0.3, although 3 * 0.1 is 0.30000000000000004.

    Args:
        low: the first value.
        step: the distance between two values.
        count: the number of values.
    """

    low: Fraction
    step: Fraction
    count: int

    @classmethod
    def between(cls, low: float, high: float, step: float) -> Self:
        """Return the values from `low` to the last one that does not exceed `high`.

        Raises:
            OptionError: there are fewer than two, or they are too close to be distinguished as floats.
        """
        if isinstance(step, bool) or not 0 < step < math.inf:
            raise OptionError("step", step, "a finite number above 0")
        if step < (gap := math.ulp(max(abs(low), abs(high)))):
            raise OptionError("step", step, f"at least {gap!r}, the distance between floats near {high!r}")
        first, apart = Fraction(str(low)), Fraction(str(step))
        # `high` may be the result of a calculation: 0.7 + 0.1 is 0.7999999999999999.
        count = math.floor((Fraction(str(high)) - first) / apart + Fraction(_ROUNDING)) + 1
        if count < 2:
            raise OptionError("step", step, f"a number of at most high - low = {high - low:g}")
        return cls(first, apart, count)

    def __getitem__(self, index: int) -> float:
        return float(self.low + index * self.step)

    @property
    def last(self) -> float:
        """The largest value."""
        return self[self.count - 1]

    def index(self, value: float) -> int:
        """Return the index of the value nearest to a finite number."""
        return min(max(round((value - float(self.low)) / float(self.step)), 0), self.count - 1)

    def nearest(self, value: float) -> float:
        """Return the value nearest to a finite number."""
        return self[self.index(value)]

    def contains(self, value: float) -> bool:
        """Return whether a finite number is one of the values, up to rounding."""
        return abs(self.nearest(value) - value) <= _ROUNDING * float(self.step)

    def to_unit(self, value: float) -> float:
        """Return the middle of a value's cell; all cells have the same width."""
        return ((value - float(self.low)) / float(self.step) + 0.5) / self.count

    def from_unit(self, unit: float) -> float:
        """Return the value whose cell contains a position in the unit interval."""
        return self[min(int(unit * self.count), self.count - 1)]


@dataclass(frozen=True)
class Float:
    """A real hyperparameter in [low, high].

    Args:
        low: smallest value.
        high: largest value; with a `step` that does not reach it, it becomes the last value reached, as in Optuna.
        log: uniform in the logarithm; low must be positive.
        step: allow only low + k * step, all equally likely; not together with `log`.
        fixed: shapes the model at initialization: sampled and inherited, but never perturbed during training.
        when: active only with these values of other hyperparameters of the space; see `SearchSpace`.
        initial: the range (low, high) of initial values, on the same scale and, with a `step`, on the same grid; None: the bounds.
            Everything that comes after the initial draws keeps the bounds.
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None
    fixed: bool = False
    when: When | None = field(default=None, hash=False)
    initial: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "when", conditions(self.when) or None)
        _check_bounds(self.low, self.high, self.log)
        put(self, "low", float(self.low))
        put(self, "high", float(self.high))
        if self.step is not None:
            if self.log:
                raise OptionError("step", self.step, "no step together with log = true")
            put(self, "high", Steps.between(self.low, self.high, self.step).last)
            put(self, "step", float(self.step))
        if self.initial is not None:
            _check_initial(self)

    @cached_property
    def steps(self) -> Steps | None:
        """The values of a stepped range, or None without a step."""
        return None if self.step is None else Steps.between(self.low, self.high, self.step)

    def cast(self, value: Value) -> float:
        """Return the value with this parameter's type, and rounded to a stepped range's value if it is one up to rounding.

        Raises:
            OptionError: it is not a finite number.
        """
        if isinstance(value, (str, bool)) or not is_finite(value):
            raise OptionError("value", value, "a finite number")
        return self.steps.nearest(value) if self.steps is not None and self.contains(value) else float(value)

    def contains(self, value: Value) -> bool:
        """Return whether the value lies inside the bounds and, up to rounding, on the grid. NaN and booleans never do."""
        if isinstance(value, (str, bool)) or not self.low - self._slack <= value <= self.high + self._slack:
            return False
        return self.steps is None or self.steps.contains(float(value))

    def passes(self, value: Value) -> bool:
        """Return whether the value lies outside the bounds."""
        return not self.low - self._slack <= float(value) <= self.high + self._slack

    def sample(self, rng: np.random.Generator) -> float:
        """Draw from the prior: uniform, or uniform in the logarithm; all values of a stepped range are equally likely."""
        return self.initial_from_unit(float(rng.random()))

    def initial_from_unit(self, unit: float) -> float:
        """Return the value at a position in the unit interval, where that is the initial range, or the bounds without one."""
        if self.initial is None:
            return self.from_unit(unit)
        narrow = initial_range(self)
        return self.initial[0] if narrow is None else narrow.from_unit(unit)

    def to_unit(self, value: Value) -> float:
        """Return the value's position in the unit interval; below 0 or above 1 outside the bounds.

        Values of a stepped range divide it into cells of equal width, as those of an `Int` do; the position is the cell's middle.
        """
        return place_of(self, float(value)) if self.steps is None else self.steps.to_unit(float(value))

    def from_unit(self, unit: float) -> float:
        """Return the value at a position in the unit interval; it lies inside the bounds."""
        unit = min(max(unit, 0.0), 1.0)
        if self.steps is not None:
            return self.steps.from_unit(unit)
        return min(max(at_place(self, unit), self.low), self.high)

    def scaled(self, value: Value, factor: float) -> float:
        """Return value * factor on the natural scale, possibly outside the bounds; it moves by at least one `step`, if any."""
        product = _product(float(value), factor)
        if self.step is not None and factor != 1 and abs(product - float(value)) < self.step:
            product = float(value) + (self.step if (factor > 1) == (float(value) >= 0) else -self.step)
        return product

    def bounded(self, value: Value, how: Bounds) -> float:
        """Return the value clipped to its bounds, or reflected at them (in log space if log)."""
        number = float(value)
        if self.passes(number):
            if how == "reflect" and math.isfinite(number):
                number = _reflected(self, number)
            number = self.low if number < self.low else min(number, self.high)
        return number if self.steps is None else self.steps.nearest(number)

    def to_optuna(self) -> "BaseDistribution":
        """Return Optuna's distribution with the same bounds."""
        from optuna.distributions import FloatDistribution

        return FloatDistribution(self.low, self.optuna_high, log=self.log, step=self.step)

    @property
    def optuna_high(self) -> float:
        """The `high` to pass to Optuna so that it has the same values.

        Optuna compares the shortest decimal forms of floats, and lowers a bound that no step reaches, so the bound is raised a bit.
        """
        steps = self.steps
        if steps is None or Fraction(str(self.high)) == steps.low + (steps.count - 1) * steps.step:
            return self.high
        return self.high + float(steps.step) / 4

    @property
    def _slack(self) -> float:
        """The distance outside a bound within which a value still counts as the bound."""
        return 0.0 if self.step is None else _ROUNDING * self.step


@dataclass(frozen=True)
class Int:
    """An integer hyperparameter in [low, high], both included.

    Args:
        low: smallest value.
        high: largest value; with a `step` that does not reach it, it becomes the last value reached, as in Optuna.
        log: uniform in the logarithm; low must be positive.
        step: allow only low + k * step; must be 1 together with `log`.
        fixed: shapes the model at initialization: sampled and inherited, but never perturbed during training.
        when: active only with these values of other hyperparameters of the space; see `SearchSpace`.
        initial: the range (low, high) of initial values, on the same scale and, with a `step`, on the same grid; None: the bounds.
            Everything that comes after the initial draws keeps the bounds.
    """

    low: int
    high: int
    log: bool = False
    step: int = 1
    fixed: bool = False
    when: When | None = field(default=None, hash=False)
    initial: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        put = object.__setattr__
        put(self, "when", conditions(self.when) or None)
        _check_bounds(self.low, self.high, self.log)
        for option in ("low", "high", "step"):
            value = getattr(self, option)
            if isinstance(value, bool) or value % 1 != 0:  # infinities give NaN
                raise OptionError(option, value, "a whole number")
            put(self, option, int(value))
        if self.log and self.step != 1:
            raise OptionError("step", self.step, "1 together with log = true")
        if not 1 <= self.step <= self.high - self.low:
            raise OptionError("step", self.step, f"a whole number from 1 to high - low = {self.high - self.low}")
        put(self, "high", range(self.low, self.high + 1, self.step)[-1])
        if self.initial is not None:
            _check_initial(self)

    def cast(self, value: Value) -> int:
        """Return the value with this parameter's type.

        Raises:
            OptionError: it is not a whole number.
        """
        if isinstance(value, (str, bool)) or not is_finite(value) or value != int(value):
            raise OptionError("value", value, "a whole number")
        return int(value)

    def contains(self, value: Value) -> bool:
        """Return whether the value is a whole number, not a boolean, inside the bounds and on the grid."""
        if isinstance(value, (str, bool)) or not self.low <= value <= self.high:
            return False
        return value == int(value) and (int(value) - self.low) % self.step == 0

    def passes(self, value: Value) -> bool:
        """Return whether the value lies outside the bounds."""
        return not self.low <= float(value) <= self.high

    def sample(self, rng: np.random.Generator) -> int:
        """Draw from the prior: all values equally likely, or uniform in the logarithm."""
        return self.initial_from_unit(float(rng.random()))

    def initial_from_unit(self, unit: float) -> int:
        """Return the value whose cell contains `unit`, where cells divide the initial range, or the bounds without one."""
        if self.initial is None:
            return self.from_unit(unit)
        narrow = initial_range(self)
        return self.initial[0] if narrow is None else int(narrow.from_unit(unit))

    def to_unit(self, value: Value) -> float:
        """Return the middle of the value's cell in the unit interval."""
        low, high = self._edges()
        at = float(value)
        if self.log:
            at = math.log(max(at, _SMALLEST))
        return (at - low) / (high - low)

    def from_unit(self, unit: float) -> int:
        """Return the value whose cell of the unit interval contains `unit`."""
        low, high = self._edges()
        at = low + min(max(unit, 0.0), 1.0) * (high - low)
        return self._nearest(math.exp(at) if self.log else at)

    def scaled(self, value: Value, factor: float) -> int:
        """Return value * factor, rounded; unless the factor is 1 it moves by at least one step (0 moves up or down)."""
        value = int(value)
        if factor == 1:
            return value
        product = round(_product(value, factor))
        if abs(product - value) < self.step:
            product = value + (self.step if (factor > 1) == (value >= 0) else -self.step)
        return product

    def bounded(self, value: Value, how: Bounds) -> int:
        """Return the value clipped to its bounds, or reflected at them (in log space if log)."""
        number = float(value)
        if how == "reflect" and math.isfinite(number) and self.passes(number):
            number = _reflected(self, number)
        return self._nearest(number)

    def to_optuna(self) -> "BaseDistribution":
        """Return Optuna's distribution with the same bounds."""
        from optuna.distributions import IntDistribution

        return IntDistribution(self.low, self.high, log=self.log, step=self.step)

    def _edges(self) -> tuple[float, float]:
        half = self.step / 2
        if self.log:
            return math.log(self.low - half), math.log(self.high + half)
        return self.low - half, self.high + half

    def _nearest(self, value: float) -> int:
        value = min(max(value, self.low), self.high)
        # Floats beyond 2^53 skip integers, so the sum could exceed `high`.
        return min(self.low + round((value - self.low) / self.step) * self.step, self.high)


@dataclass(frozen=True)
class Categorical:
    """A hyperparameter that is one of a list of choices.

    Args:
        choices: at least two numbers, texts or booleans, all different; 1, 1.0 and true are equal.
        ordered: the choices are ordered: a perturbation moves to a neighbour.
        fixed: shapes the model at initialization: sampled and inherited, but never perturbed during training.
        when: active only with these values of other hyperparameters of the space; see `SearchSpace`.
    """

    choices: tuple[Value, ...]
    ordered: bool = False
    fixed: bool = False
    when: When | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "when", conditions(self.when) or None)
        object.__setattr__(self, "choices", tuple(map(_plain, self.choices)))
        if len(self.choices) < 2:
            raise OptionError("choices", list(self.choices), "at least two choices")
        for index, choice in enumerate(self.choices):
            if choice in self.choices[:index]:
                equal = self.choices[self.choices.index(choice)]
                allowed = f"choices that are all different; {equal!r} and {choice!r} are equal"
                raise OptionError("choices", list(self.choices), allowed)

    def cast(self, value: Value) -> Value:
        """Return the choice that equals the value, with the choice's own type.

        Raises:
            OptionError: the value is not one of the choices.
        """
        return self.choices[self._index(value)]

    def contains(self, value: Value) -> bool:
        """Return whether the value is one of the choices; booleans are not numbers."""
        return any(choice == value and isinstance(choice, bool) == isinstance(value, bool) for choice in self.choices)

    def passes(self, value: Value) -> bool:
        """Return False: choices have no bounds."""
        return False

    def sample(self, rng: np.random.Generator) -> Value:
        """Draw from the prior: all choices equally likely."""
        return self.initial_from_unit(float(rng.random()))

    def initial_from_unit(self, unit: float) -> Value:
        """Return `from_unit`: choices have no initial range."""
        return self.from_unit(unit)

    def to_unit(self, value: Value) -> float:
        """Return the middle of the choice's cell in the unit interval."""
        return (self._index(value) + 0.5) / len(self.choices)

    def from_unit(self, unit: float) -> Value:
        """Return the choice whose cell of the unit interval contains `unit`."""
        return self.choices[min(max(int(unit * len(self.choices)), 0), len(self.choices) - 1)]

    def scaled(self, value: Value, factor: float) -> Value:
        """Return the next choice (factor above 1) or the previous one; the same at an end, or if not ordered."""
        if not self.ordered or factor == 1:
            return value
        index = self._index(value) + (1 if factor > 1 else -1)
        return self.choices[min(max(index, 0), len(self.choices) - 1)]

    def bounded(self, value: Value, how: Bounds) -> Value:
        """Return the value, which must be one of the choices."""
        return self.cast(value)

    def to_optuna(self) -> "BaseDistribution":
        """Return Optuna's distribution with the same choices."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.choices)

    def _index(self, value: Value) -> int:
        for index, choice in enumerate(self.choices):
            if choice == value and isinstance(choice, bool) == isinstance(value, bool):
                return index
        raise OptionError("value", value, f"one of {list(self.choices)!r}")


def _plain(choice: object) -> Value:
    """Return a choice as a plain Python value, converted from numpy scalars."""
    plain = choice.item() if isinstance(choice, np.generic) else choice
    if not isinstance(plain, (str, bool, int, float)) or (isinstance(plain, float) and not math.isfinite(plain)):
        raise OptionError("choices", choice, "finite numbers, texts and booleans")
    return plain


Parameter = Float | Int | Categorical
