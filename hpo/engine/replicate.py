"""The protocol of one arm in one replicate.

1. The development data is split by the replicate's seed; the initial population follows from the seed: the same for every arm.
2. The arm searches within its budget (hpo/engine/search.py). Nothing that it can reach holds the test set.
3. The lineage of the segment that it names best is reset to its root's initialization, and its schedule is walked on all the
   development data: `retrains` times, with independent noise. A derived arm walks it in another way (hpo/core/derived.py).
4. The test set is opened once for each retrained model.

Arms are compared replicate by replicate (hpo/engine/results.py).
"""

import traceback
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from typing import Any

from hpo.core.derived import replayed
from hpo.core.errors import HpoError, OptimizerError, StudyFailed
from hpo.core.locks import readable
from hpo.core.seeding import Streams, retrain_stream
from hpo.core.segments import ENGINE_VERSION, Key, KeyMaker, Result, Segment, Split, lineage, rewalked
from hpo.core.task import Metric, Task
from hpo.engine.results import ArmRecord
from hpo.engine.run_dir import Outputs
from hpo.engine.scheduler import Need, Process
from hpo.engine.search import Asked, JournaledOptimizer, KeyOf, ListJournal, SearchRecord, search
from hpo.store import Store, Stored, TestResult
from hpo.study.spec import Arm, StudySpec


@dataclass(frozen=True)
class Setting:
    """What all arms of all replicates of a study share.

    Args:
        spec: the study.
        task: its task, on its device.
        numerics: what the bits of its results depend on beside.
        store: keeps the journals.
        outputs: keeps the models.
        follow_journal: take the answers of finished arms from the journal.
    """

    spec: StudySpec
    task: Task[Any]
    numerics: dict[str, str]
    store: Store
    outputs: Outputs
    follow_journal: bool

    def key_maker(self, seed: int, stream: int) -> KeyOf:
        """Return what gives the segments of one stream of one replicate their keys."""
        spec = self.spec
        return key_maker(self.task, spec.identity, self.numerics, spec.interval, spec.budget, seed, stream)


def key_maker(
    task: Task[Any],
    identity: Mapping[str, Any],
    numerics: Mapping[str, str],
    interval: Fraction,
    budget: Fraction,
    seed: int,
    stream: int,
) -> KeyOf:
    """Return what gives segments their keys.

    Args:
        task: the task, on its device.
        identity: what makes it this task.
        numerics: what the bits of its results depend on beside.
        interval: the length of an interval in the task's unit.
        budget: of one member, in that unit.
        seed: the replicate's.
        stream: the arm's.
    """
    context = {
        "engine": ENGINE_VERSION,
        "task": identity,
        "numerics": numerics,
        "interval": interval,
        "seed": seed,
        "stream": stream,
    }
    plain, with_budget = KeyMaker.of(context), KeyMaker.of({**context, "budget": budget})

    def key_of(segment: Segment) -> Key:
        return (with_budget if task.uses_budget(segment.hparams) else plain)(segment)

    return key_of


def run_arm(setting: Setting, seed: int, arm: Arm) -> Process[ArmRecord]:
    """Search, retrain, test: a process for the scheduler."""
    store = setting.store
    record = yield from _search(setting, seed, arm)
    path = lineage(record.best, lambda key: record.results[key].segment)
    walks = _walks(setting, seed, arm, path)
    for step in zip(*walks, strict=True):  # the retrains side by side
        yield list(step)
    finals = [walk[-1] for walk in walks] or [Need(record.best, path[-1], seed, arm.stream)]
    tests: Sequence[TestResult] = yield [replace(final, test=True) for final in finals]
    kept = finals[0]
    if not _keep_model(setting, seed, arm.label, kept.key):
        store.lost(kept.key)
        yield [replace(kept, state=True)]
        _keep_model(setting, seed, arm.label, kept.key)
    _check_test_set(store, [(final.key, test.fingerprint) for final, test in zip(finals, tests, strict=True)])
    for final, test in zip(finals, tests, strict=True):
        store.open_test(seed, arm.label, final.key, test.fingerprint)
    openings = store.openings(tests[0].fingerprint)[seed, arm.label]
    return ArmRecord(seed, arm.label, record, tuple(tests), openings, sum(map(len, walks)))


def _walks(setting: Setting, seed: int, arm: Arm, path: Sequence[Segment]) -> list[list[Need]]:
    """Return what each retrain of an arm has to train, in order; nothing where the search's own model is the answer."""
    replay = replayed(path, arm.replay, setting.spec.space, Streams(seed, arm.stream))
    walks = []
    for number in range(setting.spec.retrains_of(arm)):
        stream = retrain_stream(arm.stream, number)
        walked = rewalked(replay, Split.FULL, setting.key_maker(seed, stream))
        walks.append([Need(key, segment, seed, stream) for key, segment in walked])
    return walks


def _check_test_set(store: Store, tests: Sequence[tuple[Key, str]]) -> None:
    """All tests of a study are on one test set; what another one said now is forgotten, so that this one may follow.

    Args:
        store: holds the tests.
        tests: (final segment, the test set's fingerprint).
    """
    first = store.meta("test_fingerprint")
    if first is None:
        first = tests[0][1]
        store.set_meta("test_fingerprint", first)
    others = [(final, fingerprint) for final, fingerprint in tests if fingerprint != first]
    for final, _ in others:
        store.drop_test(final)
    if others:
        raise StudyFailed(
            f"{store.run_dir}: the test set is another one than that of the replicates before (its fingerprint was {first},"
            f" and is {others[0][1]}): bring it back, or give another --out (and another --store, if there is one)"
        )


def _search(setting: Setting, seed: int, arm: Arm) -> Generator[Sequence[Need], Sequence[Stored], SearchRecord]:
    """Run the arm's optimizer, its asks and tells compared with the journal or added to it."""
    store = setting.store
    problem = setting.spec.problem(seed, arm)
    entries = store.journal(seed, arm.label)
    optimizer = arm.optimizer.start(problem)
    if setting.follow_journal:
        finished = _is_finished(entries)
        if entries and not finished:
            store.drop_journal(seed, arm.label)
            entries = []
        # The answer of a derived arm is its source's, also where that one is taken from the journal.
        label = arm.label if finished or arm.derived_from is None else arm.derived_from
        followed = entries if label == arm.label else store.journal(seed, label)
        if _is_finished(followed):
            with readable(store.path, f"the journal of arm {label!r}, seed {seed}"):
                optimizer = JournaledOptimizer(followed)
    where = f"{store.run_dir}: arm {arm.label!r}, seed {seed}"
    journal = ListJournal(where, entries, partial(store.append_journal, seed, arm.label))
    rounds = _blamed(search(optimizer, problem, setting.key_maker(seed, arm.stream), journal), where)
    primary = setting.task.metrics[0]
    asked = next(rounds)
    while True:
        answers = yield [Need(key, segment, seed, arm.stream) for key, segment in asked]
        results = [_result(key, segment, found, primary) for (key, segment), found in zip(asked, answers, strict=True)]
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
    """Say whose optimizer it was that failed."""
    try:
        return (yield from rounds)
    except OptimizerError as error:
        raise OptimizerError(f"{where}: {error}") from error
    except HpoError:
        raise
    except Exception as error:
        raise StudyFailed(f"{where}: an exception in the optimizer:\n{traceback.format_exc()}") from error


def _result(key: Key, segment: Segment, stored: Stored, primary: Metric) -> Result:
    # The segment as it was asked for: it shares its hyperparameters with its parent, and the store's copy can go.
    score = float("-inf") if stored.diverged else primary.oriented(stored.metrics[primary.name])
    return Result(key, segment, stored.metrics, score, stored.diverged)


def _keep_model(setting: Setting, seed: int, label: str, final: Key) -> bool:
    """Keep the model of a retrained lineage; False when its checkpoint is lost and no copy was made before."""
    stored = setting.store.get(final)
    assert stored is not None
    if stored.diverged:
        return True
    return setting.outputs.keep_model(label, seed, setting.store.files, stored.checkpoint)
