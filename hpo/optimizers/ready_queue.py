"""The queue of segments that may start now."""

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import islice

from hpo.core.segments import Result, Segment


class ReadyQueue:
    """Segments that may start now.

    Members that continue come before new members, so that each stays on the worker that holds its state. All operations take
    constant time per segment, independent of the population size.

    Args:
        new: the first segments of new members, taken one by one as workers become free; may be lazy.
    """

    def __init__(self, new: Iterable[Segment]) -> None:
        self._continuing: deque[Segment] = deque()
        self._new: Iterator[Segment] = iter(new)
        self._appended: deque[Segment] = deque()

    def take(self, free: int) -> list[Segment]:
        """Remove and return at most `free` segments."""
        taken = [self._continuing.popleft() for _ in range(min(free, len(self._continuing)))]
        taken.extend(islice(self._new, max(0, free - len(taken))))
        taken.extend(self._appended.popleft() for _ in range(min(free - len(taken), len(self._appended))))
        return taken

    def continue_from(self, result: Result) -> None:
        """Add the next segment of the result's member, with the same hyperparameters."""
        segment = result.segment
        self._continuing.append(Segment(segment.member, result.key, segment.interval + 1, segment.hparams))

    def set_new(self, new: Iterable[Segment]) -> None:
        """Replace the source of new members; `new` may be lazy."""
        self._new = iter(new)

    def append(self, segments: Iterable[Segment]) -> None:
        """Add segments behind all others: first come, first served."""
        self._appended.extend(segments)
