"""The contract of trackers, which write a study into a tool such as TensorBoard."""

from collections.abc import Iterable, Sequence
from typing import ClassVar

from hpo.core.observer import Observer, Place, SegmentDone, StudyStarted


class Tracker(Observer):
    """An observer that writes the segments of a study to a destination, each exactly once.

    Override `log`, and `open` unless the destination forgets; as you need them, `check`, `finished_replicate` and `stopped`. The
    calls for a study that is killed and resumed, each time with a new tracker::

        check()                                  # before any work
        open(study)          -> []               # nothing there yet
        log([a, b])
        log([c])                                 # killed here
        check()
        open(study)          -> [a.place, b.place, c.place]
        log([d])                                 # a, b and c are skipped
        finished_replicate(...)
        stopped(...)

    If `log` raises, `open` is called again, and then `log` with all segments that `open` does not return.

    Args:
        destination: the text after the colon in `--track NAME:DESTINATION`.
    """

    library: ClassVar[str | None] = None
    """The module that it needs."""
    extra: ClassVar[str | None] = None
    """The extra of `hpo` that installs it."""

    def __init__(self, destination: str) -> None:
        self.destination = destination
        self._known: set[Place] = set()

    @classmethod
    def place(cls, destination: str) -> str:
        """Return a text that is the same for all spellings of a destination, so that nothing is written to it twice."""
        return destination

    def check(self) -> None:
        """Check that the destination can be written to.

        Raises:
            InputError: it cannot; the message says what to do. Other exceptions count as well.
        """

    def open(self, study: StudyStarted) -> Iterable[Place]:
        """Open the destination, and return the places of the segments that it holds from before."""
        return ()

    def log(self, segments: Sequence[SegmentDone]) -> None:
        """Write segments of searches, in the order in which they finished."""
        raise NotImplementedError

    def started(self, study: StudyStarted) -> None:
        """Open the destination."""
        self._known = set(self.open(study))

    def segments(self, found: Iterable[SegmentDone]) -> None:
        """Write those segments that the destination does not hold; retrainings have no metrics, and are left out."""
        new = {each.place: each for each in found if not each.retraining and each.place not in self._known}
        if new:
            self.log(list(new.values()))
            self._known.update(new)

    def segment(self, segment: SegmentDone) -> None:
        """Write a segment, unless the destination holds it."""
        self.segments([segment])
