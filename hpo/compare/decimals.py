"""How many decimals are shown: enough for the differences, no more than were measured, and the same for all tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from hpo.compare.data import TaskData
from hpo.report.numbers import MINUS, Quantity, clean
from hpo.statistics.interval import Interval

#: How standardized differences are written.
PLAIN = Quantity("", digits=2)
_MOST = 8  # decimals; beyond, numbers are shown with significant digits
_ALIKE = 2  # decimals by which tasks may differ and still be shown with the same


@dataclass(frozen=True)
class TaskDigits:
    """How the numbers of one task are written.

    Attributes:
        quantity: with the decimals of two digits of the task's largest difference.
        written: decimals of the values as they were given.
    """

    quantity: Quantity
    written: int

    def value(self, value: float | None) -> str:
        """One value: what was measured, to three digits of the largest difference."""
        return _without_minus_zero(self.quantity.text(value, extra=self._extra(1)))

    def mean(self, value: float, n: int) -> str:
        """A mean of n values."""
        return _without_minus_zero(self.quantity.text(value, extra=self._extra(n)))

    def number(self, value: float, n: int) -> str:
        """A mean of n values, or their standard deviation, without the unit."""
        return _without_minus_zero(replace(self.quantity, unit="").text(value, extra=self._extra(n)))

    def difference(self, value: float, n: int) -> str:
        """A mean of n differences."""
        return self.quantity.difference(value, extra=self._extra(n))

    def bounds(self, interval: Interval) -> str:
        """An interval of a mean difference that may lack an end."""
        return self.quantity.bounds(interval)

    def _extra(self, n: int) -> int:
        return 1 if n > 1 or self.quantity.digits is None else min(1, self.written - self.quantity.digits)


def _without_minus_zero(text: str) -> str:
    return text if any(digit in text for digit in "123456789") else text.removeprefix(MINUS)


def digits_of(tasks: Sequence[TaskData]) -> dict[str, TaskDigits]:
    """Return how to write the numbers of each task; with the same decimals if they differ by little."""
    found = {task.name: _digits(task) for task in tasks}
    wanted = {d.quantity.digits for d in found.values()} - {None}
    lined_up = [digits for digits in wanted if digits is not None]
    if len({(task.metric, task.rate) for task in tasks}) > 1 or not lined_up:
        return found
    if max(lined_up) - min(lined_up) > _ALIKE:
        return found
    written = max(d.written for d in found.values())
    return {name: TaskDigits(replace(d.quantity, digits=max(lined_up)), written) for name, d in found.items()}


def _digits(task: TaskData) -> TaskDigits:
    scale = 100.0 if task.rate else 1.0
    values = [value for of_arm in task.values.values() for value in of_arm.values()]
    written = max(_decimals(value) for value in values) - (2 if task.rate else 0)
    by_seed = [[of_arm[seed] for of_arm in task.values.values() if seed in of_arm] for seed in task.seeds]
    largest = scale * max(max(some) - min(some) for some in by_seed)
    digits: int | None = None
    if largest > 0:
        digits = max(0, 1 - math.floor(math.log10(largest)))
        digits = digits if digits <= _MOST else None
    quantity = Quantity(clean(task.metric), "%" if task.rate else "", scale, 0.0, digits)
    return TaskDigits(quantity, max(0, written))


def _decimals(value: float) -> int:
    """Return the decimals of the shortest number that is this float."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return 0 if float(value).is_integer() or not isinstance(exponent, int) else max(0, -exponent)
