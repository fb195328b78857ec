"""Progress of `hpo run`: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.live import Live

from hpo.engine.progress import Progress, number
from hpo.engine.registration import cannot_decide
from hpo.engine.scheduler import Answer
from hpo.study.spec import StudySpec

_PLAIN_SECONDS = 30.0


class ConsoleProgress(Progress):
    """Shows the progress of a study on a console.

    Args:
        console: shows a live table if it is a terminal, and otherwise a line from time to time.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def started(self, spec: StudySpec, seeds: Sequence[int], workers: int, run_dir: Path) -> None:
        """Start showing progress."""
        super().started(spec, seeds, workers, run_dir)
        self._last_line = self._start
        of = "" if len(seeds) == len(spec.seeds) else f" of {len(spec.seeds)}"
        counts = f"{len(seeds)}{of} {_plural('replicate', len(spec.seeds))}, {len(spec.arms)} {_plural('arm', len(spec.arms))}"
        self._say(f"starting {spec.name}: {counts}, {workers} {_plural('worker', workers)}; output in {run_dir}")
        if hopeless := cannot_decide(spec):
            self._say(f"warning: {hopeless}")
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self.table)
            self._live.start()

    def answered(self, seed: int, label: str, answer: Answer, computed: bool) -> None:
        """Count an answer."""
        super().answered(seed, label, answer, computed)
        if self._live is None and time.monotonic() - self._last_line >= _PLAIN_SECONDS:
            self._print()

    def finished_replicate(self, seed: int, tests: Mapping[str, Mapping[str, float | None]], done: int) -> None:
        """Print the values of the replicate."""
        super().finished_replicate(seed, tests, done)
        spec = self._spec
        metric = spec.comparison.metric if spec.comparison else self._metric.name
        shown = ", ".join(f"{label} {number(metrics.get(metric))}" for label, metrics in tests.items())
        scored = "test" if spec.task.tested else "best"
        self._say(f"seed {seed} done ({done} of {len(spec.seeds)}), {scored} {metric}: {shown}")

    def stopped(self) -> None:
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
