"""results.json and segments.csv: plain records of what a study found, identical however it was run."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hpo.canonical import canonical, digest
from hpo.protocols import Metric, Problem
from hpo.registry import to_table
from hpo.search import SearchRecord
from hpo.segments import Key, Segment, Step, lineage, schedule_of
from hpo.spec import StudySpec
from hpo.statistics import PairedComparison, Verdict, compare_paired, decide
from hpo.store import TestResult

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ArmRecord:
    """Everything about one arm in one replicate.

    Args:
        seed: the replicate's seed.
        label: the arm's.
        search: what its search did.
        test: what the test set said of its retrained model.
        test_openings: how often its test set was opened.
    """

    seed: int
    label: str
    search: SearchRecord
    test: TestResult
    test_openings: int

    @property
    def path(self) -> list[Segment]:
        """The best lineage, root first."""
        return lineage(self.search.best, lambda key: self.search.results[key].segment)


def results_json(
    spec: StudySpec,
    records: Mapping[int, Mapping[str, ArmRecord]],
    *,
    identity: Mapping[str, Any],
    data: Mapping[str, int] | None,
    environment: Mapping[str, Any],
) -> dict[str, Any]:
    """Return what results.json holds.

    Args:
        spec: the study.
        records: finished replicates: seed -> label -> record, with every arm of the study.
        identity: of the task.
        data: sizes of its data by part; None for a task without data.
        environment: the only part that may differ from machine to machine.
    """
    replicates = [_replicate(spec, seed, records[seed], identity) for seed in spec.seeds if seed in records]
    metrics = spec.task.metrics
    return {
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
        "arms": [
            {
                "label": arm.label,
                "optimizer": arm.optimizer_name,
                "options": to_table(arm.optimizer) | dict(arm.optimizer.resolved()),
                "stream": arm.stream,
                "concurrency": arm.concurrency,
            }
            for arm in spec.arms
        ],
        "comparison": _plan(spec),
        "replicates": replicates,
        "comparisons": _comparisons(spec, replicates),
    }


def _plan(spec: StudySpec) -> dict[str, Any] | None:
    """Return what the study is to decide, with nothing left to a default."""
    plan = spec.comparison
    if plan is None:
        return None
    metric = next(metric for metric in spec.task.metrics if metric.name == plan.metric)
    return {"baseline": plan.baseline, "metric": plan.metric, "direction": metric.direction, "alpha": plan.alpha}


def _test_size(records: Mapping[int, Mapping[str, ArmRecord]]) -> dict[str, int]:
    """Return the size of the test set as the tests saw it; empty before the first."""
    seen = (record.test.correct for arms in records.values() for record in arms.values())
    return next(({"test": len(correct)} for correct in seen if correct is not None), {})


def population_hash(problem: Problem, identity: Mapping[str, Any], seed: int) -> str:
    """Return a digest of what determines the initial population: the task, the seed and every slot's hyperparameters."""
    hparams = [dict(problem.hparams(slot)) for slot in range(problem.population_size)]
    return digest(canonical({"task": identity, "seed": seed, "hparams": hparams}))


def _replicate(
    spec: StudySpec, seed: int, arms: Mapping[str, ArmRecord], identity: Mapping[str, Any]
) -> dict[str, Any]:
    done_before: set[Key] = set()
    out = {}
    for arm in spec.arms:
        out[arm.label] = _arm(spec, arms[arm.label], done_before)
    return {
        "seed": seed,
        "population_hash": population_hash(spec.problem(seed, spec.arms[0]), identity, seed),
        "arms": out,
    }


def _arm(spec: StudySpec, record: ArmRecord, done_before: set[Key]) -> dict[str, Any]:
    """Return one arm's entry; its keys are added to `done_before`."""
    search = record.search
    keys = set(search.results)
    best = search.results[search.best]
    computed = len(keys - done_before)
    done_before |= keys
    return {
        "validation": _finite(best.metrics),
        "test": test_metrics(record.test, spec.task.metrics),
        "test_diverged": record.test.diverged,
        "selected": {"member": best.segment.member, "interval": best.segment.interval},
        "schedule": [_step(step) for step in schedule_of(record.path)],
        "charged_intervals": search.charged,
        "computed_intervals": computed,
        "diverged": sum(
            1 for result in search.results.values() if result.diverged and not _parent_diverged(search, result)
        ),
        "exploits": sum(1 for result in search.results.values() if _copied(search, result.segment)),
        "boundary_hits": 0,
        "all_diverged": 0,
        **search.counts,
        "test_openings": record.test_openings,
    }


def _step(step: Step) -> dict[str, Any]:
    return {"member": step.member, "start": step.start, "stop": step.stop, "hparams": dict(step.hparams)}


def _parent_diverged(search: SearchRecord, result: Any) -> bool:
    parent = result.segment.parent
    return parent is not None and search.results[parent].diverged


def _copied(search: SearchRecord, segment: Segment) -> bool:
    return segment.parent is not None and search.results[segment.parent].segment.member != segment.member


def _finite(metrics: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}


def test_metrics(test: TestResult, metrics: Sequence[Metric]) -> dict[str, float | None]:
    """Return the test metrics; one that was not finite is the metric's worst value, or null where it has none."""
    missing = {metric.name: metric.worst for metric in metrics if metric.name not in test.metrics}
    return {**_finite(test.metrics), **missing}


def _comparisons(spec: StudySpec, replicates: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return every arm against the baseline, paired by replicate."""
    plan = spec.comparison
    if plan is None or not replicates:
        return []
    metric = next(metric for metric in spec.task.metrics if metric.name == plan.metric)
    arms = [arm.label for arm in spec.arms if arm.label != plan.baseline]
    found: dict[str, PairedComparison | None] = {}
    reasons = {}
    for label in arms:
        found[label] = _compare(replicates, plan.baseline, label, metric, plan.alpha)
        reason = _why_not_comparable(spec, replicates, plan.baseline, label)
        if found[label] is None:
            reason = f"a test {metric.name} is undefined, because a retrained model diverged"
        if reason is not None:
            reasons[label] = reason
    verdicts = decide(
        list(found.items()),
        baseline=plan.baseline,
        metric=metric.name,
        direction=metric.direction,
        alpha=plan.alpha,
        planned=len(spec.seeds),
        not_comparable=reasons,
    )
    return [
        {"baseline": plan.baseline, "arm": label, "metric": metric.name}
        | _numbers(found[label], verdicts[label])
        | {"verdict": {"kind": verdicts[label].kind, "words": verdicts[label].words}}
        for label in arms
    ]


def _why_not_comparable(
    spec: StudySpec, replicates: Sequence[Mapping[str, Any]], baseline: str, label: str
) -> str | None:
    """Return why two arms cannot be compared: other budgets (one member's and more), or other rules of selection; or None."""
    rules = {arm.label: getattr(arm.optimizer, "select", "final") for arm in spec.arms}
    if rules[baseline] != rules[label]:
        return f"their answers were selected by other rules, {rules[baseline]!r} and {rules[label]!r}"
    for replicate in replicates:
        ours, theirs = (replicate["arms"][name]["charged_intervals"] for name in (baseline, label))
        if abs(ours - theirs) >= spec.intervals:
            return f"their budgets differ: {ours} and {theirs} intervals were charged with seed {replicate['seed']}"
    return None


def _compare(
    replicates: Sequence[Mapping[str, Any]], baseline: str, label: str, metric: Metric, alpha: float
) -> PairedComparison | None:
    """Return the comparison of the pairs; None where a value is missing."""
    tests = [(replicate["arms"][baseline]["test"], replicate["arms"][label]["test"]) for replicate in replicates]
    a, b = ([test[metric.name] for test in side] for side in zip(*tests, strict=True))
    if None in a or None in b:
        return None
    counts = None
    totals = {test.get("count") for pair in tests for test in pair}
    if metric.counts is not None and len(totals) == 1 and None not in totals:
        # Rates of one number of examples: the exact test is on the integers, where ties are exact.
        counts = tuple([test[metric.counts] for test in side] for side in zip(*tests, strict=True))
    return compare_paired(a, b, alpha=alpha, counts=counts)  # type: ignore[arg-type]


def _numbers(comparison: PairedComparison | None, verdict: Verdict) -> dict[str, Any]:
    """Return a comparison's numbers; pairs and means only where nothing is decided.

    While the study is in progress nobody peeks by accident; what is not comparable has no p that means something.
    """
    tested: dict[str, float | None] = dict.fromkeys(
        ("variance", "p_sign_flip", "p_holm", "ci_low", "ci_high", "p_t", "d_z")
    )
    if comparison is None:
        return {"n": 0, "differences": [], "mean": None, **tested}
    if verdict.kind not in ("in progress", "not comparable"):
        tested = {name: getattr(comparison, name, None) for name in tested} | {"p_holm": verdict.p_holm}
    return {
        "n": comparison.n,
        "differences": list(comparison.differences),
        "mean": comparison.mean,
        **tested,
    }


def dumps(document: Mapping[str, Any]) -> bytes:
    """Return a document as the bytes of a JSON file."""
    return (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def segments_csv(spec: StudySpec, records: Iterable[ArmRecord]) -> bytes:
    """Return every search segment of the records as CSV, one row each, in the order in which they were told."""
    hparams = list(spec.space)
    records = list(records)
    metrics = list(
        dict.fromkeys(
            name for record in records for result in record.search.results.values() for name in result.metrics
        )
    )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["seed", "arm", "member", "interval", "parent_member", "on_best_lineage", "diverged"]
        + [f"hparam:{name}" for name in hparams]
        + [f"metric:{name}" for name in metrics]
    )
    for record in records:
        results = record.search.results
        best = set(_lineage_keys(record.search))
        for key, result in results.items():
            segment = result.segment
            parent = "" if segment.parent is None else results[segment.parent].segment.member
            writer.writerow(
                [
                    record.seed,
                    record.label,
                    segment.member,
                    segment.interval,
                    parent,
                    int(key in best),
                    int(result.diverged),
                ]
                + [_text(segment.hparams[name]) for name in hparams]
                + [_text(result.metrics.get(name)) for name in metrics]
            )
    return out.getvalue().encode()


def _text(value: object) -> object:
    return "" if value is None else repr(value) if isinstance(value, float) else value


def _lineage_keys(search: SearchRecord) -> Iterable[Key]:
    at: Key | None = search.best
    while at is not None:
        yield at
        at = search.results[at].segment.parent
