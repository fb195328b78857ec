"""How values are written: digits, units, signs. Rates are shown as percent, their differences in percentage points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hpo.core.parameters import Categorical, Parameter
from hpo.core.segments import Value
from hpo.core.task import Metric
from hpo.results.document import Measurement, TaskRecord
from hpo.statistics.interval import Interval

NONE = "–"  # an undefined value
NARROW = "\u202f"
"""A narrow space that does not break, between a number and its unit."""
MINUS = "−"
MAX_LABEL = 60


@dataclass(frozen=True)
class Quantity:
    """How one metric is shown: displayed = offset + scale * value, with a unit and a number of digits.

    `digits` is the number of decimals, or None for four significant digits.
    """

    name: str
    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    digits: int | None = None
    maximize: bool = False

    @property
    def axis(self) -> str:
        """An axis label."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def difference_unit(self) -> str:
        """The unit of a difference: percentage points for percent."""
        return "pp" if self.unit == "%" else self.unit

    def show(self, value: Measurement) -> Measurement:
        """The displayed number."""
        return None if value is None else self.offset + self.scale * value

    def text(self, value: Measurement, extra: int = 0) -> str:
        """A value with its unit, for example ``1.25 %``; `extra` digits for means."""
        shown = self.show(value)
        if shown is None:
            return NONE
        return _join(self._number(shown, extra), self.unit)

    def difference(self, value: Measurement, extra: int = 0) -> str:
        """A signed difference with its unit, for example ``−0.18 pp``."""
        if value is None:
            return NONE
        return _join(_signed(self._number(value * self.scale, extra)), self.difference_unit)

    def variance(self, value: Measurement) -> str:
        """A variance of differences in the squared unit."""
        if value is None:
            return NONE
        squared = f"{self.difference_unit}²" if self.difference_unit else ""
        return _join(significant(value * self.scale**2, 3), squared)

    def bounds(self, interval: Interval | None) -> str:
        """An interval of differences that may lack an end, for example ``(−∞, +0.02] pp``."""
        if interval is None:
            return NONE
        ends = (interval.low, interval.high) if self.scale > 0 else (interval.high, interval.low)
        low, high = (None if end is None else _signed(self._number(end * self.scale, 1)) for end in ends)
        if low is None and high is None:
            return "unbounded"
        text = f"{'(' + MINUS + '∞' if low is None else '[' + low}, {'+∞)' if high is None else high + ']'}"
        return _join(text, self.difference_unit)

    def width(self, half: float) -> str:
        """Half the width of a region around 0, as it was stated, for example ``± 0.2 pp``."""
        return _join(f"± {significant(half * abs(self.scale), 6)}", self.difference_unit)

    def _number(self, value: float, extra: int) -> str:
        if self.digits is None:
            return significant(value, 4 + extra)
        return f"{value:.{self.digits + extra}f}".replace("-", MINUS)


def quantity(metric: Metric, task: TaskRecord, *, count: int | None = None, complement: bool = False) -> Quantity:
    """How a metric is shown; digits of a rate follow the size of the data it was counted on."""
    maximize = metric.direction == "maximize"
    if not metric.is_rate:
        return Quantity(clean(metric.name), maximize=maximize)
    digits = 2 if not count else min(max(math.ceil(math.log10(count)) - 2, 1), 4)
    if complement and metric.complement:
        return Quantity(clean(metric.complement), "%", -100.0, 100.0, digits, not maximize)
    return Quantity(clean(metric.name), "%", 100.0, 0.0, digits, maximize)


def test_quantity(metric: Metric, task: TaskRecord) -> Quantity:
    """How a metric on the test set is shown."""
    return quantity(metric, task, count=task.examples("test"))


test_quantity.__test__ = False  # type: ignore[attr-defined]  # not a test, in spite of its name


def significant(value: float, digits: int) -> str:
    """A number with significant digits and no trailing zeros; a true minus sign."""
    return f"{value:.{digits}g}".replace("-", MINUS)


def p_value(p: Measurement) -> str:
    """A p value with three significant digits."""
    return NONE if p is None else significant(p, 3)


def percent(share: float) -> str:
    """A level of confidence, for example ``97.5%``."""
    return f"{100 * share:.4g}%"


def plain(value: Measurement, digits: int = 3) -> str:
    """A number without a unit."""
    return NONE if value is None else significant(value, digits)


def signed(value: Measurement, digits: int = 3) -> str:
    """A number without a unit, with its sign."""
    return NONE if value is None else _signed(significant(value, digits))


def printable(text: str) -> str:
    """A sentence of the results file on one line, with nothing that cannot be printed."""
    return "".join(character if character.isprintable() else " " for character in text)


def setting(value: Value | None, parameter: Parameter | None) -> str:
    """A hyperparameter's value; a choice is shown as it was written."""
    if value is None:
        return NONE
    if isinstance(value, str) or isinstance(parameter, Categorical):
        return clean(str(value))
    return significant(value, 4)


def clean(label: str) -> str:
    """A label for display: printable, and not too long to read. It is never a path and never markup."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in label).strip() or "(no name)"
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def listed(names: Sequence[str], most: int = 6, separator: str = ", ") -> str:
    """Return the names as a list in a sentence, cut if it would be too long to read."""
    more = len(names) - most
    return separator.join(names[:most]) + (f" and {more} more" if more > 0 else "")


def _signed(number: str) -> str:
    zero = not any(c in "123456789" for c in number)
    if zero:
        return number.removeprefix(MINUS)
    return number if number.startswith(MINUS) else f"+{number}"


def _join(number: str, unit: str) -> str:
    return f"{number}{NARROW}{unit}" if unit else number
