"""Builds the records of results.json from searches and tests; they do not depend on how the study was run."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from hpo.core.optimizer import Problem
from hpo.core.registry import to_table
from hpo.core.segments import Key, Segment, canonical, digest, schedule_of
from hpo.core.splits import boundary
from hpo.core.task import Metric
from hpo.engine.registration import Registration, comparison_of
from hpo.engine.search import SearchRecord
from hpo.results.document import (
    SCHEMA_VERSION,
    ArmResult,
    ArmSettings,
    Correctness,
    Environment,
    Evidence,
    Metrics,
    Replicate,
    Selected,
    StudyDocument,
    TaskRecord,
    budgets,
)
from hpo.store import TestResult
from hpo.study.spec import Arm, StudySpec


@dataclass(frozen=True)
class ArmRecord:
    """Everything about one arm in one replicate.

    Args:
        seed: the replicate's seed.
        label: the arm's label.
        search: its finished search.
        tests: the test result of each retrained model.
        test_openings: how often its test set was opened.
        retrained: intervals trained on the full split, summed over all retrains.
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
        return self.search.path


def evidence(
    spec: StudySpec,
    replicates: Mapping[int, Replicate],
    *,
    registration: Registration | None,
    data: Mapping[str, int] | None,
    environment: Environment,
) -> Evidence:
    """Return the content of results.json without its statistics.

    Args:
        spec: the study.
        replicates: the finished replicates, by seed.
        registration: the plan of the comparison; None if nothing is compared.
        data: sizes of the task's data by part; None for a task without data.
        environment: the only part that may differ from machine to machine.
    """
    found = tuple(replicates[seed] for seed in spec.seeds if seed in replicates)
    metrics = spec.task.metrics
    return Evidence(
        schema_version=SCHEMA_VERSION,
        study=cast(StudyDocument, spec.document),
        task=TaskRecord(
            name=spec.bound.name,
            unit=spec.task.unit,
            primary=metrics[0].name,
            metrics=tuple(metrics),
            search_space=spec.space.to_json(),
            data=None if data is None else {**data, **_test_size(found)},
            fingerprint=spec.bound.identity["data"],
        ),
        environment=environment,
        planned_seeds=spec.seeds,
        intervals=spec.intervals,
        interval=float(spec.interval),
        retrains=spec.retrains,
        arms=tuple(_settings(arm) for arm in spec.arms),
        registration=None if registration is None else registration.record,
        comparison=comparison_of(spec),
        replicates=found,
    )


def _settings(arm: Arm) -> ArmSettings:
    return ArmSettings(
        label=arm.label,
        optimizer=arm.optimizer_name,
        options=to_table(arm.optimizer) | dict(arm.optimizer.resolved()),
        stream=arm.stream,
        concurrency=arm.concurrency,
        without=arm.without,
        derived_from=arm.derived_from,
        replay=arm.replay,
    )


def _test_size(replicates: Iterable[Replicate]) -> dict[str, int]:
    """Return the size of the test set according to the tests; empty before the first test."""
    seen = (arm.correct for replicate in replicates for arm in replicate.arms.values())
    return next(({"test": correct.count} for correct in seen if correct is not None), {})


def population_hash(problem: Problem, identity: Mapping[str, Any], seed: int) -> str:
    """Return a digest of what determines the initial population: the task, the seed and every slot's hyperparameters."""
    hparams = [dict(problem.hparams(slot)) for slot in range(problem.population_size)]
    return digest(canonical({"task": identity, "seed": seed, "hparams": hparams}))


def replicate(spec: StudySpec, seed: int, arms: Mapping[str, ArmRecord], data: Mapping[str, int] | None) -> Replicate:
    """Return a finished replicate's record, whose size does not grow with its segments.

    Args:
        spec: the study.
        seed: the replicate's seed.
        arms: label -> record, with every arm of the study.
        data: sizes of the task's data by part; None for a task without data.
    """
    done_before: set[Key] = set()
    # Over the whole space: an arm that leaves out optional hyperparameters still starts from the same population.
    whole = replace(spec.arms[0], without=())
    return Replicate(
        seed,
        population_hash(spec.problem(seed, whole), spec.bound.identity, seed),
        {arm.label: _result(spec, arms[arm.label], done_before, Ledger(spec, data)) for arm in spec.arms},
    )


def _result(spec: StudySpec, record: ArmRecord, done_before: set[Key], ledger: "Ledger") -> ArmResult:
    """Return one arm's result; its keys are added to `done_before`."""
    search = record.search
    keys = set(search.results)
    best = search.results[search.best]
    computed = len(keys - done_before)
    done_before |= keys
    return ArmResult.model_validate(
        {
            "validation": _finite(best.metrics),
            "test": mean_test(record.tests, spec.task.metrics),
            "tests": tuple(test_metrics(test, spec.task.metrics) for test in record.tests),
            "test_diverged": any(test.diverged for test in record.tests),
            "selected": Selected(best.segment.member, best.segment.interval),
            "schedule": schedule_of(record.path),
            "charged_intervals": search.charged,
            "computed_intervals": computed,
            **ledger.spent(search),
            "retrained_intervals": record.retrained,
            "retrains": len(record.tests),
            "diverged": sum(
                1 for result in search.results.values() if result.diverged and not _parent_diverged(search, result)
            ),
            "exploits": sum(1 for result in search.results.values() if _copied(search, result.segment)),
            **search.counts,
            "test_openings": record.test_openings,
            "incumbent": tuple(_incumbent(spec, search)),
            "finals": tuple(_finals(spec, search)),
            "correct": _packed(record.tests),
        }
    )


@dataclass(frozen=True)
class Ledger:
    """Computes the costs of a search besides its intervals.

    Args:
        spec: the study.
        data: sizes of its task's data by part; None for a task without data.
    """

    spec: StudySpec
    data: Mapping[str, int] | None

    def spent(self, search: SearchRecord) -> dict[str, int | None]:
        """Return the optimizer steps, examples and evaluations of a search; diverged intervals do not count.

        Steps are None unless each batch is known to be one step. Examples are None if the task has no data, or drops an unknown
        number of them.
        """
        task = self.spec.task
        finished = Counter(self._batches(result.segment) for result in search.results.values() if not result.diverged)
        sizes = [(self._examples(interval, batch), batch, count) for (interval, batch), count in finished.items()]
        steps_known = self.data is not None and task.one_step_per_batch
        known = steps_known or (self.data is not None and not task.drop_last)
        return {
            "optimizer_steps": sum(-(-size // batch) * count for size, batch, count in sizes) if steps_known else None,
            "examples": sum(size * count for size, _, count in sizes) if known else None,
            "evaluations": finished.total(),
        }

    def _batches(self, segment: Segment) -> tuple[int, int]:
        """Return a segment's interval, and the size of its batches; 1 if there are none."""
        return segment.interval, 1 if self.data is None else self.spec.task.batch_size_of(segment.hparams)

    def _examples(self, interval: int, batch: int) -> int:
        """Return how many examples an interval trains on, in batches of a size."""
        if self.data is None:
            return 0
        start, stop = (boundary(at, self.spec.interval, self.data["train"]) for at in (interval, interval + 1))
        return stop - start - ((stop - start) % batch if self.spec.task.drop_last else 0)


def _incumbent(spec: StudySpec, search: SearchRecord) -> list[float | None]:
    """Return the best validation value so far at each of the budgets of a curve."""
    name = spec.task.metrics[0].name
    at = budgets(spec.population_size, spec.intervals, function=spec.task.is_function)
    best: float | None = None
    score = -math.inf
    points: list[float | None] = []
    for count, result in enumerate(search.results.values(), start=1):
        if result.score > score:
            best, score = result.metrics[name], result.score
        if len(points) < len(at) and count == at[len(points)]:
            points.append(best)
    return points + [best] * (len(at) - len(points))


def _finals(spec: StudySpec, search: SearchRecord) -> list[float | None]:
    """Return the validation values of all members with the full budget, by slot; null if the member diverged.

    An optimizer may name others as its final results.
    """
    name = spec.task.metrics[0].name
    if search.finals is not None:
        return [search.results[key].metrics.get(name) for key in search.finals]
    finals = [result for result in search.results.values() if result.segment.interval == spec.intervals - 1]
    return [result.metrics.get(name) for result in sorted(finals, key=lambda result: result.segment.member)]


def _packed(tests: Sequence[TestResult]) -> Correctness | None:
    """Return which test examples each retrain got right; None if the task does not report this."""
    rows = [test.correct for test in tests if test.correct is not None]
    return Correctness.of(rows) if len(rows) == len(tests) else None


def _parent_diverged(search: SearchRecord, result: Any) -> bool:
    parent = result.segment.parent
    return parent is not None and search.results[parent].diverged


def _copied(search: SearchRecord, segment: Segment) -> bool:
    """Return whether a segment starts from a checkpoint other than its member's own last one."""
    if segment.parent is None:
        return False
    parent = search.results[segment.parent].segment
    return (parent.member, parent.interval) != (segment.member, segment.interval - 1)


def _finite(metrics: Mapping[str, float]) -> Metrics:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def test_metrics(test: TestResult, metrics: Sequence[Metric]) -> Metrics:
    """Return the test metrics; a non-finite metric without a worst value is null."""
    missing = {metric.name: None for metric in metrics if metric.name not in test.metrics}
    return {**_finite(test.metrics), **missing}


def mean_test(tests: Sequence[TestResult], metrics: Sequence[Metric]) -> Metrics:
    """Return the test metrics averaged over the retrains of one search; counts are added up.

    Retrains are not replicates: they share the search, so they count as one observation.
    """
    if len(tests) == 1:
        return test_metrics(tests[0], metrics)
    each = [test_metrics(test, metrics) for test in tests]
    counts = {"count"} | {metric.counts for metric in metrics if metric.counts is not None}
    out: Metrics = {}
    for name in each[0]:
        values = [found.get(name) for found in each]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            out[name] = None
        else:
            out[name] = sum(known) if name in counts else math.fsum(known) / len(known)
    return out
