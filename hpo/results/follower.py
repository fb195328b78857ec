"""Follows a run directory, also of a study that is running: reads its files again and again, and says what is new.

It reads results.json, segments.csv and progress.jsonl, and never writes or locks anything::

    follower = Follower(run_dir)
    follower.look()     -> News(results=..., segments=[..., ...], ...)
    follower.look()     -> News(segments=[...])        # a segment has finished
    follower.look()     -> News()                      # nothing has changed
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpo.core.errors import InputError
from hpo.core.files import inside
from hpo.core.run_files import PROGRESS, RESULTS, SEGMENTS, STUDY, check_readable
from hpo.results.document import Results
from hpo.results.file import read_results
from hpo.results.progress import Event, of_line
from hpo.results.segments_reader import FollowedSegment, SegmentsReader, Settled
from hpo.results.tail import Tail


@dataclass(frozen=True)
class News:
    """What is new since the last look.

    Args:
        reset: the directory holds another study than before: all earlier news are void, and ids start at 0 again.
        results: the content of results.json, if it changed.
        segments: new rows of segments.csv; each is given once, however often the file is replaced.
        settled: (id, whether it is on the best lineage) of earlier rows for which this changed.
        events: new lines of progress.jsonl, in their order.
        more: there is more to read at once.
        problems: why something could not be read.
    """

    reset: bool = False
    results: Results | None = None
    segments: Sequence[FollowedSegment] = ()
    settled: Sequence[Settled] = ()
    events: Sequence[Event] = ()
    more: bool = False
    problems: Sequence[str] = ()


class Follower:
    """Reads what is new in a run directory.

    Args:
        run_dir: the directory.

    Raises:
        InputError: it is not a run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        check_readable(run_dir)
        if not any((run_dir / name).is_file() for name in (RESULTS, PROGRESS, STUDY)):
            raise InputError(
                f"{run_dir} is not a run directory: there is no {RESULTS}; a study writes it when it starts"
            )
        self.run_dir = run_dir
        self.results: Results | None = None
        """The content of results.json when it was last read."""
        self._stamps: tuple[tuple[int, ...], tuple[int, ...]] | None = None
        """What identifies the directory, and the version of results.json that was read."""
        self._segments = Tail(run_dir, SEGMENTS, quoted=True)
        self._progress = Tail(run_dir, PROGRESS)
        self._table = SegmentsReader()
        self._known_events: dict[str, int] = {}
        """The number of the last line of each session."""

    def look(self) -> News:
        """Return what is new. At first that is everything, in several parts if it is much."""
        problems: list[str] = []
        read: list[Results | None] = []
        if self.results is None:
            read.append(self._look_at_results(problems)[0])
        if self.results is None:
            return News(problems=problems)
        if not self.run_dir.is_dir():
            problems.append(f"{self.run_dir} is gone: what is shown is from before")
        starts, data, more = self._read(self._segments, problems)
        # Only now is it known whose rows these are.
        results, is_other = self._look_at_results(problems)
        read.append(results)
        known = next((found for found in reversed(read) if found is not None), None)
        if is_other:
            self._forget()
            return News(reset=True, results=known, more=True, problems=problems)
        if self._stamps is None:
            self._segments.restart()  # these rows are nobody's until results.json is there again
            return News(results=known, problems=problems)
        rows, settled = self._rows(starts, data, problems)
        return News(False, known, rows, settled, self._events(problems), more, problems)

    def close(self) -> None:
        """Close the files."""
        self._segments.close()
        self._progress.close()

    def _look_at_results(self, problems: list[str]) -> tuple[Results | None, bool]:
        """Return the content of results.json if it changed, and whether it is of another study."""
        before = self._stamps
        try:
            now = self._stamps_now()
            if now is None or now == before:
                self._stamps = now
                return None, False
            found = read_results(self.run_dir)
        except InputError as error:
            problems.append(str(error))
            return None, False
        is_other = self.results is not None and (
            (before is not None and before[0] != now[0]) or _study(found) != _study(self.results)
        )
        self._stamps, self.results = now, found
        return found, is_other

    def _stamps_now(self) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        try:
            folder, file = self.run_dir.stat(), inside(self.run_dir, RESULTS).stat()
        except OSError:
            return None
        return (folder.st_dev, folder.st_ino), (file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns)

    def _forget(self) -> None:
        """Read everything anew."""
        self._table = SegmentsReader()
        self._known_events.clear()
        self._segments.restart()
        self._progress.restart()

    def _read(self, tail: Tail, problems: list[str]) -> tuple[bool, bytes, bool]:
        try:
            return tail.read()
        except (InputError, OSError) as error:
            problems.append(str(error))
            return False, b"", False

    def _rows(self, starts: bool, data: bytes, problems: list[str]) -> tuple[list[FollowedSegment], list[Settled]]:
        if starts:
            self._table.begin()
        assert self.results is not None
        try:
            return self._table.read(data, self.results.task.space)
        except InputError as error:
            problems.append(f"{self.run_dir / SEGMENTS}: {error}")
            return [], []

    def _events(self, problems: list[str]) -> list[Event]:
        events = []
        for line in self._read(self._progress, problems)[1].splitlines():
            event = of_line(line)
            if event is not None and event.n > self._known_events.get(event.session, -1):
                self._known_events[event.session] = event.n
                events.append(event)
        return events


def _study(results: Results) -> tuple[object, ...]:
    """Return what a study keeps while arms, seeds and trials are added to it."""
    task = results.task
    of_task = task.name, task.unit, task.primary, task.search_space, task.fingerprint
    return results.name, *of_task, results.intervals, results.interval
