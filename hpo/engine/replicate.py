"""The protocol of one arm in one replicate.

1. The replicate's seed determines the split of the development data and the initial population: the same for every arm.
2. The arm searches within its budget (hpo/engine/search.py). It never sees the test set.
3. The lineage of the segment that it returns as best is retrained from its root's initialization, on all the development data
   (hpo/engine/retrain.py): `retrains` times, with independent noise. A derived arm changes the schedule first
   (hpo/core/derived_arms.py).
4. Each retrained model is tested once on the test set.

Arms are compared replicate by replicate (hpo/engine/results.py).
"""

import traceback
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hpo.core.derived_arms import replayed
from hpo.core.errors import HpoError, OptimizerError, OptionError, StudyFailed
from hpo.core.locks import readable
from hpo.core.seeding import Streams, retrain_stream
from hpo.core.segments import Key, Result, Segment
from hpo.core.task import Task
from hpo.engine.keys import Keys
from hpo.engine.results import ArmRecord
from hpo.engine.retrain import keep_state, retrain, retraining
from hpo.engine.run_dir import Outputs
from hpo.engine.scheduler import Process
from hpo.engine.search import Asked, JournaledOptimizer, ListJournal, SearchRecord, search
from hpo.execution.jobs import Job
from hpo.store import Store, Stored, TestResult
from hpo.study.spec import Arm, StudySpec

_NO_TEST = "none"
"""The fingerprint of the test set of a task without one."""


@dataclass(frozen=True)
class Setting:
    """Everything that all arms of all replicates of a study share.

    Args:
        spec: the study.
        keys: of its segments; holds its task on its device.
        store: keeps the journals.
        outputs: keeps the models.
        follow_journal: take the answers of finished arms from the journal.
    """

    spec: StudySpec
    keys: Keys
    store: Store
    outputs: Outputs
    follow_journal: bool


def run_arm(setting: Setting, seed: int, arm: Arm) -> Process[ArmRecord]:
    """Search, retrain, test: a process for the scheduler."""
    store = setting.store
    record = yield from _search(setting, seed, arm)
    if not setting.spec.task.tested:
        return (yield from _untested(setting, seed, arm, record))
    path = record.path
    retrainings = _retrainings(setting, seed, arm, path)
    finals = [steps[-1] for steps in retrainings] or [Job(record.best, path[-1], seed, arm.stream)]
    tests = yield from retrain(retrainings, finals, store, partial(_keep_model, setting, seed, arm.label))
    _check_test_set(store, [(final.key, test.fingerprint) for final, test in zip(finals, tests, strict=True)])
    for final, test in zip(finals, tests, strict=True):
        store.open_test(seed, arm.label, final.key, test.fingerprint)
    openings = store.study.openings(tests[0].fingerprint)[seed, arm.label]
    return ArmRecord(seed, arm.label, record, tuple(tests), openings, sum(map(len, retrainings)))


def _untested(setting: Setting, seed: int, arm: Arm, record: SearchRecord) -> Process[ArmRecord]:
    """Return the record of an arm whose answer is not tested: its validation metrics are the result."""
    best = record.results[record.best]
    if not setting.spec.task.is_function:
        final = Job(record.best, best.segment, seed, arm.stream)
        yield from keep_state(final, setting.store, partial(_keep_model, setting, seed, arm.label))
    result = TestResult(best.metrics, None, _NO_TEST, best.diverged)
    setting.store.open_test(seed, arm.label, record.best, _NO_TEST)  # the result is known from now on
    return ArmRecord(seed, arm.label, record, (result,), 0, 0)


def _retrainings(setting: Setting, seed: int, arm: Arm, path: Sequence[Segment]) -> list[list[Job]]:
    """Return the jobs of each retrain of an arm, in order; empty if the search's own model is the answer."""
    along = replayed(path, arm.replay, setting.spec.space, Streams(seed, arm.stream))
    streams = [retrain_stream(arm.stream, number) for number in range(setting.spec.retrains_of(arm))]
    return [retraining(along, setting.keys, seed, stream) for stream in streams]


def _check_test_set(store: Store, tests: Sequence[tuple[Key, str]]) -> None:
    """Check that all tests of a study use one test set. Discard results from a different test set.

    Args:
        store: holds the tests.
        tests: (final segment, the test set's fingerprint).
    """
    first = store.study.meta("test_fingerprint")
    if first is None:
        first = tests[0][1]
        store.study.set_meta("test_fingerprint", first)
    others = [(final, fingerprint) for final, fingerprint in tests if fingerprint != first]
    for final, _ in others:
        store.drop_test(final)
    if others:
        raise StudyFailed(
            f"{store.run_dir}: the test set is another one than that of the replicates before (its fingerprint was {first},"
            f" and is {others[0][1]}): bring it back, or give another --out (and another --store, if there is one)"
        )


def _search(setting: Setting, seed: int, arm: Arm) -> Generator[Sequence[Job], Sequence[Stored], SearchRecord]:
    """Run the arm's optimizer; compare its asks and tells with the journal, or append them."""
    store = setting.store
    problem = setting.spec.problem(seed, arm)
    entries = store.study.journal(seed, arm.label)
    optimizer = arm.optimizer.start(problem)
    if setting.follow_journal:
        finished = _is_finished(entries)
        if entries and not finished:
            store.study.drop_journal(seed, arm.label)
            entries = []
        # A derived arm's answer is its source's, even if that comes from the journal.
        label = arm.label if finished or arm.derived_from is None else arm.derived_from
        followed = entries if label == arm.label else store.study.journal(seed, label)
        if _is_finished(followed):
            with readable(store.study.path, f"the journal of arm {label!r}, seed {seed}"):
                optimizer = JournaledOptimizer(followed)
    where = f"{store.run_dir}: arm {arm.label!r}, seed {seed}"
    journal = ListJournal(where, entries, partial(store.study.append_journal, seed, arm.label))
    rounds = _blamed(search(optimizer, problem, setting.keys.of(seed, arm.stream), journal), where)
    task = setting.spec.task
    asked = next(rounds)
    while True:
        answers = yield [Job(key, segment, seed, arm.stream) for key, segment in asked]
        results = [_result(key, segment, found, task) for (key, segment), found in zip(asked, answers, strict=True)]
        try:
            asked = rounds.send(results)
        except StopIteration as stop:
            record: SearchRecord = stop.value
            return record


def _is_finished(entries: Sequence[tuple[str, str]]) -> bool:
    return bool(entries) and entries[-1][0] == "best"


def _blamed(
    rounds: Generator[Asked, Sequence[Result], SearchRecord], where: str
) -> Generator[Asked, Sequence[Result], SearchRecord]:
    """Add the arm and seed to an optimizer's error."""
    try:
        return (yield from rounds)
    except OptimizerError as error:
        raise OptimizerError(f"{where}: {error}") from error
    except OptionError as error:
        raise StudyFailed(f"{where}: {error}") from error
    except HpoError:
        raise
    except Exception as error:
        raise StudyFailed(f"{where}: an exception in the optimizer:\n{traceback.format_exc()}") from error


def _result(key: Key, segment: Segment, stored: Stored, task: Task[Any]) -> Result:
    # Keep the segment as it was requested: it shares its hyperparameters with its parent, and the store's copy can be freed.
    primary = task.metrics[0]
    score = float("-inf") if stored.diverged else primary.oriented(stored.metrics[primary.name])
    at_start = stored.metrics.get(primary.at_start) if segment.scored_at_start else None
    before = None if at_start is None else primary.oriented(at_start)
    return Result(key, segment, stored.metrics, score, stored.diverged, task.is_finished(stored.metrics), before)


def _keep_model(setting: Setting, seed: int, label: str, final: Stored) -> bool:
    """Keep the model of a retrained lineage; False if its checkpoint is lost and there is no copy from before."""
    return final.diverged or setting.outputs.keep_model(label, seed, setting.store.segments.files, final.checkpoint)
