"""An interval estimate, and what it says where it has no end."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """The values that the data do not contradict at a level of confidence.

    Attributes:
        low: the lower end; None: unbounded below, because no value is too small for so few data to allow.
        high: the upper end; None: unbounded above.
    """

    low: float | None
    high: float | None

    def __contains__(self, value: float) -> bool:
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def shifted(self, by: float) -> "Interval":
        """Return the interval moved along the axis."""
        return Interval(None if self.low is None else self.low + by, None if self.high is None else self.high + by)
