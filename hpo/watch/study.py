"""What `hpo watch` knows of a run directory, as plain values for JSON."""

import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

from hpo.report.charts import Record, curves_record, metric_record, rounded, study_record, times_record
from hpo.report.head import verdicts
from hpo.report.numbers import clean, test_quantity
from hpo.results.document import Results
from hpo.results.follower import Follower, News
from hpo.results.progress import Counts, Event, Finished, Started, Stopped, Warned, is_alive
from hpo.watch.rows import ArmRows

LOOK = 0.3
"""The least seconds between two looks at the files."""
READ = 0.5
"""The most seconds to read before a request is answered; the rest is read by the next one."""
MOST_SAID = 200
"""The most lines of the log, and the most warnings."""
MOST_POINTS = 20_000
"""The most points of all incumbents' curves."""


@dataclass
class _Session:
    """A session of the study, as far as it is known from progress.jsonl."""

    started: Started
    last: float
    counts: Counts | None = None
    stopped: Stopped | None = None


@dataclass
class _Known:
    """What is known of one study. Another one in the same place begins anew."""

    results: Results | None = None
    version: int = 0
    """Grows with each change of `results`."""
    arms: dict[tuple[int, str], ArmRows] = field(default_factory=dict)
    places: list[tuple[ArmRows, int]] = field(default_factory=list)
    """By the id of a segment, where its row is."""
    sessions: dict[str, _Session] = field(default_factory=dict)
    log: deque[Record] = field(default_factory=lambda: deque(maxlen=MOST_SAID))
    warnings: deque[Record] = field(default_factory=lambda: deque(maxlen=MOST_SAID))


class Watched:
    """A run directory that is followed. Its methods may be called from several threads.

    Args:
        run_dir: the directory.

    Raises:
        InputError: it is not a run directory.
    """

    def __init__(self, run_dir: Path) -> None:
        self._follower = Follower(run_dir)
        self._lock = Lock()
        self._epoch = 0
        """How many studies there were in this place before."""
        self._known = _Known()
        self._problems: tuple[str, ...] = ()
        self._is_reading = True
        self._next = 0.0
        self._study: tuple[int, Record] | None = None
        """What `study` returned last, and for which version of the results."""

    def state(self) -> Record:
        """Return how far the study is, what runs, and the curves of unfinished replicates."""
        with self._lock:
            self._look()
            known, results = self._known, self._known.results
            found: Record = {
                "epoch": self._epoch,
                "version": known.version,
                "reading": self._is_reading,
                "segments": len(known.places),
                "problems": list(self._problems),
                "log": list(known.log),
                "warnings": list(known.warnings),
                **_session(list(known.sessions.values()), results),
            }
            if results is not None:
                found |= self._running(results)
            return found

    def study(self) -> Record | None:
        """Return the study and its finished replicates; None before results.json is there."""
        with self._lock:
            self._look()
            results = self._known.results
            if results is None:
                return None
            if self._study is None or self._study[0] != self._known.version:
                self._study = self._known.version, _study(results)
            return {"epoch": self._epoch, "version": self._known.version, **self._study[1]}

    def rows(self, seed: int, arm: str, since: int) -> Record | None:
        """Return the rows of an arm in a replicate, and the schedule of its best; None if the study has no such arm or seed.

        Args:
            seed: of the replicate.
            arm: the label.
            since: the version that is known; if it is the present one, no rows are sent.
        """
        with self._lock:
            self._look()
            results = self._known.results
            if results is None or seed not in results.planned_seeds or arm not in results.labels:
                return None
            rows = self._known.arms.get((seed, arm))
            version = 0 if rows is None else rows.version
            found = {"epoch": self._epoch, "version": version, "seed": seed, "arm": arm}
            return found if rows is None or version == since else {**found, **rows.record(results)}

    # --- reading ---------------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        """Read what is new, but not for long."""
        now = time.monotonic()
        if now < self._next:
            return
        news = self._take(self._follower.look())
        while news.more and time.monotonic() < now + READ:
            news = self._take(self._follower.look())
        self._is_reading = news.more
        self._next = 0.0 if news.more else time.monotonic() + LOOK

    def _take(self, news: News) -> News:
        if news.reset:
            self._known, self._study = _Known(), None
            self._epoch += 1
        known = self._known
        if news.results is not None:
            known.results = news.results
            known.version += 1
        for segment in news.segments:
            assert known.results is not None  # rows come after it
            place = segment.seed, segment.arm
            rows = known.arms.get(place)
            if rows is None:
                rows = known.arms[place] = ArmRows(known.results)
            known.places.append((rows, len(rows)))
            rows.add(segment)
        for number, best in news.settled:
            rows, row = known.places[number]
            rows.settle(row, best)
        for event in news.events:
            _note(known, event)
        self._problems = tuple(news.problems)
        return news

    def _running(self, results: Results) -> Record:
        """Return what is known of unfinished replicates, and of the best so far."""
        finished = set(results.finished_seeds)
        order = {label: number for number, label in enumerate(results.labels)}
        open_ = sorted(
            (
                (place, rows)
                for place, rows in self._known.arms.items()
                if place[0] not in finished and place[1] in order
            ),
            key=lambda item: (item[0][0], order[item[0][1]]),
        )
        times = times_record(results)
        metric = results.task.metric(results.task.primary)
        best = max(
            ((place, rows.best) for place, rows in self._known.arms.items() if rows.best and place[1] in order),
            key=lambda item: metric.oriented(item[1].value),
            default=None,
        )
        return {
            "charged": [{"seed": seed, "arm": arm, "rows": len(rows)} for (seed, arm), rows in open_],
            "curves": _thinned([_curve(seed, arm, times, rows.curve(results)) for (seed, arm), rows in open_]),
            "best": None if best is None else {"seed": best[0][0], "arm": best[0][1], "value": rounded(best[1].value)},
        }


def _study(results: Results) -> Record:
    metric = results.task.metric(results.metric)
    return {
        "study": study_record(results),
        "budget": results.population_size * results.intervals,
        "scored": metric_record(metric, test_quantity(metric, results.task)),
        "score": f"{results.scored} {clean(metric.name)}",
        "in_progress": results.in_progress,
        "arms": {label: _arm(results, label) for label in results.labels} if results.replicates else {},
        "curves": _thinned(curves_record(results)),
        "finished": [
            {
                "seed": replicate.seed,
                "tests": {label: arm.test.get(results.metric) for label, arm in replicate.arms.items()},
            }
            for replicate in results.replicates
        ],
        "verdicts": [vars(verdict) for verdict in verdicts(results)[1]],
    }


def _arm(results: Results, label: str) -> Record:
    """Return what the finished replicates say of an arm, as `ArmCounts` does of a session."""
    metric = results.task.metric(results.task.primary)
    found = [(replicate.arms[label], replicate.seed) for replicate in results.replicates]
    values = [(value, seed) for arm, seed in found if (value := arm.validation.get(metric.name)) is not None]
    best, seed = max(values, key=lambda one: metric.oriented(one[0]), default=(None, None))
    charged = sum(arm.charged_intervals for arm, _ in found)
    return {"replicates": len(found), "charged": charged, "best": rounded(best), "best_seed": seed}


def _curve(seed: int, arm: str, times: list[float | None], values: list[float | None]) -> Record:
    """Return the curve of an unfinished replicate, as `hpo.report.charts.curves_record` does."""
    return {"seed": seed, "arm": arm, "x": times[: len(values)], "y": values}


def _thinned(curves: list[Record]) -> list[Record]:
    """Return curves with at most `MOST_POINTS` points together: every so many, and the last one of each."""
    every = -(-sum(len(curve["x"]) for curve in curves) // MOST_POINTS)
    if every <= 1:
        return curves
    return [curve | {axis: curve[axis][::-1][::every][::-1] for axis in "xy"} for curve in curves]


# --- progress ------------------------------------------------------------------------------------------------------------


def _note(known: _Known, event: Event) -> None:
    """Take a line of progress.jsonl."""
    if isinstance(event, Started):
        known.sessions[event.session] = _Session(event, event.time)
        _say(
            known,
            event,
            f"session {len(known.sessions)} started: process {event.pid} on {event.host}, {_workers(event)}",
        )
        return
    session = known.sessions.get(event.session)
    if session is None:
        return  # its first line is gone: not a file that hpo wrote
    session.last = event.time
    if isinstance(event, Counts):
        session.counts = event
    elif isinstance(event, Finished):
        _say(known, event, f"seed {event.seed} is done{_scores(known.results, event)}")
    elif isinstance(event, Warned):
        known.warnings.append({"time": event.time, "text": event.text})
        _say(known, event, f"warning: {event.text}")
    else:
        session.stopped = event
        _say(known, event, f"stopped: {event.reason}" + (f": {event.message}" if event.message else ""))


def _scores(results: Results | None, event: Finished) -> str:
    """Return the values of a finished replicate, for the log."""
    if results is None:
        return ""
    shown = test_quantity(results.task.metric(results.metric), results.task)
    values = {label: metrics.get(results.metric) for label, metrics in event.tests.items()}
    listed = ", ".join(f"{clean(label)} {shown.text(value)}" for label, value in values.items())
    return f": {results.scored} {shown.name} {listed}"


def _say(known: _Known, event: Event, text: str) -> None:
    known.log.append({"time": event.time, "text": text})


def _workers(event: Started) -> str:
    return f"{event.workers} worker{'' if event.workers == 1 else 's'} ({event.executor}, {event.device})"


def _session(sessions: list[_Session], results: Results | None) -> Record:
    """Return the state of the last session."""
    now = time.time()
    if not sessions:
        is_done = results is not None and not results.in_progress
        return {"status": "done" if is_done else "unknown", "now": now, "sessions": 0}
    session = sessions[-1]
    counts = session.counts
    found: Record = {
        "status": _status(session, now),
        "now": now,
        "sessions": len(sessions),
        "started": session.started.time,
        "last": session.last,
        "workers": session.started.workers,
        "seeds": list(session.started.seeds),
        "answers": session.started.answers,
        "message": session.stopped.message if session.stopped else "",
        "counts": None,
    }
    if counts is not None:
        found["counts"] = {
            "time": counts.time,
            "elapsed": counts.elapsed,
            "answers": counts.answers,
            "left": counts.left,
            "arms": {label: vars(arm) for label, arm in counts.arms.items()},
            "in_flight": counts.in_flight if found["status"] in ("running", "silent") else 0,
            "running": [vars(job) for job in counts.running],
        }
    return found


def _status(session: _Session, now: float) -> str:
    if session.stopped is not None:
        return session.stopped.reason
    alive = is_alive(session.started, session.last, now)
    return "silent" if alive is None else "running" if alive else "killed"
