"""Writes progress.jsonl, from which others see how far a study is; see `hpo.results.progress`.

There is no thread: lines are written when results come in, and while the scheduler waits for workers. If the file cannot be
written, there is a warning, and the study goes on without it.
"""

import math
import os
import time
import uuid
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from hpo.core.errors import InputError
from hpo.core.files import append_regular, inside, open_regular, write_atomic
from hpo.core.observer import JobEnded, JobStarted, ReplicateDone, StudyStarted, StudyStopped
from hpo.core.run_files import PROGRESS
from hpo.engine.progress import Progress
from hpo.results.progress import (
    HEARTBEAT,
    MOST_RUNNING,
    ArmCounts,
    Counts,
    Finished,
    Line,
    Running,
    Started,
    Stopped,
    Warned,
    identity,
    of_line,
    to_line,
)
from hpo.store import Store

L = TypeVar("L", bound=Line)

EVERY = 0.5
"""The least seconds between two lines with counts."""
COST = 0.01
"""The largest part of the time that such lines may take."""
MOST_BYTES = 2**22
"""The size of all lines with counts, above which the file is replaced by one without them."""
MOST_EVENTS = 10_000
"""The most other lines to keep."""
_LARGEST = 2**26
"""The most bytes of an earlier session's file to read; hpo writes fewer."""
_MOST_WARNINGS = 200
_LONGEST = 4000
"""The most characters of a warning or an error."""


class ProgressFile(Progress):
    """Writes what happens in one session, and how far it is.

    Args:
        store: of the study, open: nobody else writes to its run directory.
        place: the description of the executor for execution.json.
    """

    def __init__(self, store: Store, place: Mapping[str, Any]) -> None:
        self._store = store
        self._place = place
        self._path = inside(store.run_dir, PROGRESS)
        self._session = uuid.uuid4().hex[:12]
        self._n = 0
        self._warnings = 0
        self._running: dict[int, Running] = {}
        """The jobs in flight, by number."""
        self._events: deque[bytes] = deque(maxlen=MOST_EVENTS)
        """All lines but those with counts."""
        self._counts_bytes = 0
        self._is_off = False
        self._has_changed = True
        self._next = self._beat = 0.0
        """When the next line with counts may be written, and when it must be."""

    def started(self, study: StudyStarted) -> None:
        """Add a session to the file."""
        super().started(study)
        self._events.extend(_earlier(self._path))
        event = self._line(
            Started,
            **identity(),
            workers=study.workers,
            executor=self._place["executor"],
            device=self._place["device"],
            seeds=study.seeds,
            budget=self._budget,
            answers=self._total,
        )
        self._events.append(to_line(event))
        self._rewrite()
        for note in study.notes:
            self.warning(note)

    def job_started(self, job: JobStarted) -> None:
        """Add a job in flight."""
        self._has_changed = True
        of_job = job.worker, job.kind, job.seed, job.arm, job.member, job.interval
        self._running[job.number] = Running(*of_job, since=round(time.time(), 3))

    def job_ended(self, job: JobEnded) -> None:
        """Remove a job in flight."""
        self._has_changed = True
        del self._running[job.job.number]

    def finished_replicate(self, replicate: ReplicateDone) -> None:
        """Write the values of a replicate."""
        super().finished_replicate(replicate)
        tests = {label: dict(metrics) for label, metrics in replicate.tests.items()}
        self._note(self._line(Finished, seed=replicate.seed, tests=tests, done=replicate.done))

    def warning(self, text: str) -> None:
        """Write a warning."""
        self._warnings += 1
        if self._warnings <= _MOST_WARNINGS:
            self._note(self._line(Warned, text=text[:_LONGEST]))

    def stopped(self, end: StudyStopped) -> None:
        """Write the last counts, and how the session ended."""
        self._running.clear()
        self._write_counts()
        self._note(self._line(Stopped, reason=end.reason, message=end.message[:_LONGEST]))

    def pulse(self) -> float:
        """Write how far the study is, if there is something new, or if nothing was written for a while.

        Returns:
            After how many seconds to call this again, even if nothing happens.
        """
        now = time.monotonic()
        if now >= (self._next if self._has_changed else self._beat):
            self._write_counts()
            pause = (time.monotonic() - now) / COST
            self._has_changed = False
            self._next, self._beat = now + max(EVERY, pause), now + HEARTBEAT + pause
        return max(0.0, (self._next if self._has_changed else self._beat) - now)

    def _count(self, computed: bool) -> None:
        super()._count(computed)
        self._has_changed = True

    def _line(self, kind: Callable[..., L], **content: Any) -> L:
        self._n += 1
        return kind(session=self._session, n=self._n - 1, time=round(time.time(), 3), **content)

    def _write_counts(self) -> None:
        left = self.seconds_left()
        line = to_line(
            self._line(
                Counts,
                elapsed=round(time.monotonic() - self._start, 1),
                answers=self._answers,
                left=None if left is None else round(left, 1),
                arms={label: self._counts(label) for label in self._arms},
                in_flight=len(self._running),
                running=tuple(islice(self._running.values(), MOST_RUNNING)),
            )
        )
        self._counts_bytes += len(line)
        if self._counts_bytes > MOST_BYTES:
            self._rewrite(line)
        else:
            self._append(line)

    def _counts(self, label: str) -> ArmCounts:
        arm = self._arms[label]
        best, seed = (None, None) if arm.best is None or not math.isfinite(arm.best[0]) else arm.best
        retrains = arm.retrains * len(self._seeds)
        return ArmCounts(arm.replicates, arm.charged, arm.computed, arm.retrained, retrains, best, seed)

    def _note(self, event: Finished | Warned | Stopped) -> None:
        line = to_line(event)
        self._events.append(line)
        self._append(line)

    def _append(self, line: bytes) -> None:
        """Append a line; write the file anew if it is gone, or has another name elsewhere, which would change too."""

        def write() -> None:
            if not append_regular(self._path, line):
                self._replace(line)

        self._try(write)

    def _rewrite(self, line: bytes = b"") -> None:
        """Replace the file by one without the counts so far, and with a line at its end."""
        self._try(lambda: self._replace(line))

    def _replace(self, line: bytes) -> None:
        self._counts_bytes = len(line)
        lines = self._events if line in self._events else [*self._events, line]
        write_atomic(self._path, b"".join(lines), sync=False)

    def _try(self, write: Callable[[], None]) -> None:
        """Write, if the run directory is still there, and as long as that works."""
        if self._is_off or not self._store.has_its_folder():  # the error that ends the study says that it is gone
            return
        try:
            write()
        except (OSError, InputError) as error:
            self._is_off = True
            what = (
                f"{self._store.shown / PROGRESS} cannot be written: {error}; `hpo watch` sees nothing of this session"
            )
            warnings.warn(what, RuntimeWarning, stacklevel=2)


def _earlier(path: Path) -> Iterator[bytes]:
    """Yield the lines of earlier sessions that are still of interest; results.json has their replicates."""
    with suppress(OSError), os.fdopen(open_regular(path), "rb") as file:
        for line in file.read(_LARGEST).splitlines(keepends=True):
            event = of_line(line)
            if isinstance(event, Started | Warned | Stopped):
                yield line
