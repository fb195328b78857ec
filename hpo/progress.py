"""What a study shows while it runs: a live table on a terminal, plain lines elsewhere."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.scheduler import Answer
from hpo.segments import Split
from hpo.spec import StudySpec
from hpo.store import Stored
from hpo.study import Observer

_PLAIN_SECONDS = 30.0


@dataclass
class _ArmProgress:
    retrains: int
    """Intervals that are retrained for it in each replicate."""
    tests: int
    """Models that are tested in each."""
    tested: int = 0
    charged: int = 0
    computed: int = 0
    retrained: int = 0
    best: dict[int, float] = field(default_factory=dict)
    """The best validation value so far, by seed."""
    seed: int | None = None

    @property
    def replicates(self) -> int:
        """How many of its replicates are done."""
        return self.tested // self.tests


class Progress(Observer):
    """Follows a study on a console.

    Args:
        console: where to show it; a live table if it is a terminal, else a line now and then.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._last_line = 0.0

    def started(self, spec: StudySpec, seeds: Sequence[int], workers: int, run_dir: Path) -> None:
        """Begin to show."""
        self._spec, self._seeds, self._metric = spec, seeds, spec.task.metrics[0]
        self._arms = {
            arm.label: _ArmProgress(spec.retrains_of(arm) * spec.intervals, spec.tests_of(arm)) for arm in spec.arms
        }
        self._budget = spec.population_size * spec.intervals
        each = sum(self._budget + arm.retrains + arm.tests for arm in self._arms.values())
        self._total = len(seeds) * each
        self._most = "at most " if spec.comparison is not None and spec.comparison.stopping == "anytime" else ""
        self._answers = self._computed = 0
        self._start = self._last_line = time.monotonic()
        self._console.print(
            f"{spec.name}: {len(seeds)} of {len(spec.seeds)} replicates, {len(spec.arms)} arms, {workers}"
            f" worker{'s' * (workers != 1)}, in {run_dir}",
            highlight=False,
        )
        if self._console.is_terminal:
            self._live = Live(console=self._console, refresh_per_second=4, get_renderable=self._table)
            self._live.start()

    def answered(self, seed: int, label: str, answer: Answer, computed: bool) -> None:
        """Count an answer."""
        arm = self._arms[label]
        arm.seed = seed
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
        """Say what the replicate found."""
        metric = self._spec.comparison.metric if self._spec.comparison else self._metric.name
        shown = ", ".join(f"{label} {_number(metrics.get(metric))}" for label, metrics in tests.items())
        self._console.print(
            f"seed {seed} done ({done} of {len(self._spec.seeds)}), test {metric}: {shown}",
            highlight=False,
            markup=False,
        )

    def stopped(self) -> None:
        """Show for the last time."""
        if self._live is not None:
            self._live.stop()
        elif self._answers:
            self._line()

    def _note_best(self, arm: _ArmProgress, seed: int, answer: Stored) -> None:
        value = answer.metrics.get(self._metric.name)
        if value is None:
            return
        best = arm.best.get(seed)
        if best is None or self._metric.oriented(value) > self._metric.oriented(best):
            arm.best[seed] = value

    def _eta(self) -> str:
        elapsed = time.monotonic() - self._start
        if not self._computed:
            return "?"
        # Answers from the store come at once: only what is computed in this sitting tells the pace.
        cached = self._answers - self._computed
        shared = cached / max(self._answers, 1) if self._computed > cached else 0.0
        left = (self._total - self._answers) * (1 - shared)
        return self._most + _duration(elapsed / self._computed * left)

    def _line(self) -> None:
        self._last_line = time.monotonic()
        arms = "; ".join(
            f"{label}: {arm.replicates}/{len(self._seeds)} replicates, {arm.charged} intervals charged"
            f" ({arm.computed} computed here), best {self._best(arm)}"
            for label, arm in self._arms.items()
        )
        self._console.print(
            f"[{_duration(time.monotonic() - self._start)}] {100 * self._answers / self._total:.0f}%, about {self._eta()} left."
            f" {arms}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def _best(self, arm: _ArmProgress) -> str:
        return "-" if arm.seed is None else _number(arm.best.get(arm.seed))

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False)
        table.add_column("arm")
        columns = ("replicates", "charged", "computed", "retrained", f"best validation {self._metric.name}")
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
            f"{100 * self._answers / self._total:.0f}%  {_duration(time.monotonic() - self._start)} gone,"
            f" about {self._eta()} left",
        )
        return Group(table, bar)


def _number(value: float | None) -> str:
    return "diverged" if value is None else f"{value:.4g}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
