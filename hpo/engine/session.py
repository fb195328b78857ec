"""Runs a study: all replicates and arms side by side; keeps the files of the run directory up to date."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor as Pool
from contextlib import ExitStack
from dataclasses import fields, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from hpo.core.errors import InputError, StoreError
from hpo.core.garbage import COORDINATING, collections
from hpo.core.locks import readable
from hpo.core.observer import Observer, ReplicateDone, StudyStopped, Tested
from hpo.core.run_files import check_ours
from hpo.core.segments import Split
from hpo.core.task import Task
from hpo.engine.failures import failure
from hpo.engine.keys import Keys
from hpo.engine.observers import Jobs, Observers, answer_event, live_progress, study_started
from hpo.engine.on_finish import notified
from hpo.engine.prepare import Prepared, check_same_study, prepare, try_out
from hpo.engine.progress_file import ProgressFile
from hpo.engine.registration import Registration, plan_of, register
from hpo.engine.replicate import Setting, run_arm
from hpo.engine.results import ArmRecord, evidence, replicate
from hpo.engine.run_dir import Outputs
from hpo.engine.scheduler import Answer, Arrangement, Scheduler, Tally
from hpo.engine.study_result import StudyResult
from hpo.execution.executors import Execution, ExecutorName
from hpo.execution.jobs import Context, Executor, Job
from hpo.execution.memory import peak_memory
from hpo.results.comparisons import decided_after, with_statistics
from hpo.results.document import Environment, Evidence, Replicate, Results, Unfinished
from hpo.schedules.best import Best, best_so_far
from hpo.store import OUT_ADVICE, Store, Stored
from hpo.store.schema import database
from hpo.study.identity import environment
from hpo.study.spec import StudySpec
from hpo.trackers.choice import Choice, chosen
from hpo.trackers.companions import Companions

DEFAULT_CHECKPOINT_BUDGET = 4 * 1024**3


def run_study(
    spec: StudySpec,
    *,
    execution: Execution | None = None,
    out: str | Path | None = None,
    store: str | Path | None = None,
    workers: int | None = None,
    executor: ExecutorName | Pool = "process",
    device: str = "cpu",
    segment_timeout: float | None = None,
    ray_address: str | None = None,
    lanes: int | None = None,
    threads: int = 1,
    gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    seeds: Sequence[int] | None = None,
    report: bool = True,
    follow_journal: bool = False,
    checkpoint_budget: int | None = DEFAULT_CHECKPOINT_BUDGET,
    time_limit: float | None = None,
    on_finish: str | None = None,
    observer: Observer | None = None,
    track: str | Sequence[str] = (),
    progress: bool = True,
) -> StudyResult:
    """Run a study, or continue it.

    Args:
        spec: from `load_study` or `parse_study`.
        execution: where and how segments run, as one record instead of the options `workers` to `resources`.
        out: the run directory; `runs/<study name>` by default.
        store: a folder that several studies share: each segment is computed once, even while several studies run. By
            default the run directory holds everything. See docs/how_to/stores.md.
        workers: the number of worker processes; by default as many as fit on the cores that this process may use or on the nodes of
            a Ray cluster, or the size of the pool.
        executor: `process`; `serial` for everything in this process; `ray` for a cluster; `stacked` for several members as one
            batch of tensors, if the task supports it: results then depend on it and on `lanes`; or any pool of processes with the
            interface of `concurrent.futures.Executor`, which is left open. See docs/how_to/executors.md.
        device: `cpu` or `cuda`.
        segment_timeout: seconds after which a worker is killed and its segment tried once more; for `process` and `ray`. None: no
            limit.
        ray_address: of a Ray cluster, as `ray.init` takes it; by default one is started on this machine.
        lanes: members in one stack, for `stacked`; 8 by default.
        threads: of each member, for torch and linear algebra; results depend on it.
        gpus: of each worker: a fraction of one, or a whole number; for `ray`, and for `process` on `cuda`.
        resources: what else each worker needs of a Ray cluster, by Ray's names; `memory` in bytes.
        seeds: run only these of the planned seeds now.
        report: write report.html, report.md and the figures.
        follow_journal: take the answers of finished arms from the journal, even if their optimizer now asks for other segments.
        checkpoint_budget: bytes of checkpoint files to keep; None keeps all. In a shared store they stay until
            `hpo store gc`.
        time_limit: seconds after which to stop: segments that are running are dropped (those in this process finish), everything
            finished is kept, and the result has `out_of_time`. The same call goes on. None: no limit.
        on_finish: a command of the shell, run when the study is done, has failed, was interrupted or is out of time; see
            docs/how_to/messages.md.
        observer: receives events; see docs/reference/events.md.
        track: trackers that the study is written to, each as `name:destination`, such as `tensorboard:runs/tensorboard`; see
            docs/how_to/trackers.md.
        progress: show the progress of a study that takes more than a second, in a notebook or on a terminal (standard error).

    Raises:
        InputError: something is wrong that the user can fix; nothing was started.
        StudyFailed: a segment failed; finished work was kept.
    """
    options = Execution(
        executor, workers, device, segment_timeout, ray_address, lanes, threads, gpus, dict(resources or {})
    )
    if execution is not None and options != Execution():
        named = ", ".join(item.name for item in fields(Execution))
        raise InputError(f"execution: allowed instead of {named}, not together with them")
    if observer is not None and not isinstance(observer, Observer):
        raise InputError(f"observer = {observer!r}: allowed: an object of a class that derives from hpo.Observer")
    if time_limit is not None and not (isinstance(time_limit, int | float) and time_limit > 0):
        raise InputError(f"time_limit = {time_limit}: allowed: seconds above 0")
    study = prepare(spec, execution or options, seeds)
    work = partial(
        run_prepared,
        study,
        out=out,
        store=store,
        report=report,
        follow_journal=follow_journal,
        checkpoint_budget=checkpoint_budget,
        until=math.inf if time_limit is None else time.monotonic() + time_limit,
        observers=[each for each in (observer, live_progress() if progress else None) if each is not None],
        track=chosen(track, "track"),
    )
    return notified(on_finish, spec.name, study.default_run_dir if out is None else Path(out), work)


def run_prepared(
    study: Prepared,
    *,
    out: str | Path | None = None,
    store: str | Path | None = None,
    report: bool = True,
    follow_journal: bool = False,
    checkpoint_budget: int | None = DEFAULT_CHECKPOINT_BUDGET,
    until: float = math.inf,
    observers: Sequence[Observer] = (),
    track: Sequence[Choice] = (),
) -> StudyResult:
    """Run a study whose options were checked; see `run_study`. `until` is the value of `time.monotonic()` at which to stop."""
    spec, execution, bound = study.spec, study.execution, study.bound
    run_dir = study.default_run_dir if out is None else Path(out)
    is_new = not database(run_dir).exists()
    with ExitStack() as stack:
        if is_new:
            check_ours(run_dir, OUT_ADVICE)
        companions = Companions(track, run_dir)
        tell = Observers([*observers, companions])
        stack.callback(companions.kill)
        stack.enter_context(tell.hearing_warnings())
        if is_new:
            try_out(study)
        try:
            shared = None if store is None else Path(store)
            rows = stack.enter_context(Store(run_dir, shared=shared, checkpoint_budget=checkpoint_budget))
            identity, asks_again = check_same_study(rows, study)
            if asks_again:  # and the optimizers get what is finished from the store
                rows.study.drop_journals()
            rows.set_study(identity)
        except StoreError as error:  # nothing was started
            raise InputError(str(error)) from error
        if not is_new and not any(rows.study.begun()):
            try_out(study)
        context = Context.of(bound, study.numerics, spec.interval, spec.intervals, rows.checkpoint_home)
        executor = execution.open(context, bound.task)
        stack.callback(executor.close)
        outputs = Outputs(rows.run_dir, spec, report=report, shown=run_dir)
        stack.callback(outputs.close)
        keys = Keys(bound, study.numerics, spec.interval, spec.budget)
        setting = Setting(spec, keys, rows, outputs, follow_journal)
        place = execution.place(executor.slots)
        progress = ProgressFile(rows, place)
        tell.put_first(progress)
        session = _Session(setting, tell, progress, _registered(rows, spec), companions)
        stack.enter_context(companions)
        companions.ready()
        tell.start(study_started(spec, study.seeds, run_dir, executor.slots))
        results, drawn = session.run(executor, study.seeds, place, until)
        report_path = rows.shown / drawn.name if drawn else None
        leader = session.leader(results) if session.out_of_time else None
        return StudyResult(results, rows.shown, spec.bound, report_path, session.out_of_time, leader)


def _registered(store: Store, spec: StudySpec) -> Registration | None:
    """Return the registered plan of the comparison; register it if it is new."""
    now = plan_of(spec)
    if now is None:
        return None
    with readable(store.study.path, "the row of the registered plan"):
        known = store.study.meta("registration")
        registration = register(None if known is None else Registration.loads(known), now, store.study.tests_opened())
    store.study.set_meta("registration", registration.dumps())
    return registration


class _Session:
    """One session of a study."""

    def __init__(
        self,
        setting: Setting,
        tell: Observers,
        progress: ProgressFile,
        registration: Registration | None,
        companions: Companions,
    ) -> None:
        self._tell = tell
        self._progress, self._companions = progress, companions
        self._setting, self._outputs = setting, setting.outputs
        self._spec, self._store = setting.spec, setting.store
        self._environment = Environment(**environment(setting.keys.numerics))
        self._sizes = _data_sizes(setting.keys.bound.task)
        self._arms: dict[int, dict[str, ArmRecord]] = {}
        """The finished arms of unfinished replicates."""
        self._records: dict[int, Replicate] = {}
        self._chosen: frozenset[int] = frozenset()
        self._registration = registration
        self.out_of_time = False
        self._ahead: tuple[int, str, Stored] | None = None
        """The best segment of all searches so far, with its seed and arm."""
        self._unfinished: dict[tuple[int, str], Unfinished] = {}
        """How far the searches of unfinished replicates are, by seed and arm."""
        self._shown: Results | None = None
        """The last results that were computed."""
        self._decided: int | None = None
        """The number of replicates after which an anytime-valid comparison was decided."""

    def run(
        self, executor: Executor, seeds: Sequence[int], place: dict[str, Any], until: float
    ) -> tuple[Results, Path | None]:
        """Run replicates, and return the results and the path of the report.

        Args:
            executor: runs their jobs.
            seeds: of the replicates.
            place: the description of the executor for execution.json.
            until: the value of `time.monotonic()` at which to stop.
        """
        self._chosen = frozenset(seeds)
        task = self._spec.task
        jobs = Jobs(self._tell)
        scheduler = Scheduler(
            executor,
            self._store,
            self._observe,
            partial(failure, task),
            task.is_finished,
            until,
            jobs.submitted,
            jobs.returned,
            self._progress.pulse,
        )
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
        complete = False
        try:
            self._outputs.begin(self._results())
            # Replicates that earlier sessions finished stay in the results, even if this one runs other seeds. They come
            # first, so that an interruption removes none of them.
            opened = self._store.study.opened()
            arms = [arm.label for arm in self._spec.arms]
            earlier = [seed for seed in self._spec.seeds if all((seed, label) in opened for label in arms)]
            replicates = self._replicates(list(dict.fromkeys([*earlier, *seeds])))
            with collections(COORDINATING):
                scheduler.run(replicates, self._is_decided, set(self._spec.seeds) - set(earlier))
            self.out_of_time = scheduler.out_of_time
            complete = not self.out_of_time
            end = StudyStopped("done" if complete else "out of time")
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt)
            end = StudyStopped("interrupted" if interrupted else "failed", str(error))
            raise
        finally:
            executor.close()
            self._store.unclaim_all()  # of jobs that did not finish
            self._tell("stopped", end)
            results = self._results()
            if not complete:
                results = replace(results, unfinished=tuple(self._unfinished.values()))
            if self._store.has_its_folder():  # otherwise the error that ends the study reports it
                self._outputs.add_session(
                    self._costs(place, started, time.perf_counter() - clock, scheduler.tally, executor.slots),
                    self._store.segments.checkpoint_bytes,
                )
                self._outputs.write(results, complete=complete, aside=False)
            self._companions.study_ended(done=complete)
            self._outputs.settle()
        drawn = self._outputs.draw()
        self._store.check_there()
        return results, drawn

    @staticmethod
    def _costs(place: Mapping[str, Any], started: str, seconds: float, tally: Tally, slots: int) -> dict[str, Any]:
        """Return this session's record for execution.json.

        Args:
            place: the description of the executor.
            started: the start time.
            seconds: its duration.
            tally: the scheduler's counts.
            slots: how many jobs ran at a time.
        """
        memory = peak_memory() if place["executor"] in ("serial", "stacked") else tally.peak_memory
        return {
            "started": started,
            "wall_seconds": round(seconds, 3),
            **place,
            "segments_computed": tally.computed,
            "segments_recomputed": tally.recomputed,
            "cache_hits": tally.cache_hits,
            "retries": tally.retries,
            "peak_worker_memory_mib": round(memory / 2**20, 1) or None,
            "busy_seconds": round(tally.busy_seconds, 3),
            "utilisation": round(tally.busy_seconds / (seconds * slots), 4),
        }

    def _observe(self, name: tuple[int, str], job: Job, answer: Answer, computed: bool) -> None:
        stored = None if job.segment.parent is None else self._store.segments.get(job.segment.parent)
        parent = None if stored is None else stored.segment
        if isinstance(answer, Stored) and answer.segment.split is Split.SEARCH:
            self._outputs.note(*name, None if parent is None else parent.member, answer)
            self._count(*name, answer)
            if self._score(answer) > (-math.inf if self._ahead is None else self._score(self._ahead[2])):
                self._ahead = (*name, answer)
        if name[0] in self._chosen:
            event = answer_event(name, job, answer, parent, computed)
            self._tell("tested" if isinstance(event, Tested) else "segment", event)

    def _count(self, seed: int, label: str, answer: Stored) -> None:
        """Count a segment of a search that goes on, and from time to time write how far all searches are."""
        if seed in self._records:
            return
        before = self._unfinished.get((seed, label), Unfinished(seed, label, 0, None))
        metric = self._spec.task.metrics[0]
        value = None if answer.diverged else answer.metrics[metric.name]
        best = before.incumbent
        if value is not None and (best is None or metric.oriented(value) > metric.oriented(best)):
            best = value
        self._unfinished[seed, label] = Unfinished(seed, label, before.charged_intervals + 1, best)
        if self._shown is not None and self._outputs.mark_due():
            self._outputs.mark(replace(self._shown, unfinished=tuple(self._unfinished.values())))

    def _score(self, answer: Stored) -> float:
        metric = self._spec.task.metrics[0]
        return -math.inf if answer.diverged else metric.oriented(answer.metrics[metric.name])

    def leader(self, results: Results) -> Best | None:
        """Return the best segment of all searches so far; None if all diverged."""
        if self._ahead is None:
            return None
        seed, label, answer = self._ahead
        path, store = [answer.segment], self._store.segments
        while (parent := path[0].parent) is not None and (stored := store.get(parent)) is not None:
            path.insert(0, stored.segment)
        return best_so_far(results, label, seed, path, answer.metrics[self._spec.task.metrics[0].name])

    def _replicates(self, seeds: Sequence[int]) -> Iterator[tuple[int, Sequence[Arrangement[ArmRecord]]]]:
        for seed in seeds:
            yield (
                seed,
                [
                    Arrangement((seed, arm.label), run_arm(self._setting, seed, arm), self._arm_done)
                    for arm in self._spec.arms
                ],
            )

    def _arm_done(self, record: ArmRecord) -> None:
        arms = self._arms.setdefault(record.seed, {})
        arms[record.label] = record
        if len(arms) < len(self._spec.arms):
            return
        finished = replicate(self._spec, record.seed, arms, self._sizes)
        self._outputs.add(record.seed, [arms[arm.label] for arm in self._spec.arms])
        self._records[record.seed] = finished
        del self._arms[record.seed]
        self._unfinished = {name: found for name, found in self._unfinished.items() if name[0] != record.seed}
        self._store.segments.forget_known()
        self._decide()
        if self._outputs.due():
            self._outputs.write(replace(self._results(), unfinished=tuple(self._unfinished.values())))
        if record.seed in self._chosen:
            tests = {label: arm.test for label, arm in finished.arms.items()}
            self._tell("finished_replicate", ReplicateDone(record.seed, tests, len(self._finished())))

    def _finished(self) -> dict[int, Replicate]:
        """Return the replicates that count, by seed.

        A study that stops once decided takes them in seed order, not in the order in which they finished: those before the first
        missing one, and none after the decision.
        """
        done = [seed for seed in self._spec.seeds if seed in self._records]
        if self._anytime:
            done = [seed for seed, planned in zip(done, self._spec.seeds, strict=False) if seed == planned]
            done = done[: self._decided]
        return {seed: self._records[seed] for seed in done}

    @property
    def _anytime(self) -> bool:
        return self._spec.comparison is not None and self._spec.comparison.stopping == "anytime"

    def _is_decided(self) -> bool:
        return self._decided is not None

    def _decide(self) -> None:
        """Check whether the replicates so far decide an anytime-valid study."""
        if self._anytime and self._decided is None:
            self._decided = decided_after(self._evidence())

    def _results(self) -> Results:
        self._shown = with_statistics(self._evidence())
        return self._shown

    def _evidence(self) -> Evidence:
        return evidence(
            self._spec,
            self._finished(),
            registration=self._registration,
            data=self._sizes,
            environment=self._environment,
        )


def _data_sizes(task: Task[Any]) -> dict[str, int] | None:
    """Return how many examples each part of a task's data has; None for a function, and for a task without data."""
    data = task.development_data()
    if data is None or task.is_function:
        return None
    validation = task.validation_size
    return {"development": len(data), "train": len(data) - validation, "validation": validation}
