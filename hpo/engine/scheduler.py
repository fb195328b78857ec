"""One ready queue for everything that a study can do now.

Arms are processes in the sense of a simulation: generators that yield jobs and are sent the answers. The scheduler answers from
the store if it can, computes each segment once even if several arms wait for it, and keeps all workers busy as long as any arm
of any started replicate has work. It decides when a job runs, and never affects its result.
"""

import heapq
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Generic, TypeVar

from hpo.core.errors import HpoError
from hpo.core.segments import Key, Segment, Split
from hpo.execution.jobs import Executor, Job, JobId, Outcome
from hpo.store import Claim, Store, Stored, TestResult

R = TypeVar("R")


Answer = Stored | TestResult
_LOOK_AGAIN = 0.05
"""Seconds between checks of segments that another coordinator computes."""
Process = Generator[Sequence[Job], Sequence[Any], R]


@dataclass
class Tally:
    """Counts of what the scheduler did in this session."""

    computed: int = 0
    cache_hits: int = 0
    recomputed: int = 0
    retries: int = 0
    busy_seconds: float = 0.0
    peak_memory: int = 0


@dataclass(frozen=True)
class Arrangement(Generic[R]):
    """A process and its state.

    Args:
        name: (seed, label), for observers.
        process: the generator.
        done: called with its return value.
    """

    name: tuple[int, str]
    process: Process[R]
    done: Callable[[R], None]


@dataclass(eq=False)
class _Running(Generic[R]):
    name: tuple[int, str]
    process: Process[R]
    priority: tuple[int, ...]
    done: Callable[[R], None]
    jobs: Sequence[Job] = ()
    answers: dict[JobId, Answer] = field(default_factory=dict)
    missing: int = 0
    latest: dict[int, tuple[Key, int, Key | None]] = field(default_factory=dict)
    """The last segment of each member of a search: its key, its interval, and the key of the one before."""

    def take(self, at: JobId, answer: Answer) -> None:
        self.answers[at] = answer
        if not isinstance(answer, Stored):
            return
        if answer.segment.split is Split.FULL:
            self.latest.clear()  # the search is over; a retraining needs only its own last state
            return
        before, _, earlier = self.latest.get(answer.segment.member, (None, 0, None))
        before = earlier if before == at[0] else before
        self.latest[answer.segment.member] = (at[0], answer.segment.interval, before)

    def needed_next(self) -> Iterator[Key]:
        """Return the last segment of every member, and the one before for members ahead: others may still start from it."""
        behind = min((interval for _, interval, _ in self.latest.values()), default=0)
        for key, interval, before in self.latest.values():
            yield key
            if before is not None and interval > behind:
                yield before


class Scheduler:
    """Runs processes against a store and an executor.

    Args:
        executor: runs jobs.
        store: provides finished results, and keeps new ones.
        observe: called with (process name, job, answer, computed) whenever a process gets an answer; computed: this session
            computed it, and this process is the first to get it.
        failure: returns the error for a job that ended with an exception in the task, and its traceback.
        is_finished: says whether a member with some validation metrics has converged; see `Task.is_finished`.
        until: the value of `time.monotonic()` at which to stop.
        submitted: called with (name of the process that asked first, job) whenever the executor gets a job.
        returned: called with each outcome.
        pulse: called before each wait; returns after how many seconds at most to call it again.
    """

    def __init__(
        self,
        executor: Executor,
        store: Store,
        observe: Callable[[tuple[int, str], Job, Answer, bool], None],
        failure: Callable[[Job, str], HpoError],
        is_finished: Callable[[Mapping[str, float]], bool] = lambda _: False,
        until: float = math.inf,
        submitted: Callable[[tuple[int, str], Job], None] = lambda *_: None,
        returned: Callable[[Outcome], None] = lambda _: None,
        pulse: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self._executor = executor
        self._is_finished = is_finished
        self._store = store
        self._observe = observe
        self._failure = failure
        self._until = until
        self._submitted = submitted
        self._returned = returned
        self._pulse = pulse
        self.out_of_time = False
        """Whether the last run stopped because of the time, with work left."""
        self.tally = Tally()
        self._ready: list[tuple[tuple[int, ...], int, Job]] = []
        self._number = itertools.count()
        self._waiting: dict[JobId, list[_Running[Any] | Job]] = {}
        """Processes that wait for an answer, and jobs whose parent's checkpoint is being recomputed."""
        self._priority: dict[JobId, tuple[int, ...]] = {}
        self._in_flight: dict[JobId, Job] = {}
        self._elsewhere: dict[JobId, Job] = {}
        """Jobs that another coordinator on the shared store is computing."""
        self._unfinished: set[int] = set()
        self._live: dict[int, _Running[Any]] = {}
        """The processes that have not ended, by identity."""

    def run(
        self,
        replicates: Iterator[tuple[int, Sequence[Arrangement[Any]]]],
        enough: Callable[[], bool] = lambda: False,
        unfinished: Iterable[int] = (),
    ) -> None:
        """Run all processes to their ends, or until it is time to stop: jobs that are still running are then dropped.

        Args:
            replicates: (seed, its arms); the next one starts only when a worker
                would otherwise be idle, and earlier ones have priority.
            enough: returns whether to stop early; jobs that are still running are then dropped.
            unfinished: the seeds of later replicates whose checkpoints may be needed; those of all others are evicted first.
        """
        self._unfinished.update(unfinished)
        order = itertools.count()
        exhausted = False
        while not enough():
            while not (exhausted or enough()) and len(self._in_flight) + len(self._ready) < self._executor.slots:
                group = next(replicates, None)
                if group is None:
                    exhausted = True
                    break
                self._start(next(order), *group)
            if time.monotonic() >= self._until and (self._ready or self._in_flight or self._elsewhere):
                self.out_of_time = True
                break
            self._dispatch()
            if self._in_flight or self._elsewhere:
                # Handle failures last: store everything else before the study stops.
                for outcome in sorted(self._wait(), key=lambda outcome: outcome.error is not None):
                    self._take(outcome)
                self._look_elsewhere()
            elif exhausted and not self._ready:
                break
        self._store.segments.evict((), self._unfinished)
        if self._live and not (enough() or self.out_of_time):
            raise HpoError(
                f"{len(self._live)} searches wait for something that nobody runs"
            )  # a fault of the scheduler

    def _start(self, number: int, seed: int, arrangements: Sequence[Arrangement[Any]]) -> None:
        self._unfinished.add(seed)
        left = len(arrangements)

        def finish(done: Callable[[Any], None], answer: Any) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._unfinished.discard(seed)
            done(answer)

        for index, arranged in enumerate(arrangements):
            done = partial(finish, arranged.done)
            running = _Running(arranged.name, arranged.process, (number, index), done)
            self._live[id(running)] = running
            self._advance(running, None)

    def _advance(self, running: _Running[Any], answers: Sequence[Answer] | None) -> None:
        """Send answers to a process until it needs something that the store does not have."""
        while True:
            try:
                running.jobs = running.process.send(answers)  # type: ignore[arg-type]
            except StopIteration as stop:
                del self._live[id(running)]
                running.done(stop.value)
                return
            running.answers = {}
            running.missing = 0
            for job in running.jobs:
                self._resolve(running, job)
            if running.missing:
                return
            answers = [running.answers[job.id] for job in running.jobs]

    def _resolve(self, running: _Running[Any], job: Job) -> None:
        """Answer a job from the store, or queue it."""
        at = job.id
        if at in running.answers:
            return
        if at in self._waiting:
            if running not in self._waiting[at]:
                self._waiting[at].append(running)
                running.missing += 1
            return
        answer = self._known(job)
        if answer is not None:
            self.tally.cache_hits += 1
            running.take(at, answer)
            if not job.state:  # recomputing a lost state is not a new answer
                self._observe(running.name, job, answer, False)
            return
        self._waiting[at] = [running]
        running.missing += 1
        if job.state:
            self.tally.recomputed += 1
        self._queue(job, running.priority)

    def _known(self, job: Job) -> Answer | None:
        if job.test:
            return self._store.segments.test(job.key)
        stored = self._store.segments.get(job.key)
        if stored is None and job.segment.parent is not None:
            parent = self._store_get(job.segment.parent)
            if parent.diverged or self._stops(parent, job.segment):  # there is nothing to compute
                stored = replace(parent, segment=job.segment)
                self._store.put(job.key, job.seed, stored)
        if stored is not None and job.state and stored.checkpoint is None and not stored.diverged:
            return None
        return stored

    def _stops(self, parent: Stored, child: Segment) -> bool:
        """Return whether a member has converged, and would go on with the same hyperparameters."""
        return self._is_finished(parent.metrics) and dict(parent.segment.hparams) == dict(child.hparams)

    def _trained(self, key: Key) -> Key:
        """Return the segment whose training made a segment's state: an earlier one, if the member has converged."""
        segment = self._store_get(key).segment
        while segment.parent is not None and self._stops(parent := self._store_get(segment.parent), segment):
            key, segment = segment.parent, parent.segment
        return key

    def _store_get(self, key: Key) -> Stored:
        stored = self._store.segments.get(key)
        if stored is None:
            raise HpoError(f"segment {key[:12]} is not in the store, but its child was asked for")
        return stored

    def _queue(self, job: Job, priority: tuple[int, ...]) -> None:
        self._priority[job.id] = priority
        heapq.heappush(self._ready, ((*priority, job.segment.interval), next(self._number), job))

    def _dispatch(self) -> None:
        while self._ready and len(self._in_flight) < self._executor.slots:
            _, _, job = heapq.heappop(self._ready)
            ready = self._ready_job(job)
            if ready is not None:
                self._compute(job, ready)

    def _compute(self, job: Job, ready: Job) -> None:
        """Give a job to the executor, unless another coordinator computes it or has computed it.

        Args:
            job: the job.
            ready: the same job with its starting state.
        """
        claim = self._store.claim(job.key, test=job.test, state=job.state)
        if claim is Claim.OURS:
            self._in_flight[job.id] = job
            self._executor.submit(ready)
            self._submitted(self._asked_by(job.id), job)
        elif claim is Claim.THEIRS:
            self._elsewhere[job.id] = job
        else:
            self._found(job)

    def _asked_by(self, at: JobId) -> tuple[int, str]:
        """Return the name of the process that waits longest for a job, or for one that starts from it."""
        waiter = self._waiting[at][0]
        return self._asked_by(waiter.id) if isinstance(waiter, Job) else waiter.name

    def _wait(self) -> Sequence[Outcome]:
        """Wait for outcomes until it is time to stop, and only briefly if another coordinator is computing something."""
        seconds = min(max(0.0, self._until - time.monotonic()), self._pulse())
        if not self._elsewhere:
            return self._executor.wait(None if seconds == math.inf else seconds)
        if self._in_flight:
            return self._executor.wait(_LOOK_AGAIN)
        time.sleep(_LOOK_AGAIN)
        return []

    def _look_elsewhere(self) -> None:
        """Collect what other coordinators have finished, and queue what they gave up."""
        for at, job in list(self._elsewhere.items()):
            claim = self._store.claim(job.key, test=job.test, state=job.state)
            if claim is Claim.THEIRS:
                continue
            del self._elsewhere[at]
            if claim is Claim.OURS:
                # Release the claim so that others need not wait while the job is queued.
                self._store.unclaim(job.key, test=job.test)
                self._queue(job, self._priority[at])
            else:
                self._found(job)

    def _found(self, job: Job) -> None:
        """Collect what another coordinator computed; queue it again if it has been removed since."""
        answer = self._known(job)
        if answer is None:
            self._queue(job, self._priority[job.id])
            return
        self.tally.cache_hits += 1
        self._hand_out(job, answer, computed=False)

    def _ready_job(self, job: Job) -> Job | None:
        """Return a job with its starting state; None if a lost checkpoint must be recomputed first."""
        if job.starts_from is None:
            return job
        key = self._trained(job.starts_from)
        stored = self._store_get(key)
        if stored.checkpoint is None and not stored.diverged:
            self._recompute(key, job)
            return None
        return replace(job, parent=stored.checkpoint)

    def _recompute(self, key: Key, child: Job) -> None:
        """Queue a finished segment again because its checkpoint is gone; `child` waits for it."""
        waiting = self._waiting.setdefault((key, False), [])
        waiting.append(child)
        if len(waiting) == 1:
            self.tally.recomputed += 1
            again = Job(key, self._store_get(key).segment, child.seed, child.stream, state=True)
            self._queue(again, self._priority[child.id])

    def _take(self, outcome: Outcome) -> None:
        job = self._in_flight.pop(outcome.job.id)
        self._returned(outcome)
        self.tally.busy_seconds += outcome.seconds
        self.tally.retries += outcome.retries
        self.tally.peak_memory = max(self.tally.peak_memory, outcome.peak_memory)
        if outcome.error is not None:
            raise self._failure(job, outcome.error)
        if outcome.parent_missing:
            assert job.starts_from is not None
            self._store.segments.lost(self._trained(job.starts_from))
            self._store.unclaim(job.key, test=job.test)
            self._queue(job, self._priority[job.id])
            return
        self.tally.computed += 1
        self._hand_out(job, self._keep(job, outcome))
        self._store.segments.evict(self._pinned(), self._unfinished)

    def _keep(self, job: Job, outcome: Outcome) -> Answer:
        if job.test:
            result = TestResult(outcome.metrics, outcome.correct, outcome.fingerprint, outcome.diverged)
            self._store.put_test(job.key, result)
            return result
        stored = Stored(job.segment, outcome.metrics, outcome.diverged, outcome.checkpoint)
        self._store.put(job.key, job.seed, stored)
        return stored

    def _hand_out(self, job: Job, answer: Answer, *, computed: bool = True) -> None:
        at = job.id
        del self._priority[at]
        for waiter in self._waiting.pop(at):
            if isinstance(waiter, Job):
                self._queue(waiter, self._priority[waiter.id])
                continue
            waiter.take(at, answer)
            waiter.missing -= 1
            if not waiter.jobs[0].state:
                self._observe(waiter.name, job, answer, computed)
            computed = False
            if not waiter.missing:
                self._advance(waiter, [waiter.answers[job.id] for job in waiter.jobs])

    def _pinned(self) -> Iterator[Key]:
        """Return the segments whose states are needed next: parents of queued jobs, and the last segment of every member.

        A member that finishes an interval early is not yet a parent, but it may become one.
        """
        for running in self._live.values():
            yield from running.needed_next()
        for job in itertools.chain(self._in_flight.values(), (entry[2] for entry in self._ready)):
            if job.starts_from is not None:
                yield job.starts_from
