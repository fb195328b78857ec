"""The progress that `hpo.tune` and `hpo.run_study` show: a bar in a notebook's cell or on a terminal.

It is drawn when answers come in, without a thread: functions run in this process, and if one forks, its child must not find the
console locked.
"""

import sys
import time
from typing import Any

from rich.console import Console
from rich.live import Live

from hpo.core.observer import StudyStarted, StudyStopped
from hpo.engine.progress import Progress

PATIENCE = 1.0
"""Seconds before progress is shown: what takes less has ended before it could be read."""
_EVERY = 0.25
"""The least seconds between two drawings."""


class _Drawn(Progress):
    """Progress that is drawn from time to time, and at the end if it was drawn before."""

    _next = 0.0
    _is_drawn = False

    def started(self, study: StudyStarted) -> None:
        """Start counting."""
        super().started(study)
        self._next = self._start + PATIENCE

    def _count(self, computed: bool) -> None:
        super()._count(computed)
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _EVERY
            self._is_drawn = True
            self._draw()

    def stopped(self, end: StudyStopped) -> None:
        """Show the final state."""
        if self._is_drawn:
            self._draw()

    def _draw(self) -> None:
        """Draw the table in the place of the one before."""
        raise NotImplementedError


class TerminalProgress(_Drawn):
    """Progress on standard error, below what the user's code prints."""

    _live: Live | None = None

    def stopped(self, end: StudyStopped) -> None:
        """Show the final state."""
        super().stopped(end)
        if self._live is not None:
            self._live.stop()

    def _draw(self) -> None:
        if self._live is None:
            console = Console(stderr=True)
            # Standard output may be a file, which the user's lines must reach.
            self._live = Live(console=console, auto_refresh=False, redirect_stdout=sys.stdout.isatty())
            self._live.start()
        self._live.update(self.table(self._live.console), refresh=True)


class CellProgress(_Drawn):
    """Progress in the output of a notebook's cell."""

    _handle: Any = None

    def _draw(self) -> None:
        if self._handle is None:
            from IPython.display import display

            self._handle = display(self.table(), display_id=True)  # type: ignore[no-untyped-call]
        else:
            self._handle.update(self.table())
