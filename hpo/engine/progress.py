"""Counts how far a running study is, and says it as a table, a bar or a line."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from hpo.core.observer import Observer, ReplicateDone, SegmentDone, StudyStarted, Tested
from hpo.engine.sparkline import ASCII_BARS, BARS, WIDTH, Incumbent, sparkline
from hpo.engine.timing import clock

_NARROWEST = 6
"""Columns below which there is no line of bars."""


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
    curves: dict[int, Incumbent] = field(default_factory=dict)
    """Of the running replicates, by seed."""
    last: tuple[int, Incumbent] | None = None
    """Of the replicate that finished last, with its seed."""

    @property
    def replicates(self) -> int:
        """The number of finished replicates."""
        return self.tested // self.tests if self.tests else self.finished


class Progress(Observer):
    """Counts the answers of a study; what shows them derives from it."""

    def started(self, study: StudyStarted) -> None:
        """Start counting."""
        self._study, self._seeds, self._metric = study, study.seeds, study.metrics[0]
        self._unit, validation = ("trials", "") if study.is_function else ("intervals", "validation ")
        self._valued = f"best {validation}{self._metric.name} so far"
        self._arms = {arm.label: _ArmProgress(arm.retrained, arm.tests) for arm in study.arms}
        self._budget = study.population_size * study.intervals
        each = sum(self._budget + arm.retrains + arm.tests for arm in self._arms.values())
        self._total = len(study.seeds) * each
        self._most = "at most " if study.may_end_early else ""
        self._answers = self._computed = 0
        self._start = time.monotonic()

    def segment(self, segment: SegmentDone) -> None:
        """Count a segment."""
        arm = self._arms[segment.arm]
        if segment.retraining:
            arm.retrained += 1
        else:
            arm.charged += 1
            arm.computed += segment.computed
            self._note_best(arm, segment)
        self._count(segment.computed)

    def tested(self, test: Tested) -> None:
        """Count a test."""
        self._arms[test.arm].tested += 1
        self._count(test.computed)

    def _count(self, computed: bool) -> None:
        """Count an answer."""
        self._answers += 1
        self._computed += computed

    def finished_replicate(self, replicate: ReplicateDone) -> None:
        """Count the replicate."""
        for arm in self._arms.values():
            arm.finished += 1
            if (curve := arm.curves.pop(replicate.seed, None)) is not None:
                arm.last = replicate.seed, curve

    def line(self) -> str:
        """Return how far every arm is, in one line."""
        arms = "; ".join(
            f"{label}: {arm.replicates}/{len(self._seeds)} replicates, {arm.charged} {self._unit}"
            f"{'' if self._study.is_function else ' charged'} ({arm.computed} computed here), {self._valued} {self._best(arm)}"
            for label, arm in self._arms.items()
        )
        return f"[{clock(time.monotonic() - self._start)}] {self._share()}, {self._left()}. {arms}"

    def table(self, console: Console | None = None) -> Table:
        """Return how far every arm is, above a bar.

        Args:
            console: where it will be shown. The lines of bars get the columns that are left, and letters that it can show.
        """
        shown = Table.grid()
        if len(self._arms) > 1 or len(self._seeds) > 1 or not self._study.is_function:
            arms = self._arms_table()
            if space := self._space(arms, console):
                arms = self._arms_table([self._line_of_bars(arm, space, console) for arm in self._arms.values()])
            shown.add_row(arms)
            shown.add_row(self._bar(40, self._share() + " "))
        else:
            (arm,) = self._arms.values()
            words = f"{arm.charged}/{self._budget} trials", f", best {self._metric.name} {self._best(arm)}"
            space = self._space(self._bar(20, *words), console)
            shown.add_row(self._bar(20, *words, self._line_of_bars(arm, space, console)))
        return shown

    @staticmethod
    def _space(table: Table, console: Console | None) -> int:
        """Return how many columns a line of bars may have beside a table; 0 if they are too few."""
        left = WIDTH if console is None else console.width - console.measure(table).maximum - 2
        return min(left, WIDTH) if left >= _NARROWEST else 0

    def _line_of_bars(self, arm: _ArmProgress, width: int, console: Console | None) -> str:
        """Return how the best value of the oldest running replicate has become better."""
        seed, curve = next(iter(tuple(arm.curves.items())), arm.last or (0, None))
        if curve is None:
            return ""
        bars = ASCII_BARS if console is not None and console.options.ascii_only else BARS
        suffix = f" seed {seed}" if len(self._seeds) > 1 else ""
        return sparkline(curve.points, width - len(suffix), bars) + suffix

    def _arms_table(self, bars: Sequence[str] = ()) -> Table:
        """Return how far every arm is; `bars` are lines for another column."""
        count = len(self._seeds)
        rows = {
            label: {
                "replicates": f"{arm.replicates}/{count}",
                "trials" if self._study.is_function else "charged": f"{arm.charged}/{count * self._budget}",
                "computed": str(arm.computed),
                "retrained": f"{arm.retrained}/{count * arm.retrains}",
                self._valued: self._best(arm),
            }
            for label, arm in self._arms.items()
        }
        if self._study.is_function:
            for cells in rows.values():
                del cells["retrained"]
        table = Table("arm", box=None, pad_edge=False)
        for name in next(iter(rows.values())):
            table.add_column(name, justify="right")
        if bars:
            table.add_column("improvement", no_wrap=True)
        lines = [[Text(line)] for line in bars] or [[]] * len(rows)
        for (label, cells), line in zip(rows.items(), lines, strict=True):
            table.add_row(Text(label), *cells.values(), *line)
        return table

    def _bar(self, width: int, share: str, more: str = "", bars: str = "") -> Table:
        bar = Table.grid(padding=(0, 1))
        words = f"{share} {clock(time.monotonic() - self._start)} elapsed, {self._left()}{more}"
        done = ProgressBar(total=self._total, completed=self._answers, width=width)
        bar.add_row(done, Text(words), *([Text(bars, no_wrap=True)] if bars else []))
        return bar

    def _note_best(self, arm: _ArmProgress, segment: SegmentDone) -> None:
        value = segment.metrics.get(self._metric.name)
        score = -math.inf if value is None else self._metric.oriented(value)
        arm.curves.setdefault(segment.seed, Incumbent()).add(score)
        if value is None:
            return
        if arm.best is None or score > self._metric.oriented(arm.best[0]):
            arm.best = value, segment.seed

    def _share(self) -> str:
        return f"{100 * self._answers / self._total:.0f}%"

    def _left(self) -> str:
        return "done" if self._answers >= self._total else f"about {self._eta()} left"

    def seconds_left(self) -> float | None:
        """Return the estimated time that is left; None before the first computed answer."""
        elapsed = time.monotonic() - self._start
        if not self._computed:
            return None
        # Answers from the store are immediate: only computed ones indicate the pace.
        cached = self._answers - self._computed
        shared = cached / max(self._answers, 1) if self._computed > cached else 0.0
        left = (self._total - self._answers) * (1 - shared)
        return elapsed / self._computed * left

    def _eta(self) -> str:
        left = self.seconds_left()
        return "?" if left is None else self._most + clock(left)

    def _best(self, arm: _ArmProgress) -> str:
        """The best value so far, with its seed if there are several."""
        if arm.best is None:
            return "-"
        value, seed = arm.best
        return number(value) + (f" (seed {seed})" if len(self._seeds) > 1 else "")


def number(value: float | None) -> str:
    """Return a value as progress shows it."""
    return "diverged" if value is None else f"{value:.4g}"
