"""Runs a study: for each replicate, all arms search side by side, the best lineage of each is retrained, the test set is opened.

The protocol of one replicate (hpo/results.py holds the form of what comes out):

1. the development data is split by the replicate's seed; the initial population follows from the seed;
2. every arm searches within the same budget (hpo/search.py);
3. the lineage of the segment that it names best is reset to its root's initialization, and its schedule is walked on all the
   development data;
4. the test set is opened once for the retrained model;
5. arms are compared replicate by replicate.
"""

import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hpo import registry
from hpo.changes import changed_keys, flatten
from hpo.errors import InputError
from hpo.execution.jobs import Context, Executor
from hpo.execution.process import ProcessExecutor
from hpo.execution.runner import Runner, data_plan
from hpo.execution.serial import SerialExecutor
from hpo.execution.worker import IN_WORKER
from hpo.identity import environment, task_identity, task_options
from hpo.models import load_model
from hpo.outputs import Outputs
from hpo.protocols import Metric, Task
from hpo.results import ArmRecord, results_json
from hpo.scheduler import Answer, Arrangement, Need, Process, Scheduler
from hpo.search import JournaledOptimizer, ListJournal, SearchRecord, search
from hpo.segments import ENGINE_VERSION, Key, KeyMaker, Result, Segment, Split, lineage, rewalked
from hpo.spec import Arm, StudySpec
from hpo.store import Store, Stored, TestResult, explained

ExecutorName = Literal["serial", "process"]
DEFAULT_CHECKPOINT_BUDGET = 4 * 1024**3


class Observer:
    """Sees what a study does while it runs. Override what is of interest."""

    def started(self, spec: StudySpec, seeds: Sequence[int], workers: int, run_dir: Path) -> None:
        """All is checked; work begins."""

    def answered(self, seed: int, label: str, answer: Answer, computed: bool) -> None:
        """An arm got a segment's or a test's result; computed: it was computed in this sitting, for this arm first."""

    def finished_replicate(self, seed: int, results: dict[str, Any]) -> None:
        """All arms of a replicate are done; `results` holds what is known now."""

    def stopped(self) -> None:
        """Nothing runs any more: the study is done, interrupted or failed."""


@dataclass(frozen=True)
class StudyResult:
    """A study's answer.

    Args:
        results: what results.json holds.
        run_dir: the run directory.
        search_path: the folders in which the study's modules were found.
    """

    results: dict[str, Any]
    run_dir: Path
    search_path: tuple[str, ...] = ()

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """Every arm against the baseline; see docs/results.md."""
        return list(self.results["comparisons"])

    def model(self, arm: str, seed: int) -> Any:
        """Return an arm's retrained winner, as `load_model` does."""
        return load_model(self.run_dir, arm, seed, search_path=self.search_path)


def run_study(
    spec: StudySpec,
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    executor: ExecutorName = "process",
    device: str = "cpu",
    seeds: Sequence[int] | None = None,
    report: bool = True,
    follow_journal: bool = False,
    checkpoint_budget: int | None = DEFAULT_CHECKPOINT_BUDGET,
    observer: Observer | None = None,
) -> StudyResult:
    """Run a study, or go on with it where it was left.

    Args:
        spec: from `load_study` or `parse_study`.
        out: the run directory; `runs/<study name>` by default.
        workers: worker processes; by default as many as this process may use cores.
        executor: `process`, or `serial` for everything in this process.
        device: `cpu` or `cuda`.
        seeds: run only these of the planned seeds in this sitting.
        report: write report.html, report.md and the figures.
        follow_journal: take the answers of finished arms from the journal, where an optimizer no longer asks what it asked.
        checkpoint_budget: bytes of checkpoint files to keep; None keeps all.
        observer: sees what happens.

    Raises:
        InputError: something is wrong that the user can mend; nothing was started.
        StudyFailed: a segment failed; what is finished was kept.
    """
    task, chosen, workers = check_run(spec, seeds, workers, executor, device)
    run_dir = Path(out) if out is not None else Path("runs") / spec.name
    identity = task_identity(task, spec.task_name)
    observer = observer or Observer()
    with ExitStack() as stack:
        store = stack.enter_context(Store(run_dir, checkpoint_budget=checkpoint_budget))
        stack.enter_context(explained(run_dir / "checkpoints"))
        _check_same_study(store, spec, identity, task.numerics())
        jobs = _executor(spec, task, run_dir, executor, workers)
        stack.callback(jobs.close)
        study = _Study(spec, task, identity, store, observer, follow_journal, Outputs(run_dir, spec, report=report))
        observer.started(spec, chosen, workers, run_dir)
        return study.run(jobs, chosen, {"workers": workers, "executor": executor, "device": device})


def check_run(
    spec: StudySpec, seeds: Sequence[int] | None, workers: int | None, executor: str, device: str
) -> tuple[Task[Any], tuple[int, ...], int]:
    """Return the task on its device, the seeds to run and the number of workers, or say what is wrong."""
    if os.environ.get(IN_WORKER):
        raise InputError("a worker process tried to start a study: guard your script with `if __name__ == '__main__':`")
    if executor not in ("serial", "process"):
        raise InputError(f"executor = {executor!r}: allowed: serial, process")
    if workers is not None and workers < 1:
        raise InputError(f"workers = {workers}: allowed: a number from 1")
    chosen = tuple(dict.fromkeys(spec.seeds if seeds is None else seeds))
    unplanned = sorted(set(chosen) - set(spec.seeds))
    if unplanned:
        raise InputError(
            f"seeds {unplanned} are not among the study's planned seeds {list(spec.seeds)}: plan them in its file"
        )
    if device != "cpu":
        _check_device(device)
    return spec.task.on(device), chosen, 1 if executor == "serial" else workers or usable_cores()


def _check_device(device: str) -> None:
    import torch

    if device != "cuda":
        raise InputError(f"device = {device!r}: allowed: cpu, cuda")
    if not torch.cuda.is_available():
        raise InputError("device = 'cuda': this machine has no CUDA device that torch can use")


def usable_cores() -> int:
    """Return how many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _check_same_study(store: Store, spec: StudySpec, identity: dict[str, Any], numerics: dict[str, str]) -> None:
    """Refuse a run directory whose finished work belongs to another study."""
    now = {"document": dict(spec.document), "task": identity, "numerics": numerics}
    known = store.meta("study")
    if known is not None:
        was = json.loads(known)
        lines = changed_keys(was["document"], now["document"])
        if not lines:
            plain = json.loads(json.dumps(now))
            parts = ("task", "numerics")
            before, after = (flatten({part: facts[part] for part in parts}) for facts in (was, plain))
            lines = [
                f"{key}: {before.get(key, '(absent)')} -> {after.get(key, '(absent)')}"
                for key in sorted({*before, *after})
                if before.get(key) != after.get(key)
            ]
        if lines:
            raise InputError(
                f"{store.run_dir} holds finished work of another study; these changes would alter it:\n  "
                + "\n  ".join(lines)
                + "\nGive another --out, or another name in [study], or undo the changes."
            )
    store.set_meta("study", json.dumps(now))


def _executor(spec: StudySpec, task: Task[Any], run_dir: Path, name: str, workers: int) -> Executor:
    checkpoints = (run_dir / "checkpoints").resolve()
    if name == "serial":
        return SerialExecutor(Runner(task, spec.interval, checkpoints))
    context = Context(
        spec.task_name,
        task_options(task),
        registry.origin_of(type(task)),
        tuple(str(Path(folder).resolve()) for folder in spec.search_path),
        task.device,
        spec.interval,
        str(checkpoints),
        task.numerics(),
    )
    return ProcessExecutor(context, workers)


_Answer = tuple[SearchRecord, Key, TestResult]
"""A finished arm: its search, the final segment of its retrained lineage, and what the test set said of it."""


class _Study:
    """One sitting of a study."""

    def __init__(
        self,
        spec: StudySpec,
        task: Task[Any],
        identity: dict[str, Any],
        store: Store,
        observer: Observer,
        follow_journal: bool,
        outputs: Outputs,
    ) -> None:
        self._spec, self._task, self._identity = spec, task, identity
        self._store, self._observer, self._outputs = store, observer, outputs
        self._follow_journal = follow_journal
        self._numerics = task.numerics()
        self._environment = environment(self._numerics)
        self._sizes = self._data_sizes()
        self._records: dict[int, dict[str, ArmRecord]] = {}
        self._chosen: frozenset[int] = frozenset()

    def run(self, executor: Executor, seeds: Sequence[int], sitting: dict[str, Any]) -> StudyResult:
        self._chosen = frozenset(seeds)
        scheduler = Scheduler(executor, self._store, self._observe)
        started, clock = datetime.now(UTC).isoformat(timespec="seconds"), time.perf_counter()
        try:
            # Replicates that earlier sittings finished are part of the results, whatever this one was asked to run.
            opened = self._store.opened()
            earlier = [
                seed
                for seed in self._spec.seeds
                if seed not in seeds and all((seed, arm.label) in opened for arm in self._spec.arms)
            ]
            scheduler.run(self._replicates([*earlier, *seeds]))
        finally:
            executor.close()
            self._observer.stopped()
            seconds = time.perf_counter() - clock
            tally = scheduler.tally
            self._outputs.add_sitting(
                {
                    "started": started,
                    "wall_seconds": round(seconds, 3),
                    **sitting,
                    "segments_computed": tally.computed,
                    "segments_recomputed": tally.recomputed,
                    "cache_hits": tally.cache_hits,
                    "retries": tally.retries,
                    "busy_seconds": round(tally.busy_seconds, 3),
                    "utilisation": round(tally.busy_seconds / (seconds * executor.slots), 4),
                },
                self._store.checkpoint_bytes,
            )
            results = self._results()
            self._outputs.write(results, self._all_records(), final=True)
        return StudyResult(results, self._store.run_dir, self._spec.search_path)

    def _observe(self, name: tuple[int, str], answer: Answer, computed: bool) -> None:
        if name[0] in self._chosen:
            self._observer.answered(*name, answer, computed)

    def _replicates(self, seeds: Sequence[int]) -> Iterator[tuple[int, Sequence[Arrangement[_Answer]]]]:
        for seed in seeds:
            yield (
                seed,
                [
                    Arrangement((seed, arm.label), self._arm(seed, arm), partial(self._arm_done, seed, arm.label))
                    for arm in self._spec.arms
                ],
            )

    def _arm(self, seed: int, arm: Arm) -> Process[_Answer]:
        """Search, retrain, test: a process for the scheduler."""
        key_of = self._key_maker(seed, arm)
        needs = partial(Need, seed=seed, stream=arm.stream)
        record = yield from self._search(seed, arm, key_of, needs)
        path = lineage(record.best, lambda key: record.results[key].segment)
        walked = rewalked(path, Split.FULL, key_of)
        for key, segment in walked:
            yield [needs(key, segment)]
        final, segment = walked[-1]
        (test,) = yield [needs(final, segment, test=True)]
        if not self._keep_model(seed, arm.label, final):
            self._store.lost(final)
            yield [needs(final, segment, state=True)]
            self._keep_model(seed, arm.label, final)
        return record, final, test

    def _search(
        self, seed: int, arm: Arm, key_of: KeyMaker, needs: Callable[[Key, Segment], Need]
    ) -> Generator[Sequence[Need], Sequence[Stored], SearchRecord]:
        problem = self._spec.problem(seed, arm)
        entries = self._store.journal(seed, arm.label)
        optimizer = arm.optimizer.start(problem)
        if self._follow_journal and entries:
            if entries[-1][0] == "best":
                optimizer = JournaledOptimizer(entries)
            else:
                self._store.drop_journal(seed, arm.label)
                entries = []
        where = f"{self._store.run_dir}: arm {arm.label!r}, seed {seed}"
        journal = ListJournal(where, entries, partial(self._store.append_journal, seed, arm.label))
        rounds = search(optimizer, problem, key_of, journal)
        primary = self._task.metrics[0]
        asked = next(rounds)
        while True:
            answers = yield [needs(key, segment) for key, segment in asked]
            try:
                asked = rounds.send(
                    [_result(key, stored, primary) for (key, _), stored in zip(asked, answers, strict=True)]
                )
            except StopIteration as stop:
                record: SearchRecord = stop.value
                return record

    def _key_maker(self, seed: int, arm: Arm) -> KeyMaker:
        return KeyMaker.of(
            {
                "engine": ENGINE_VERSION,
                "task": self._identity,
                "numerics": self._numerics,
                "interval": self._spec.interval,
                "seed": seed,
                "stream": arm.stream,
            }
        )

    def _arm_done(self, seed: int, label: str, answer: _Answer) -> None:
        record, final, test = answer
        self._store.open_test(seed, label, final, test.fingerprint)
        openings = self._store.openings(test.fingerprint)[seed, label]
        arms = self._records.setdefault(seed, {})
        arms[label] = ArmRecord(seed, label, record, test, openings)
        if len(arms) == len(self._spec.arms):
            self._store.forget_known()
            if self._outputs.due():
                results = self._results()
                self._outputs.write(results, self._all_records(), final=False)
                if seed in self._chosen:
                    self._observer.finished_replicate(seed, results)

    def _keep_model(self, seed: int, label: str, final: Key) -> bool:
        """Keep the model of a retrained lineage; False when its checkpoint is lost and no copy was made before."""
        stored = self._store.get(final)
        assert stored is not None
        if stored.diverged:
            return True
        return self._outputs.keep_model(label, seed, self._store.files, stored.checkpoint)

    def _finished(self) -> dict[int, dict[str, ArmRecord]]:
        return {
            seed: self._records[seed]
            for seed in self._spec.seeds
            if len(self._records.get(seed, {})) == len(self._spec.arms)
        }

    def _all_records(self) -> list[ArmRecord]:
        return [arms[arm.label] for arms in self._finished().values() for arm in self._spec.arms]

    def _results(self) -> dict[str, Any]:
        return results_json(
            self._spec, self._finished(), identity=self._identity, data=self._sizes, environment=self._environment
        )

    def _data_sizes(self) -> dict[str, int] | None:
        plan = data_plan(self._task, self._spec.interval)
        if plan.data is None:
            return None
        development = len(plan.data)
        return {
            "development": development,
            "train": development - plan.validation_size,
            "validation": plan.validation_size,
        }


def _result(key: Key, stored: Stored, primary: Metric) -> Result:
    score = float("-inf") if stored.diverged else primary.oriented(stored.metrics[primary.name])
    return Result(key, stored.segment, stored.metrics, score, stored.diverged)
