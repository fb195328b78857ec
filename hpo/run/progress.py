"""Progress of a running study: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.core.segments import Split
from hpo.engine.registration import cannot_decide
from hpo.engine.scheduler import Answer
from hpo.engine.session import Observer
from hpo.engine.timing import clock
from hpo.store import Stored
from hpo.study.spec import StudySpec

_PLAIN_SECONDS = 30.0


@dataclass
class _ArmProgress:
    retrains: int
    """Intervals to retrain in each replicate."""
    tests: int
    """Models to test in each replicate."""
    tested: int = 0
    finished: int = 0
    """Finished replicates of the study."""
    charged: int = 0
    computed: int = 0
    retrained: int = 0
    best: tuple[float, int] | None = None
    """The best validation value so far, over all seeds, with its seed."""

    @property
    def replicates(self) -> int:
        """The number of finished replicates."""
        return self.tested // self.tests if self.tests else self.finished


class Progress(Observer):
    """Shows the progress of a study on a console.

    Args:
        console: shows a live table if it is a terminal, and otherwise a line from time to time.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._last_line = 0.0

    def started(self, spec: StudySpec, seeds: Sequence[int], workers: int, run_dir: Path) -> None:
        """Start showing progress."""
        self._spec, self._seeds, self._metric = spec, seeds, spec.task.metrics[0]
        self._arms = {
            arm.label: _ArmProgress(spec.retrains_of(arm) * spec.intervals, spec.tests_of(arm)) for arm in spec.arms
        }
        self._budget = spec.population_size * spec.intervals
        self._scored = "test" if spec.task.tested else "best"
        each = sum(self._budget + arm.retrains + arm.tests for arm in self._arms.values())
        self._total = len(seeds) * each
        self._most = "at most " if spec.comparison is not None and spec.comparison.stopping == "anytime" else ""
        self._answers = self._computed = 0
        self._start = self._last_line = time.monotonic()
        of = "" if len(seeds) == len(spec.seeds) else f" of {len(spec.seeds)}"
        counts = f"{len(seeds)}{of} {_plural('replicate', len(spec.seeds))}, {len(spec.arms)} {_plural('arm', len(spec.arms))}"
        self._say(f"starting {spec.name}: {counts}, {workers} {_plural('worker', workers)}; output in {run_dir}")
        if hopeless := cannot_decide(spec):
            self._say(f"warning: {hopeless}")
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._table)
            self._live.start()

    def answered(self, seed: int, label: str, answer: Answer, computed: bool) -> None:
        """Count an answer."""
        arm = self._arms[label]
        self._answers += 1
        self._computed += computed
        if isinstance(answer, Stored):
            if answer.segment.split is Split.FULL:
                arm.retrained += 1
            else:
                arm.charged += 1
                arm.computed += computed
                self._note_best(arm, seed, answer)
        else:
            arm.tested += 1
        if self._live is None and time.monotonic() - self._last_line >= _PLAIN_SECONDS:
            self._line()

    def finished_replicate(self, seed: int, tests: Mapping[str, Mapping[str, float | None]], done: int) -> None:
        """Print the values of the replicate."""
        for arm in self._arms.values():
            arm.finished += 1
        metric = self._spec.comparison.metric if self._spec.comparison else self._metric.name
        shown = ", ".join(f"{label} {_number(metrics.get(metric))}" for label, metrics in tests.items())
        self._say(f"seed {seed} done ({done} of {len(self._spec.seeds)}), {self._scored} {metric}: {shown}")

    def stopped(self) -> None:
        """Show the final state."""
        if self._live is not None:
            self._live.stop()
        elif self._answers:
            self._line()

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _note_best(self, arm: _ArmProgress, seed: int, answer: Stored) -> None:
        value = answer.metrics.get(self._metric.name)
        if value is None:
            return
        if arm.best is None or self._metric.oriented(value) > self._metric.oriented(arm.best[0]):
            arm.best = value, seed

    def _left(self) -> str:
        return "done" if self._answers >= self._total else f"about {self._eta()} left"

    def _eta(self) -> str:
        elapsed = time.monotonic() - self._start
        if not self._computed:
            return "?"
        # Answers from the store are immediate: only computed ones indicate the pace.
        cached = self._answers - self._computed
        shared = cached / max(self._answers, 1) if self._computed > cached else 0.0
        left = (self._total - self._answers) * (1 - shared)
        return self._most + clock(elapsed / self._computed * left)

    def _line(self) -> None:
        self._last_line = time.monotonic()
        arms = "; ".join(
            f"{label}: {arm.replicates}/{len(self._seeds)} replicates, {arm.charged} intervals charged"
            f" ({arm.computed} computed here), best validation {self._metric.name} so far {self._best(arm)}"
            for label, arm in self._arms.items()
        )
        self._say(
            f"[{clock(time.monotonic() - self._start)}] {100 * self._answers / self._total:.0f}%, {self._left()}."
            f" {arms}"
        )

    def _best(self, arm: _ArmProgress) -> str:
        """The best value so far, with its seed if there are several."""
        if arm.best is None:
            return "-"
        value, seed = arm.best
        return _number(value) + (f" (seed {seed})" if len(self._seeds) > 1 else "")

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        table.add_column("arm")
        columns = ("replicates", "charged", "computed", "retrained", f"best validation {self._metric.name} so far")
        for name in columns:
            table.add_column(name, justify="right")
        budget = len(self._seeds) * self._budget
        for label, arm in self._arms.items():
            table.add_row(
                Text(label),
                f"{arm.replicates}/{len(self._seeds)}",
                f"{arm.charged}/{budget}",
                str(arm.computed),
                f"{arm.retrained}/{len(self._seeds) * arm.retrains}",
                self._best(arm),
            )
        bar = Table.grid(padding=(0, 1))
        bar.add_row(
            ProgressBar(total=self._total, completed=self._answers, width=40),
            f"{100 * self._answers / self._total:.0f}%  {clock(time.monotonic() - self._start)} elapsed, {self._left()}",
        )
        return Group(table, bar)


def _number(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.4g}"


def _plural(word: str, count: int) -> str:
    return word if count == 1 else f"{word}s"
