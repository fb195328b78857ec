"""results.json: plain records of what a study found, identical however it was run."""

import base64
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hpo.canonical import canonical, digest
from hpo.protocols import Metric, Problem
from hpo.registration import Registration, comparison_of
from hpo.registry import to_table
from hpo.results.comparisons import compared
from hpo.search import SearchRecord
from hpo.segments import Key, Segment, Step, lineage, schedule_of
from hpo.spec import Arm, StudySpec
from hpo.splits import boundary
from hpo.store import TestResult

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class ArmRecord:
    """Everything about one arm in one replicate.

    Args:
        seed: the replicate's seed.
        label: the arm's.
        search: what its search did.
        tests: what the test set said of its retrained models, one each.
        test_openings: how often its test set was opened.
        retrained: intervals that were trained on the full split for it, all retrains together.
    """

    seed: int
    label: str
    search: SearchRecord
    tests: tuple[TestResult, ...]
    test_openings: int
    retrained: int

    @property
    def path(self) -> list[Segment]:
        """The best lineage, root first."""
        return lineage(self.search.best, lambda key: self.search.results[key].segment)


@dataclass(frozen=True)
class ReplicateRecord:
    """What is kept of a finished replicate: nothing that grows with its segments.

    Args:
        entry: its entry in results.json.
        tests: test metrics by arm, averaged over retrains.
        test_examples: the size of the test set as its tests saw it; None where that means nothing.
    """

    entry: Mapping[str, Any]
    tests: Mapping[str, Mapping[str, float | None]]
    test_examples: int | None


def replicate_record(
    spec: StudySpec, seed: int, arms: Mapping[str, ArmRecord], data: Mapping[str, int] | None
) -> ReplicateRecord:
    """Return what is kept of a replicate.

    Args:
        spec: the study.
        seed: the replicate's.
        arms: label -> record, with every arm of the study.
        data: sizes of the task's data by part; None for a task without data.
    """
    seen = (arms[arm.label].tests[0].correct for arm in spec.arms)
    return ReplicateRecord(
        _replicate(spec, seed, arms, spec.identity, Ledger(spec, data)),
        {arm.label: mean_test(arms[arm.label].tests, spec.task.metrics) for arm in spec.arms},
        next((len(correct) for correct in seen if correct is not None), None),
    )


def results_json(
    spec: StudySpec,
    records: Mapping[int, ReplicateRecord],
    *,
    registration: Registration | None,
    identity: Mapping[str, Any],
    data: Mapping[str, int] | None,
    environment: Mapping[str, Any],
    statistics: bool = True,
) -> dict[str, Any]:
    """Return what results.json holds.

    Args:
        spec: the study.
        records: of finished replicates, by seed.
        registration: the plan of the comparison; None where there is none.
        identity: of the task.
        data: sizes of its data by part; None for a task without data.
        environment: the only part that may differ from machine to machine.
        statistics: compute the comparisons.
    """
    replicates = [dict(records[seed].entry) for seed in spec.seeds if seed in records]
    metrics = spec.task.metrics
    document = {
        "schema_version": SCHEMA_VERSION,
        "study": dict(spec.document),
        "task": {
            "name": spec.task_name,
            "unit": spec.task.unit,
            "primary": metrics[0].name,
            "metrics": [asdict(metric) for metric in metrics],
            "search_space": spec.space.to_json(),
            "data": None if data is None else {**data, **_test_size(records)},
            "fingerprint": identity["data"],
        },
        "environment": dict(environment),
        "planned_seeds": list(spec.seeds),
        "intervals": spec.intervals,
        "interval": float(spec.interval),
        "retrains": spec.retrains,
        "arms": [_arm_options(arm) for arm in spec.arms],
        "registration": None if registration is None else registration.to_json(),
        "comparison": comparison_of(spec),
        "replicates": replicates,
    }
    return document | (compared(document) if statistics else {})


def _arm_options(arm: Arm) -> dict[str, Any]:
    return {
        "label": arm.label,
        "optimizer": arm.optimizer_name,
        "options": to_table(arm.optimizer) | dict(arm.optimizer.resolved()),
        "stream": arm.stream,
        "concurrency": arm.concurrency,
        "without": list(arm.without),
        "derived_from": arm.derived_from,
        "replay": arm.replay,
    }


def _test_size(records: Mapping[int, ReplicateRecord]) -> dict[str, int]:
    """Return the size of the test set as the tests saw it; empty before the first."""
    seen = (record.test_examples for record in records.values())
    return next(({"test": count} for count in seen if count is not None), {})


def population_hash(problem: Problem, identity: Mapping[str, Any], seed: int) -> str:
    """Return a digest of what determines the initial population: the task, the seed and every slot's hyperparameters."""
    hparams = [dict(problem.hparams(slot)) for slot in range(problem.population_size)]
    return digest(canonical({"task": identity, "seed": seed, "hparams": hparams}))


def _replicate(
    spec: StudySpec, seed: int, arms: Mapping[str, ArmRecord], identity: Mapping[str, Any], ledger: "Ledger"
) -> dict[str, Any]:
    done_before: set[Key] = set()
    # Of the whole space: an arm may leave out optional hyperparameters, and starts from the same population all the same.
    whole = replace(spec.arms[0], without=())
    return {
        "seed": seed,
        "population_hash": population_hash(spec.problem(seed, whole), identity, seed),
        "arms": {arm.label: _arm(spec, arms[arm.label], done_before, ledger) for arm in spec.arms},
    }


def _arm(spec: StudySpec, record: ArmRecord, done_before: set[Key], ledger: "Ledger") -> dict[str, Any]:
    """Return one arm's entry; its keys are added to `done_before`."""
    search = record.search
    keys = set(search.results)
    best = search.results[search.best]
    computed = len(keys - done_before)
    done_before |= keys
    return {
        "validation": _finite(best.metrics),
        "test": mean_test(record.tests, spec.task.metrics),
        "tests": [test_metrics(test, spec.task.metrics) for test in record.tests],
        "test_diverged": any(test.diverged for test in record.tests),
        "selected": {"member": best.segment.member, "interval": best.segment.interval},
        "schedule": [_step(step) for step in schedule_of(record.path)],
        "charged_intervals": search.charged,
        "computed_intervals": computed,
        **ledger.spent(search),
        "retrained_intervals": record.retrained,
        "retrains": len(record.tests),
        "diverged": sum(
            1 for result in search.results.values() if result.diverged and not _parent_diverged(search, result)
        ),
        "exploits": sum(1 for result in search.results.values() if _copied(search, result.segment)),
        "boundary_hits": 0,
        "all_diverged": 0,
        **search.counts,
        "test_openings": record.test_openings,
        "incumbent": _incumbent(spec, search),
        "finals": _finals(spec, search),
        "correct": _packed(record.tests),
    }


@dataclass(frozen=True)
class Ledger:
    """What a search costs beside its intervals.

    Args:
        spec: the study.
        data: sizes of its task's data by part; None for a task without data.
    """

    spec: StudySpec
    data: Mapping[str, int] | None

    def spent(self, search: SearchRecord) -> dict[str, int | None]:
        """Return the optimizer steps, examples and evaluations of a search; an interval that diverged was not finished.

        Steps are counted where each batch is known to be one, and examples where there are data; else they are None.
        """
        finished = Counter(result.segment.interval for result in search.results.values() if not result.diverged)
        sizes = [(self._examples(interval), count) for interval, count in finished.items()]
        task = self.spec.task
        known = self.data is not None and task.one_step_per_batch
        return {
            "optimizer_steps": sum(-(-size // task.batch_size) * count for size, count in sizes) if known else None,
            "examples": None if self.data is None else sum(size * count for size, count in sizes),
            "evaluations": finished.total(),
        }

    def _examples(self, interval: int) -> int:
        """Return how many examples an interval trains on."""
        if self.data is None:
            return 0
        start, stop = (boundary(at, self.spec.interval, self.data["train"]) for at in (interval, interval + 1))
        task = self.spec.task
        return stop - start - ((stop - start) % task.batch_size if task.drop_last and task.one_step_per_batch else 0)


def _incumbent(spec: StudySpec, search: SearchRecord) -> list[float | None]:
    """Return the best validation value so far, each time that one more interval per member has been charged."""
    name = spec.task.metrics[0].name
    best: float | None = None
    score = -math.inf
    points: list[float | None] = []
    for told, result in enumerate(search.results.values(), start=1):
        if result.score > score:
            best, score = result.metrics[name], result.score
        if told % spec.population_size == 0:
            points.append(best)
    return [*points, *[best] * spec.intervals][: spec.intervals]


def _finals(spec: StudySpec, search: SearchRecord) -> list[float | None]:
    """Return the validation values of all members that have the full budget, by slot; null where one diverged."""
    name = spec.task.metrics[0].name
    finals = [result for result in search.results.values() if result.segment.interval == spec.intervals - 1]
    return [result.metrics.get(name) for result in sorted(finals, key=lambda result: result.segment.member)]


def _packed(tests: Sequence[TestResult]) -> dict[str, Any] | None:
    """Return for each retrain which test examples it got right, eight to a byte in base64; None where that means nothing."""
    rows = [test.correct for test in tests if test.correct is not None]
    if len(rows) < len(tests):
        return None
    bits = [base64.b64encode(np.packbits(row).tobytes()).decode("ascii") for row in rows]
    return {"count": len(rows[0]), "bits": bits}


def _step(step: Step) -> dict[str, Any]:
    return {"member": step.member, "start": step.start, "stop": step.stop, "hparams": dict(step.hparams)}


def _parent_diverged(search: SearchRecord, result: Any) -> bool:
    parent = result.segment.parent
    return parent is not None and search.results[parent].diverged


def _copied(search: SearchRecord, segment: Segment) -> bool:
    """Say whether a segment goes on from another checkpoint than its member's own last one."""
    if segment.parent is None:
        return False
    parent = search.results[segment.parent].segment
    return (parent.member, parent.interval) != (segment.member, segment.interval - 1)


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def test_metrics(test: TestResult, metrics: Sequence[Metric]) -> dict[str, float | None]:
    """Return the test metrics; one that was not finite and has no worst value is null."""
    missing = {metric.name: None for metric in metrics if metric.name not in test.metrics}
    return {**_finite(test.metrics), **missing}


def mean_test(tests: Sequence[TestResult], metrics: Sequence[Metric]) -> dict[str, float | None]:
    """Return the test metrics averaged over the retrains of one search; counts are added up.

    Retrains are no replicates: they share the search, so that what they say goes into one number.
    """
    if len(tests) == 1:
        return test_metrics(tests[0], metrics)
    each = [test_metrics(test, metrics) for test in tests]
    counts = {"count"} | {metric.counts for metric in metrics if metric.counts is not None}
    out: dict[str, float | None] = {}
    for name in each[0]:
        values = [found.get(name) for found in each]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            out[name] = None
        else:
            out[name] = sum(known) if name in counts else math.fsum(known) / len(known)
    return out


def dumps(document: Mapping[str, Any]) -> bytes:
    """Return a document as the bytes of a JSON file."""
    return (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
