"""The best value so far as a line of bars, for terminals."""

import math
from collections.abc import Sequence

BARS, ASCII_BARS = "▁▂▃▄▅▆▇█", "_.-=+*%#"
WIDTH = 20
_MOST = 4 * WIDTH


class Incumbent:
    """The best score so far over a search: bounded in memory, and a constant cost for each answer."""

    def __init__(self) -> None:
        self._points: list[float] = []
        self._best = -math.inf
        self._each = 1
        """How many answers a point stands for."""
        self._answers = 0

    def add(self, score: float) -> None:
        """Add an answer; larger scores are better, and `-math.inf` stands for none."""
        self._best = max(self._best, score)
        if self._answers % self._each == 0:
            self._points.append(self._best)
        else:
            self._points[-1] = self._best
        self._answers += 1
        if len(self._points) == _MOST and self._answers % self._each == 0:
            self._points, self._each = (
                self._points[1::2],
                2 * self._each,
            )  # a new list: another thread may read the old one

    @property
    def points(self) -> Sequence[float]:
        """The best score after every so many answers; the last one is the newest."""
        return self._points


def sparkline(points: Sequence[float], width: int = WIDTH, bars: str = BARS) -> str:
    """Return scores that never fall as bars, as many as there are points or columns. Taller is better.

    The lowest bar stands for the score after the first eighth and everything below: first values are often far off, and would
    flatten the rest.

    >>> sparkline([-8.0, -4.0, -4.0, -1.0])
    '▁▅▅█'
    """
    known = [point for point in points if point > -math.inf]
    if not known or width < 1:
        return ""
    shown = known if len(known) <= width else [known[(at + 1) * len(known) // width - 1] for at in range(width)]
    low, high = known[len(known) // 8], known[-1]
    if low == high:
        low = known[0]
    step = (high - low) / (len(bars) - 1)
    if not 0 < step < math.inf:
        return bars[0] * len(shown)
    return "".join(bars[max(0, round((point - low) / step))] for point in shown)
