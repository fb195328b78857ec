"""Reports the events of a study to its observers."""

import heapq
import itertools
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from hpo.core.observer import ArmPlan, JobEnded, JobKind, JobStarted, Observer, SegmentDone, StudyStarted, Tested
from hpo.core.segments import Segment, Split
from hpo.engine.registration import cannot_decide
from hpo.engine.scheduler import Answer
from hpo.execution.jobs import Job, JobId, Outcome
from hpo.store import Stored
from hpo.study.spec import StudySpec

_PACKAGE = Path(__file__).parents[1]


class Observers:
    """Calls all observers. An exception in one becomes a warning, once per kind: an unreachable tracker must not end the study.

    Args:
        observers: who gets the events.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = [*observers]
        self._failed: set[tuple[int, str, type[Exception]]] = set()
        self._early: list[str] | None = []
        """Warnings from before the study started; None once it has."""

    def __call__(self, event: str, record: object) -> None:
        """Report an event: the name of a method of `Observer`, and its record."""
        for number, observer in enumerate(self._observers):
            try:
                getattr(observer, event)(record)
            except Exception as error:
                kind = number, event, type(error)
                if kind in self._failed:
                    continue
                self._failed.add(kind)
                what = f"the observer's {event} raised {type(error).__name__}: {error}; the study continues"
                warnings.warn(what, RuntimeWarning, stacklevel=2)

    def put_first(self, observer: Observer) -> None:
        """Call an observer before the others, from now on."""
        self._observers.insert(0, observer)

    def start(self, study: StudyStarted) -> None:
        """Report that the study starts, then the warnings from before."""
        self("started", study)
        early, self._early = self._early or [], None
        for text in early:
            self("warning", text)

    @contextmanager
    def hearing_warnings(self) -> Iterator[None]:
        """Report the warnings of this package, which are shown as before, as events."""
        before = warnings.showwarning

        def shown(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            before(message, category, filename, lineno, file, line)
            if not Path(filename).is_relative_to(_PACKAGE):
                return
            if self._early is None:
                self("warning", str(message))
            else:
                self._early.append(str(message))

        warnings.showwarning = shown
        try:
            yield
        finally:
            warnings.showwarning = before


class Jobs:
    """Reports the jobs in flight.

    Args:
        tell: reports an event.
    """

    def __init__(self, tell: Observers) -> None:
        self._tell = tell
        self._numbers = itertools.count()
        self._workers = itertools.count()
        self._idle: list[int] = []
        self._running: dict[JobId, JobStarted] = {}

    def submitted(self, name: tuple[int, str], job: Job) -> None:
        """Report a job that an executor got from the arm `name`: (seed, label)."""
        worker = heapq.heappop(self._idle) if self._idle else next(self._workers)
        started = JobStarted(next(self._numbers), worker, _kind(job), *name, job.segment.member, job.segment.interval)
        self._running[job.id] = started
        self._tell("job_started", started)

    def returned(self, outcome: Outcome) -> None:
        """Report a job that an executor has returned."""
        started = self._running.pop(outcome.job.id)
        heapq.heappush(self._idle, started.worker)
        self._tell("job_ended", JobEnded(started, outcome.seconds, outcome.retries))


def _kind(job: Job) -> JobKind:
    if job.test or job.state:
        return "test" if job.test else "checkpoint"
    return "retraining" if job.segment.split is Split.FULL else "search"


def study_started(spec: StudySpec, seeds: Sequence[int], run_dir: Path, workers: int) -> StudyStarted:
    """Return a study as observers get it."""
    hopeless = cannot_decide(spec)
    return StudyStarted(
        name=spec.name,
        run_dir=run_dir,
        arms=tuple(
            ArmPlan(arm.label, arm.optimizer_name, spec.retrains_of(arm) * spec.intervals, spec.tests_of(arm))
            for arm in spec.arms
        ),
        seeds=tuple(seeds),
        planned_seeds=spec.seeds,
        space=spec.space,
        metrics=tuple(spec.task.metrics),
        population_size=spec.population_size,
        intervals=spec.intervals,
        interval=float(spec.interval),
        unit=spec.task.unit,
        is_function=spec.task.is_function,
        is_tested=spec.task.tested,
        compared=None if spec.comparison is None else spec.comparison.metric,
        may_end_early=spec.comparison is not None and spec.comparison.stopping == "anytime",
        workers=workers,
        notes=() if hopeless is None else (hopeless,),
    )


def answer_event(
    name: tuple[int, str], job: Job, answer: Answer, parent: Segment | None, computed: bool
) -> SegmentDone | Tested:
    """Return the answer to a job of the arm `name`, (seed, label), as observers get it; `parent` is that of the job's segment."""
    member = job.segment.member
    if not isinstance(answer, Stored):
        return Tested(*name, member, answer.metrics, answer.diverged, computed)
    segment = answer.segment
    return SegmentDone(
        *name,
        member=member,
        interval=segment.interval,
        parent_member=None if parent is None else parent.member,
        parent_interval=None if parent is None else parent.interval,
        hparams=segment.hparams,
        metrics=answer.metrics,
        diverged=answer.diverged,
        computed=computed,
        retraining=segment.split is Split.FULL,
        transform=segment.transform,
    )


def live_progress() -> Observer | None:
    """Return what shows progress in a notebook or on standard error; None where nobody would see it."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    notebook = hasattr(shell, "kernel")
    if not notebook and not (sys.stderr is not None and sys.stderr.isatty()):
        return None
    from hpo.engine.live import CellProgress, TerminalProgress

    return CellProgress() if notebook else TerminalProgress()
