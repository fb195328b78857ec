"""The protocol of one arm in one replicate.

1. The development data is split by the replicate's seed; the initial population follows from the seed: the same for every arm.
2. The arm searches within its budget (hpo/search.py). Nothing that it can reach holds the test set.
3. The lineage of the segment that it names best is reset to its root's initialization, and its schedule is walked on all the
   development data.
4. The test set is opened once, for the retrained model.

Arms are compared replicate by replicate (hpo/results.py).
"""

import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hpo.errors import HpoError, OptimizerError, StudyFailed
from hpo.outputs import Outputs
from hpo.protocols import Metric, Task
from hpo.results import ArmRecord
from hpo.rundir import readable
from hpo.scheduler import Need, Process
from hpo.search import Asked, JournaledOptimizer, ListJournal, SearchRecord, search
from hpo.segments import ENGINE_VERSION, Key, KeyMaker, Result, Segment, Split, lineage, rewalked
from hpo.spec import Arm, StudySpec
from hpo.store import Store, Stored


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

    def key_maker(self, seed: int, stream: int) -> KeyMaker:
        """Return what gives the segments of one stream of one replicate their keys."""
        return KeyMaker.of(
            {
                "engine": ENGINE_VERSION,
                "task": self.spec.identity,
                "numerics": self.numerics,
                "interval": self.spec.interval,
                "seed": seed,
                "stream": stream,
            }
        )


def run_arm(setting: Setting, seed: int, arm: Arm) -> Process[ArmRecord]:
    """Search, retrain, test: a process for the scheduler."""
    store = setting.store
    key_of = setting.key_maker(seed, arm.stream)
    needs = partial(Need, seed=seed, stream=arm.stream)
    record = yield from _search(setting, seed, arm, key_of, needs)
    path = lineage(record.best, lambda key: record.results[key].segment)
    walked = rewalked(path, Split.FULL, key_of)
    for key, segment in walked:
        yield [needs(key, segment)]
    final, segment = walked[-1]
    (test,) = yield [needs(final, segment, test=True)]
    if not _keep_model(setting, seed, arm.label, final):
        store.lost(final)
        yield [needs(final, segment, state=True)]
        _keep_model(setting, seed, arm.label, final)
    _check_test_set(store, final, test.fingerprint)
    store.open_test(seed, arm.label, final, test.fingerprint)
    openings = store.openings(test.fingerprint)[seed, arm.label]
    return ArmRecord(seed, arm.label, record, test, openings)


def _check_test_set(store: Store, final: Key, fingerprint: str) -> None:
    """All tests of a study are on one test set; what another one said is forgotten, so that this one may follow."""
    first = store.meta("test_fingerprint")
    if first is None:
        store.set_meta("test_fingerprint", fingerprint)
    elif first != fingerprint:
        store.drop_test(final)
        raise StudyFailed(
            f"{store.run_dir}: the test set is another one than that of the replicates before (its fingerprint was {first},"
            f" and is {fingerprint}): bring it back, or give another --out"
        )


def _search(
    setting: Setting, seed: int, arm: Arm, key_of: KeyMaker, needs: Callable[[Key, Segment], Need]
) -> Generator[Sequence[Need], Sequence[Stored], SearchRecord]:
    """Run the arm's optimizer, its asks and tells compared with the journal or added to it."""
    store = setting.store
    problem = setting.spec.problem(seed, arm)
    entries = store.journal(seed, arm.label)
    optimizer = arm.optimizer.start(problem)
    if setting.follow_journal and entries:
        if entries[-1][0] == "best":
            with readable(store.path, f"the journal of arm {arm.label!r}, seed {seed}"):
                optimizer = JournaledOptimizer(entries)
        else:
            store.drop_journal(seed, arm.label)
            entries = []
    where = f"{store.run_dir}: arm {arm.label!r}, seed {seed}"
    journal = ListJournal(where, entries, partial(store.append_journal, seed, arm.label))
    rounds = _blamed(search(optimizer, problem, key_of, journal), where)
    primary = setting.task.metrics[0]
    asked = next(rounds)
    while True:
        answers = yield [needs(key, segment) for key, segment in asked]
        results = [_result(key, stored, primary) for (key, _), stored in zip(asked, answers, strict=True)]
        try:
            asked = rounds.send(results)
        except StopIteration as stop:
            record: SearchRecord = stop.value
            return record


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


def _result(key: Key, stored: Stored, primary: Metric) -> Result:
    score = float("-inf") if stored.diverged else primary.oriented(stored.metrics[primary.name])
    return Result(key, stored.segment, stored.metrics, score, stored.diverged)


def _keep_model(setting: Setting, seed: int, label: str, final: Key) -> bool:
    """Keep the model of a retrained lineage; False when its checkpoint is lost and no copy was made before."""
    stored = setting.store.get(final)
    assert stored is not None
    if stored.diverged:
        return True
    return setting.outputs.keep_model(label, seed, setting.store.files, stored.checkpoint)
