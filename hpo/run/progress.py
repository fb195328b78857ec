"""Progress of `hpo run`: a live table on a terminal, plain lines elsewhere."""

import time

from rich.console import Console
from rich.live import Live

from hpo.core.observer import ReplicateDone, StudyStarted, StudyStopped
from hpo.engine.progress import Progress, number

_PLAIN_SECONDS = 30.0


class ConsoleProgress(Progress):
    """Shows the progress of a study on a console.

    Args:
        console: shows a live table if it is a terminal, and otherwise a line from time to time.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def started(self, study: StudyStarted) -> None:
        """Start showing progress."""
        super().started(study)
        self._last_line = self._start
        now, planned, arms, workers = len(study.seeds), len(study.planned_seeds), len(study.arms), study.workers
        of = "" if now == planned else f" of {planned}"
        counts = f"{now}{of} {_plural('replicate', planned)}, {arms} {_plural('arm', arms)}"
        self._say(f"starting {study.name}: {counts}, {workers} {_plural('worker', workers)}; output in {study.run_dir}")
        for note in study.notes:
            self._say(f"warning: {note}")
        if self._console.is_terminal:
            self._live = Live(
                console=self._console, refresh_per_second=4, get_renderable=lambda: self.table(self._console)
            )
            self._live.start()

    def _count(self, computed: bool) -> None:
        super()._count(computed)
        if self._live is None and time.monotonic() - self._last_line >= _PLAIN_SECONDS:
            self._print()

    def finished_replicate(self, replicate: ReplicateDone) -> None:
        """Print the values of the replicate."""
        super().finished_replicate(replicate)
        study = self._study
        metric = study.compared or self._metric.name
        shown = ", ".join(f"{label} {number(metrics.get(metric))}" for label, metrics in replicate.tests.items())
        scored = "test" if study.is_tested else "best"
        done = f"seed {replicate.seed} done ({replicate.done} of {len(study.planned_seeds)})"
        self._say(f"{done}, {scored} {metric}: {shown}")

    def stopped(self, end: StudyStopped) -> None:
        """Show the final state."""
        if self._live is not None:
            self._live.stop()
        elif self._answers:
            self._print()

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _print(self) -> None:
        self._last_line = time.monotonic()
        self._say(self.line())


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
