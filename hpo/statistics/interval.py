"""An interval estimate, and what it says where it has no end."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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

    def holding(self, other: "Interval") -> "Interval":
        """Return the smallest interval that holds this one and another."""
        return Interval(
            None if self.low is None or other.low is None else min(self.low, other.low),
            None if self.high is None or other.high is None else max(self.high, other.high),
        )

    def agreeing_at_zero(self, shifts: NDArray[np.float64], *, rejected: bool, positive: bool) -> "Interval":
        """Return the interval that leaves 0 out exactly where the test of 0 rejects.

        The shifts that a test of ranks with ties, or one whose patterns are drawn, does not reject need not be an interval. So
        where 0 is not rejected, the interval is stretched to hold it; where 0 is rejected, it begins at the first shift beyond
        0, on the side of the effect.

        Args:
            shifts: the numbers that an end can be.
            rejected: whether the test of 0 rejects.
            positive: whether the effect that the test sees lies above 0.
        """
        if rejected != (0.0 in self):
            return self
        if not rejected:
            return Interval(
                None if self.low is None else min(self.low, 0.0), None if self.high is None else max(self.high, 0.0)
            )
        if positive:
            low = float(shifts[shifts > 0].min())
            return Interval(low, None if self.high is None else max(self.high, low))
        high = float(shifts[shifts < 0].max())
        return Interval(None if self.low is None else min(self.low, high), high)
