"""An interval estimate with possibly unbounded ends."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Interval:
    """The values that the data are compatible with, at some confidence level.

    Attributes:
        low: the lower end; None: unbounded below, as with too few data to exclude any small value.
        high: the upper end; None: unbounded above.
    """

    low: float | None
    high: float | None

    def __contains__(self, value: float) -> bool:
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)

    def shifted(self, by: float) -> "Interval":
        """Return the interval shifted by `by`."""
        return Interval(None if self.low is None else self.low + by, None if self.high is None else self.high + by)

    def hull(self, other: "Interval") -> "Interval":
        """Return the smallest interval that contains this one and another."""
        return Interval(
            None if self.low is None or other.low is None else min(self.low, other.low),
            None if self.high is None or other.high is None else max(self.high, other.high),
        )

    def agreeing_at_zero(self, shifts: NDArray[np.float64], *, rejected: bool, positive: bool) -> "Interval":
        """Return the interval adjusted to exclude 0 exactly if the test of 0 rejects.

        With ties in ranks, or with randomly drawn sign patterns, the shifts that a test does not reject need not form an
        interval. So if 0 is not rejected, the interval is extended to include it. If 0 is rejected, the interval begins at the
        first shift beyond 0, on the side of the effect.

        Args:
            shifts: the possible ends.
            rejected: whether the test of 0 rejects.
            positive: whether the effect is above 0.
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
