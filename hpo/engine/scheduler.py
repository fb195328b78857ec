"""One ready queue for everything that a study can do now.

Arms are processes in the sense of a simulation: generators that yield the segments they need and are sent the results. The
scheduler answers from the store where it can, computes each segment once however many arms wait for it, and keeps all workers
busy as long as any arm of any started replicate has work. It decides when something runs, never what comes out.
"""

import heapq
import itertools
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from hpo.core.errors import HpoError, StudyFailed
from hpo.core.segments import Key, Segment, Split
from hpo.execution.jobs import Executor, Job, Outcome, SegmentJob, TestJob
from hpo.store import Claim, Store, Stored, TestResult

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Need:
    """What a process waits for: a segment's result, or the test of the model at a segment.

    Args:
        key: the segment's content key.
        segment: the segment.
        seed: the replicate's seed.
        stream: the arm's stream.
        test: whether it is the test that is needed.
        state: whether the segment's checkpoint must be there, too: a lost one is computed again.
    """

    key: Key
    segment: Segment
    seed: int
    stream: int
    test: bool = False
    state: bool = False


Answer = Stored | TestResult
_LOOK_AGAIN = 0.05
"""Seconds between two looks at what another coordinator computes."""
Process = Generator[Sequence[Need], Sequence[Any], R]


@dataclass
class Tally:
    """What the scheduler did in this sitting."""

    computed: int = 0
    cache_hits: int = 0
    recomputed: int = 0
    retries: int = 0
    busy_seconds: float = 0.0
    peak_memory: int = 0


@dataclass(frozen=True)
class Arrangement(Generic[R]):
    """A process and what belongs to it.

    Args:
        name: for whoever observes, (seed, label).
        process: the generator.
        done: called with what it returns.
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
    needs: Sequence[Need] = ()
    answers: dict[tuple[Key, bool], Answer] = field(default_factory=dict)
    missing: int = 0
    latest: dict[int, tuple[Key, int, Key | None]] = field(default_factory=dict)
    """The last segment of each member of a search: its key, its interval, and the key of the one before."""

    def take(self, at: tuple[Key, bool], answer: Answer) -> None:
        self.answers[at] = answer
        if not isinstance(answer, Stored):
            return
        if answer.segment.split is Split.FULL:
            self.latest.clear()  # the search is over; a retraining goes on from its own last state alone
            return
        before, _, earlier = self.latest.get(answer.segment.member, (None, 0, None))
        before = earlier if before == at[0] else before
        self.latest[answer.segment.member] = (at[0], answer.segment.interval, before)

    def needed_next(self) -> Iterator[Key]:
        """Return where all members are, and where those that are ahead were before: others may yet go on from there."""
        behind = min((interval for _, interval, _ in self.latest.values()), default=0)
        for key, interval, before in self.latest.values():
            yield key
            if before is not None and interval > behind:
                yield before


class Scheduler:
    """Runs processes against a store and an executor.

    Args:
        executor: runs jobs.
        store: answers what is finished, and keeps what is new.
        observe: called with (process name, answer, computed) whenever a process gets an answer; computed: it was computed now,
            and for this process first.
    """

    def __init__(
        self, executor: Executor, store: Store, observe: Callable[[tuple[int, str], Answer, bool], None]
    ) -> None:
        self._executor = executor
        self._store = store
        self._observe = observe
        self.tally = Tally()
        self._ready: list[tuple[tuple[int, ...], int, Need]] = []
        self._number = itertools.count()
        self._waiting: dict[tuple[Key, bool], list[_Running[Any] | Need]] = {}
        """Who waits for an answer: processes, and needs whose parent's checkpoint is computed again."""
        self._priority: dict[tuple[Key, bool], tuple[int, ...]] = {}
        self._in_flight: dict[tuple[Key, bool], Need] = {}
        self._elsewhere: dict[tuple[Key, bool], Need] = {}
        """What another coordinator on a shared store computes."""
        self._unfinished: set[int] = set()
        self._live: dict[int, _Running[Any]] = {}
        """The processes that have not ended, by identity."""

    def run(
        self,
        replicates: Iterator[tuple[int, Sequence[Arrangement[Any]]]],
        enough: Callable[[], bool] = lambda: False,
        unfinished: Iterable[int] = (),
    ) -> None:
        """Run all processes to their ends.

        Args:
            replicates: (seed, its arms); the next one is started only when a worker
                would be idle otherwise, and earlier ones go first.
            enough: says whether nothing more is wanted: what still runs is left, and counts for nothing.
            unfinished: the seeds of replicates to come whose checkpoints may be needed; those of others go first.
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
            self._dispatch()
            if self._in_flight or self._elsewhere:
                # What failed comes last: all else is kept before the study stops.
                for outcome in sorted(self._wait(), key=lambda outcome: outcome.error is not None):
                    self._take(outcome)
                self._look_elsewhere()
            elif exhausted and not self._ready:
                break
        self._store.evict((), self._unfinished)
        if self._live and not enough():
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
        """Send answers to a process until it needs something that is not there."""
        while True:
            try:
                running.needs = running.process.send(answers)  # type: ignore[arg-type]
            except StopIteration as stop:
                del self._live[id(running)]
                running.done(stop.value)
                return
            running.answers = {}
            running.missing = 0
            for need in running.needs:
                self._resolve(running, need)
            if running.missing:
                return
            answers = [running.answers[need.key, need.test] for need in running.needs]

    def _resolve(self, running: _Running[Any], need: Need) -> None:
        """Answer a need from what is there, or queue it."""
        at = (need.key, need.test)
        if at in running.answers:
            return
        if at in self._waiting:
            if running not in self._waiting[at]:
                self._waiting[at].append(running)
                running.missing += 1
            return
        answer = self._known(need)
        if answer is not None:
            self.tally.cache_hits += 1
            running.take(at, answer)
            if not need.state:  # a state that was lost is no new answer
                self._observe(running.name, answer, False)
            return
        self._waiting[at] = [running]
        running.missing += 1
        if need.state:
            self.tally.recomputed += 1
        self._queue(need, running.priority)

    def _known(self, need: Need) -> Answer | None:
        if need.test:
            return self._store.test(need.key)
        stored = self._store.get(need.key)
        if stored is None and need.segment.parent is not None and self._store_get(need.segment.parent).diverged:
            # A diverged member stays diverged: nothing to compute.
            stored = Stored(need.segment, {}, True, None)
            self._store.put(need.key, need.seed, stored)
        if stored is not None and need.state and stored.checkpoint is None and not stored.diverged:
            return None
        return stored

    def _store_get(self, key: Key) -> Stored:
        stored = self._store.get(key)
        if stored is None:
            raise HpoError(f"segment {key[:12]} is not in the store, but its child was asked for")
        return stored

    def _queue(self, need: Need, priority: tuple[int, ...]) -> None:
        self._priority[need.key, need.test] = priority
        heapq.heappush(self._ready, ((*priority, need.segment.interval), next(self._number), need))

    def _dispatch(self) -> None:
        while self._ready and len(self._in_flight) < self._executor.slots:
            _, _, need = heapq.heappop(self._ready)
            job = self._job(need)
            if job is not None:
                self._compute(need, job)

    def _compute(self, need: Need, job: Job) -> None:
        """Give a job to the executor, unless another coordinator has it or had it."""
        at = (need.key, need.test)
        claim = self._store.claim(need.key, test=need.test, state=need.state)
        if claim is Claim.OURS:
            self._in_flight[at] = need
            self._executor.submit(job)
        elif claim is Claim.THEIRS:
            self._elsewhere[at] = need
        else:
            self._found(need)

    def _wait(self) -> Sequence[Outcome]:
        """Wait for outcomes; not for long where something is computed elsewhere."""
        if not self._elsewhere:
            return self._executor.wait()
        if self._in_flight:
            return self._executor.wait(_LOOK_AGAIN)
        time.sleep(_LOOK_AGAIN)
        return []

    def _look_elsewhere(self) -> None:
        """Take what other coordinators have finished, and queue what they gave up."""
        for at, need in list(self._elsewhere.items()):
            claim = self._store.claim(need.key, test=need.test, state=need.state)
            if claim is Claim.THEIRS:
                continue
            del self._elsewhere[at]
            if claim is Claim.OURS:
                # Nobody else waits for it while it is not with a worker.
                self._store.unclaim(need.key, test=need.test)
                self._queue(need, self._priority[at])
            else:
                self._found(need)

    def _found(self, need: Need) -> None:
        """Take what another coordinator computed; queue it again where that is gone by now."""
        at = (need.key, need.test)
        answer = self._known(need)
        if answer is None:
            self._queue(need, self._priority[at])
            return
        self.tally.cache_hits += 1
        self._hand_out(at, answer, computed=False)

    def _job(self, need: Need) -> Job | None:
        """Return the job for a need; None when a lost checkpoint has to be computed first."""
        parent_key = need.key if need.test else need.segment.parent
        parent = None
        if parent_key is not None:
            stored = self._store_get(parent_key)
            parent = stored.checkpoint
            if parent is None and not stored.diverged:
                self._recompute(parent_key, need)
                return None
        if need.test:
            return TestJob(need.key, need.segment, need.seed, need.stream, parent)
        return SegmentJob(need.key, need.segment, need.seed, need.stream, parent)

    def _recompute(self, key: Key, child: Need) -> None:
        """Queue a finished segment again, because its checkpoint is gone, and let `child` wait for it."""
        waiting = self._waiting.setdefault((key, False), [])
        waiting.append(child)
        if len(waiting) == 1:
            self.tally.recomputed += 1
            again = Need(key, self._store_get(key).segment, child.seed, child.stream, state=True)
            self._queue(again, self._priority[child.key, child.test])

    def _take(self, outcome: Outcome) -> None:
        job = outcome.job
        at = (job.key, isinstance(job, TestJob))
        need = self._in_flight.pop(at)
        self.tally.busy_seconds += outcome.seconds
        self.tally.retries += outcome.retries
        self.tally.peak_memory = max(self.tally.peak_memory, outcome.peak_memory)
        if outcome.error is not None:
            raise StudyFailed(
                f"an exception in the task stopped the study at {job}:\n{outcome.error}"
                "Everything that is finished was kept: mend the cause and run the same command again."
            )
        if outcome.parent_missing:
            parent = job.key if isinstance(job, TestJob) else job.segment.parent
            assert parent is not None
            self._store.lost(parent)
            self._store.unclaim(need.key, test=need.test)
            self._queue(need, self._priority[at])
            return
        self.tally.computed += 1
        self._hand_out(at, self._keep(need, outcome))
        self._store.evict(self._pinned(), self._unfinished)

    def _keep(self, need: Need, outcome: Outcome) -> Answer:
        if need.test:
            result = TestResult(outcome.metrics, outcome.correct, outcome.fingerprint, outcome.diverged)
            self._store.put_test(need.key, result)
            return result
        stored = Stored(need.segment, outcome.metrics, outcome.diverged, outcome.checkpoint)
        self._store.put(need.key, need.seed, stored)
        return stored

    def _hand_out(self, at: tuple[Key, bool], answer: Answer, *, computed: bool = True) -> None:
        del self._priority[at]
        for waiter in self._waiting.pop(at):
            if isinstance(waiter, Need):
                self._queue(waiter, self._priority[waiter.key, waiter.test])
                continue
            waiter.take(at, answer)
            waiter.missing -= 1
            if not waiter.needs[0].state:
                self._observe(waiter.name, answer, computed)
            computed = False
            if not waiter.missing:
                self._advance(waiter, [waiter.answers[need.key, need.test] for need in waiter.needs])

    def _pinned(self) -> Iterator[Key]:
        """Return the segments whose states are needed next: parents of what is to run, and where all members are now.

        A member of a population that is done before the others is nobody's parent yet, but it will be.
        """
        for running in self._live.values():
            yield from running.needed_next()
        for need in itertools.chain(self._in_flight.values(), (entry[2] for entry in self._ready)):
            if need.test:
                yield need.key
            elif need.segment.parent is not None:
                yield need.segment.parent
