"""Feeds a tracker with what a run directory holds, and what is added to it."""

import time
from collections.abc import Callable
from pathlib import Path

from hpo.core.observer import ArmPlan, ReplicateDone, SegmentDone, StudyStarted, StudyStopped
from hpo.core.tracker import Tracker
from hpo.results.document import Results
from hpo.results.follower import Follower, News
from hpo.results.progress import Stopped
from hpo.results.segments_reader import FollowedSegment

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds after which a destination that failed is tried again."""


class Feed:
    """Gives a tracker everything that is new, and tries again what failed.

    Args:
        tracker: the tracker.
        follower: of the run directory.
        warn: gets what went wrong, once per kind.
    """

    def __init__(self, tracker: Tracker, follower: Follower, warn: Callable[[str], None]) -> None:
        self._tracker, self._follower, self._warn = tracker, follower, warn
        self._forget()
        self._warned: set[str] = set()
        self._pause, self._next = _FIRST_PAUSE, 0.0

    def _forget(self) -> None:
        self._segments: list[SegmentDone] = []
        """What is not written yet; so are `_replicates`."""
        self._replicates: list[ReplicateDone] = []
        self._seeds: set[int] = set()
        """The replicates that were seen; they are in the order of their seeds, and may finish in another."""
        self._opened = False
        self._end = StudyStopped("interrupted")

    @property
    def missing(self) -> int:
        """The number of segments that are not written yet."""
        return len(self._segments)

    def step(self, *, last: bool = False) -> bool:
        """Write what is new; return whether there was anything.

        Args:
            last: also try what has just failed.
        """
        news = self._follower.look()
        if news.reset:
            self._forget()
        self._take(news)
        results = self._follower.results
        if results is not None and (last or time.monotonic() >= self._next):
            self._deliver(results)
        return bool(news.reset or news.results or news.segments or news.events or news.more)

    def finish(self) -> None:
        """Write everything that there is, and close the destination."""
        while self.step(last=True):
            pass
        if self._opened:
            self._try("stopped", lambda: self._tracker.stopped(self._end))

    def _take(self, news: News) -> None:
        for problem in news.problems:
            self._warn_once(problem)
        # The file may come from anybody, and labels become parts of paths: those in results.json were checked.
        labels = () if self._follower.results is None else self._follower.results.labels
        self._segments += [_segment(row) for row in news.segments if row.arm in labels]
        for event in news.events:
            if isinstance(event, Stopped):
                self._end = StudyStopped(event.reason, event.message)
        if news.results is not None:
            for replicate in news.results.replicates:
                if replicate.seed not in self._seeds:
                    self._seeds.add(replicate.seed)
                    tests = {label: arm.test for label, arm in replicate.arms.items()}
                    self._replicates.append(ReplicateDone(replicate.seed, tests, len(self._seeds)))

    def _deliver(self, results: Results) -> None:
        """Write what is not written; if that fails, open the destination anew next time, to see what it has."""
        if self._opened and not self._segments and not self._replicates:
            return
        self._opened = self._written(study_of(results, self._follower.run_dir))
        self._pause = _FIRST_PAUSE if self._opened else min(2 * self._pause, _LONGEST_PAUSE)
        self._next = 0.0 if self._opened else time.monotonic() + self._pause

    def _written(self, study: StudyStarted) -> bool:
        """Open the destination if needed, and write to it; return whether nothing is left."""
        if not self._opened and not self._try("started", lambda: self._tracker.started(study)):
            return False
        if not self._try("log", lambda: self._tracker.segments(self._segments)):
            return False
        self._segments.clear()
        while self._replicates:
            if not self._try("finished_replicate", lambda: self._tracker.finished_replicate(self._replicates[0])):
                return False
            del self._replicates[0]
        return True

    def _try(self, what: str, act: Callable[[], None]) -> bool:
        try:
            act()
        except Exception as error:
            self._warn_once(f"{what} raised {type(error).__name__}: {error}", f"{what} {type(error).__name__}")
            return False
        return True

    def _warn_once(self, text: str, kind: str | None = None) -> None:
        if (kind or text) not in self._warned:
            self._warned.add(kind or text)
            self._warn(text)


def study_of(results: Results, run_dir: Path) -> StudyStarted:
    """Return the study of a run directory as observers get it; how many workers it has is not known."""
    task = results.task
    retrained = 0 if not results.tested else results.retrains * results.intervals
    inherited = [arm.replay == "inherited_weights" for arm in results.arms]
    tests = max(1, results.retrains) if results.tested else 0
    primary = [metric for metric in task.metrics if metric.name == task.primary]
    return StudyStarted(
        name=results.name,
        run_dir=run_dir,
        arms=tuple(
            ArmPlan(arm.label, arm.optimizer, 0 if inherits else retrained, min(tests, 1) if inherits else tests)
            for arm, inherits in zip(results.arms, inherited, strict=True)
        ),
        seeds=results.planned_seeds,
        planned_seeds=results.planned_seeds,
        space=task.space,
        metrics=(*primary, *(metric for metric in task.metrics if metric.name != task.primary)),
        population_size=results.population_size,
        intervals=results.intervals,
        interval=results.interval,
        unit=task.unit,
        is_function=results.is_function,
        is_tested=results.tested,
        compared=None if results.comparison is None else results.comparison.metric,
        may_end_early=results.anytime,
        workers=0,
    )


def _segment(row: FollowedSegment) -> SegmentDone:
    return SegmentDone(
        seed=row.seed,
        arm=row.arm,
        member=row.member,
        interval=row.interval,
        parent_member=row.parent_member,
        parent_interval=None,
        hparams=row.hparams,
        metrics=row.metrics,
        diverged=row.diverged,
        computed=True,
        retraining=False,
        transform=row.transform,
    )
