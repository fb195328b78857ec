"""Replays of a schedule: a member trained along it once more, with another seed, another task size or on another machine.

A replay retrains the schedule's lineage on all the development data as its study did (hpo/engine/retrain.py), with the same
segments, streams and workers. With the study's seed and the same numerics, it returns the study's own model, bit for bit. With
another seed, weights and noise are new to the search. `fresh` draws weights and noise that no search sees with any seed: those of
the derived arm `schedule` (hpo/core/derived_arms.py).
"""

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from hpo.core.checkpoints import decode
from hpo.core.errors import InputError, OptionError, SpecError, StoreError
from hpo.core.files import inside, remove_regular, write_atomic
from hpo.core.locks import explained
from hpo.core.options import Mistakes
from hpo.core.parsing import read_bytes, read_json
from hpo.core.run_files import REPLAY, REPLAY_MODEL, REPLAYS
from hpo.core.seeding import LARGEST_STREAM, REPLAY_SLOT
from hpo.core.segments import SHRINK_PERTURB, HParams, Key, canonical, digest
from hpo.core.space import SearchSpace
from hpo.core.task import Task
from hpo.engine.failures import failure
from hpo.engine.keys import Keys
from hpo.engine.results import test_metrics
from hpo.engine.retrain import retrain, retraining
from hpo.engine.run_dir import copy_model
from hpo.engine.scheduler import Arrangement, Process, Scheduler
from hpo.execution.executors import Execution, ExecutorName
from hpo.execution.jobs import Context, Job
from hpo.results.file import dumps
from hpo.schedules.schedule import Schedule
from hpo.store import Store, Stored, TestResult
from hpo.study.bound import BoundTask
from hpo.study.identity import environment
from hpo.study.identity import task_options as options_of
from hpo.study.task_table import check_data, read_hparams, read_task

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ReplayResult:
    """The result of a replay.

    Args:
        results: the content of replay.json.
        out: its folder.
        task: the task, to load the model with.
        hparams: of the last step.
    """

    results: dict[str, Any]
    out: Path
    task: Task[Any]
    hparams: HParams

    def __repr__(self) -> str:
        return f"ReplayResult({len(self.results['schedule']['steps'])} steps, test {self.test}, in {str(self.out)!r})"

    @property
    def test(self) -> dict[str, float | None]:
        """The metrics on the test set."""
        return dict(self.results["test"])

    def model(self) -> Any:
        """Return the trained model: for a `TorchTask` its `nn.Module`, in evaluation mode.

        Raises:
            InputError: it diverged, or its file is gone.
        """
        path = inside(self.out, REPLAY_MODEL)
        if self.results["diverged"]:
            raise InputError(f"{self.out} has no model: it diverged")
        try:
            arrays = decode(read_bytes(path, None))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}") from error
        return self.task.model_of(self.task.from_arrays(arrays, self.hparams))


def replay_schedule(
    schedule: Schedule,
    document: Mapping[str, Any],
    *,
    seed: int,
    out: str | Path,
    search_path: Iterable[str | Path] = (),
    task_options: Mapping[str, Any] | None = None,
    fresh: bool = False,
    executor: ExecutorName = "process",
    device: str = "cpu",
    threads: int = 1,
    file: str = "<replay>",
    schedule_file: str = "<schedule>",
    observe: Callable[[int], None] = lambda done: None,
) -> ReplayResult:
    """Train along a schedule on all the development data of a task, and evaluate on its test set.

    If it is interrupted, call it again: finished work is kept in `out`.

    Args:
        schedule: to train along.
        document: a study, `StudySpec.document` or `results["study"]`; only its table `task` is read.
        seed: of the initial weights, the order of the data and the noise.
        out: the folder for `model.safetensors`, `replay.json` and what is needed to resume.
        search_path: folders to search for the modules of `[task] module`, before the current one.
        task_options: options of the task in place of the study's, like `{"development_size": 600}`.
        fresh: draw weights and noise that no search sees, instead of those of the schedule's own members.
        executor: `process`, or `serial` for everything in this process.
        device: `cpu` or `cuda`.
        threads: of the member; those of the study, for the study's own bits.
        file: the document's name in error messages.
        schedule_file: the schedule's name in error messages.
        observe: called with the number of finished intervals.

    Raises:
        InputError: something is wrong that the user can fix; nothing was started.
        StudyFailed: a segment failed; finished work was kept.
    """
    if not 0 <= seed <= LARGEST_STREAM:
        raise InputError(f"seed = {seed}: allowed: 0 to {LARGEST_STREAM}")
    execution = Execution(executor, 1, device, threads=threads)
    execution.check()
    if executor not in ("process", "serial"):
        raise InputError(f"executor = {executor!r}: allowed: process, serial")
    folders = tuple(dict.fromkeys(str(Path(folder).resolve()) for folder in (*search_path, Path.cwd())))
    found = _task(document, task_options or {}, folders, schedule, file)
    execution.check_task(found.task, found.name)
    schedule = _fitting(schedule, found, schedule_file)
    if fresh or schedule.members is None:
        schedule = replace(schedule, members=(REPLAY_SLOT,) * len(schedule))
    with ExitStack() as stack:
        try:
            # Keep only the large state that training continues from.
            store = stack.enter_context(Store(Path(out), checkpoint_budget=0))
        except StoreError as error:  # nothing was started
            raise InputError(str(error)) from error
        return _Replay(found.on(device, threads), schedule, seed, store).run(execution, observe)


def _task(
    document: Mapping[str, Any], changed: Mapping[str, Any], folders: tuple[str, ...], schedule: Schedule, file: str
) -> BoundTask:
    """Return the task of a document with some of its options changed, checked against its data and the schedule."""
    problems = Mistakes()
    tables = dict(document)
    if isinstance(tables.get("task"), Mapping):
        for name in ("name", "module", "search_space"):
            if name in changed:
                problems.add(f"task.{name}", "allowed: an option of the task; this belongs to the study", changed[name])
        tables["task"] = {**tables["task"], **changed}
    found = None if problems else read_task(tables, folders, problems)
    if found is not None and not problems:
        if not found.task.tested:
            function = "a function has nothing to train: call it with the hyperparameters"
            other = "a replay trains on all development data and tests the model: the task has no test set"
            problems.add("task", function if found.task.is_function else other)
        if schedule.weight_transforms() and SHRINK_PERTURB not in found.task.transforms:
            problems.add("task", "its weights cannot be shrunk and perturbed, as the schedule does", found.name)
        if found.task.unit != schedule.unit:
            problems.add("task", f"its unit is {found.task.unit}, and the schedule's {schedule.unit}")
        check_data(schedule.interval, found, problems, "interval")
    if found is None or problems:
        raise SpecError(file, problems)
    return found


def _fitting(schedule: Schedule, found: BoundTask, file: str) -> Schedule:
    """Return a schedule with the types of a task's space.

    A step holds exactly the active hyperparameters. It may leave out optional ones, or have some that the study leaves out.

    Raises:
        SpecError: lists everything that is wrong with it.
    """
    optional = found.task.addable_space
    whole = {**optional, **found.space}
    problems = Mistakes()
    fitting: list[HParams | None] = []
    for index, step in enumerate(schedule.to_document()["steps"]):
        key, hparams = f"steps[{index}].hparams", step["hparams"]
        names = [name for name in whole if name in hparams or name not in optional]
        try:
            space = SearchSpace({name: whole[name] for name in names})
        except OptionError as error:  # a control is left out
            problems.add(key, f"does not fit the task {found.name!r}: {error}")
            continue
        fitting += [read_hparams(hparams, key, space, problems)] * (step["stop"] - step["start"])
    if problems:
        raise SpecError(file, problems)
    return replace(schedule, hparams=tuple(hparams for hparams in fitting if hparams is not None))


@dataclass(frozen=True)
class _Replay:
    bound: BoundTask
    schedule: Schedule
    seed: int
    store: Store

    def run(self, execution: Execution, observe: Callable[[int], None]) -> ReplayResult:
        """Train, test, and write the results."""
        schedule, task = self.schedule, self.bound.task
        numerics = task.numerics()
        keys = Keys(self.bound, numerics, schedule.interval, schedule.budget * schedule.interval)
        stream = 0 if schedule.source is None else schedule.source.stream
        jobs = retraining(schedule.segments(), keys, self.seed, stream)
        results: list[dict[str, Any]] = []
        done = itertools.count(1)
        context = Context.of(self.bound, numerics, schedule.interval, schedule.budget, self.store.run_dir)
        executor = execution.open(context, task)
        try:
            count = lambda *_: observe(min(next(done), len(jobs)))  # noqa: E731
            scheduler = Scheduler(executor, self.store, count, partial(failure, task))
            name = (self.seed, "replay")
            scheduler.run(iter([(self.seed, [Arrangement(name, self._process(jobs), results.append)])]))
        finally:
            executor.close()
        numbers = results[0] | {"environment": environment(numerics)}
        path = inside(self.store.run_dir, REPLAY)
        with explained(path):
            write_atomic(path, dumps(numbers))
        self.store.check_there()
        return ReplayResult(numbers, self.store.shown, task, schedule.hparams[-1])

    def _process(self, jobs: list[Job]) -> Process[dict[str, Any]]:
        """Retrain, test, and keep the model: a process for the scheduler."""
        final = jobs[-1].key
        (test,) = yield from retrain([jobs], jobs[-1:], self.store, partial(self._keep_model, final))
        self.store.open_test(self.seed, "replay", final, test.fingerprint)
        return self._numbers(final, test)

    def _keep_model(self, key: Key, final: Stored) -> bool:
        """Keep the trained model; False if its checkpoint is lost and the file holds another replay's model."""
        path = inside(self.store.run_dir, REPLAY_MODEL)
        if final.diverged or self.store.study.meta("model") != key:
            remove_regular(path)
        if final.diverged:
            return True
        kept = copy_model(path, self.store.segments.files, final.checkpoint)
        if kept:
            self.store.study.set_meta("model", key)
        return kept

    def _numbers(self, key: Key, test: TestResult) -> dict[str, Any]:
        schedule, task = self.schedule, self.bound.task
        data, final = task.development_data(), self.store.segments.get(key)
        return {
            "schema_version": SCHEMA_VERSION,
            "schedule": schedule.to_document(),
            "seed": self.seed,
            "fresh": set(schedule.members or ()) == {REPLAY_SLOT},
            "task": {
                "name": self.bound.name,
                "options": {name: _plain(value) for name, value in options_of(task).items()},
                "unit": schedule.unit,
                "primary": task.metrics[0].name,
                "data": None if data is None else len(data),
                "fingerprint": None if data is None else data.fingerprint,
            },
            "intervals": len(schedule),
            "diverged": final is not None and final.diverged,
            "test": test_metrics(test, task.metrics),
            "test_diverged": test.diverged,
            "test_fingerprint": test.fingerprint,
            "test_openings": self.store.study.tests_opened(),
        }


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) or value is None else str(value)


def replay_name(label: str, seed: int, fresh: bool, changes: Mapping[str, Any]) -> str:
    """Return the name of a replay's folder, a different one for each combination of arguments.

    Args:
        label: of the schedule.
        seed: of the replay.
        fresh: whether it draws weights that no search sees.
        changes: all other differences from the study, as plain values.
    """
    name = f"{label}-on-{seed}" + ("-fresh" if fresh else "")
    return f"{name}-{digest(canonical(changes))[:8]}" if changes else name


def openings(run_dir: Path) -> int:
    """Return how many models the replays of a run directory evaluated on a test set."""
    total = 0
    replays = inside(run_dir, REPLAYS)
    for folder in sorted(replays.iterdir()) if replays.is_dir() else ():
        path = inside(replays, folder.name, REPLAY)
        if not path.exists():
            continue  # not finished
        try:
            total += int(read_json(path)["test_openings"])
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise InputError(f"{path}: cannot be counted: {type(error).__name__}: {error}") from error
    return total
