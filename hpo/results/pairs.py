"""Compares every arm with the baseline: the pairs, and the verdicts by the study's rule."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from hpo.results.arms import Arms
from hpo.results.document import Evidence
from hpo.statistics import (
    AnytimeResult,
    PairedComparison,
    Verdict,
    anytime_test,
    compare_paired,
    decide,
    decide_anytime,
    log_sign_e_process,
    tied_differences,
)
from hpo.statistics.decision import Looked


def paired(arms: Arms, label: str, alpha: float) -> PairedComparison | None:
    """Return the comparison of an arm with the baseline, with intervals of level 1 - alpha; None if a value is missing."""
    a, b = arms.values(arms.baseline), arms.values(label)
    if a is None or b is None:
        return None
    return compare_paired(a, b, alpha=alpha, counts=_counts(arms, label), rope=arms.rule.rope)


def at_its_level(arms: Arms, label: str, found: PairedComparison, verdict: Verdict) -> PairedComparison | None:
    """Return the comparison with its intervals at the level of the verdict; None if nothing was tested."""
    if verdict.level is None:
        return None
    again = paired(arms, label, verdict.level)
    return None if again is None else replace(again, equivalence=found.equivalence)


def anytime(arms: Arms, label: str) -> AnytimeResult | None:
    """Return the anytime-valid test of an arm against the baseline; None if a value is missing."""
    differences = _differences(arms, label)
    if differences is None:
        return None
    return anytime_test(differences, alpha=arms.rule.alpha, family=len(arms.others), magnitude=0.0)


def decided_at(arms: Arms, label: str) -> int | None:
    """Return after how many pairs the anytime-valid test decides, without its slow confidence sequence."""
    differences = _differences(arms, label)
    if differences is None:
        return None
    threshold = math.log(len(arms.others) / arms.rule.alpha)
    path = log_sign_e_process(differences, magnitude=0.0)
    return next((n for n, log_e in enumerate(path, start=1) if log_e >= threshold), None)


def unlike(evidence: Evidence, labels: Sequence[str]) -> Iterator[str]:
    """Yield the reasons why these arms cannot be compared with each other, if any.

    The same rule must select their answers. In every replicate, their budgets may differ by less than one member's budget, which
    may be left over.
    """
    rules = {arm.label: arm.select for arm in evidence.arms if arm.label in labels}
    if len(set(map(str, rules.values()))) > 1:
        yield f"their answers are selected by different rules ({', '.join(f'{k}: {v!r}' for k, v in rules.items())})"
    for replicate in evidence.replicates:
        charged = {label: replicate.arms[label].charged_intervals for label in labels}
        if max(charged.values()) - min(charged.values()) >= evidence.intervals:
            listed = ", ".join(f"{label} {count}" for label, count in charged.items())
            yield f"their budgets differ: with seed {replicate.seed}, they were charged these intervals: {listed}"
            return


def not_comparable(arms: Arms) -> dict[str, str]:
    """Return why arms cannot be compared with the baseline, by label."""
    reasons = {}
    for label in arms.others:
        for reason in unlike(arms.evidence, (arms.baseline, label)):
            reasons[label] = reason
        if arms.values(arms.baseline) is None or arms.values(label) is None:
            reasons[label] = f"a test {arms.metric.name} is undefined, because a retrained model diverged"
    return reasons


def verdicts(arms: Arms, pairs: Mapping[str, PairedComparison | None]) -> dict[str, Verdict]:
    """Return the verdict on every arm for a fixed number of replicates."""
    return decide(
        list(pairs.items()),
        baseline=arms.baseline,
        metric=arms.metric.name,
        direction=arms.metric.direction,
        alpha=arms.rule.alpha,
        planned=len(arms.evidence.planned_seeds),
        not_comparable=not_comparable(arms),
        rope=arms.rule.rope,
        looked=_looked(arms),
    )


def anytime_verdicts(arms: Arms, tests: Mapping[str, AnytimeResult | None]) -> dict[str, Verdict]:
    """Return the verdict on every arm for an anytime-valid study."""
    return decide_anytime(
        list(tests.items()),
        baseline=arms.baseline,
        metric=arms.metric.name,
        direction=arms.metric.direction,
        alpha=arms.rule.alpha,
        rope=arms.rule.rope,
        max_replicates=len(arms.evidence.planned_seeds),
        not_comparable=not_comparable(arms),
        looked=_looked(arms),
    )


def _looked(arms: Arms) -> tuple[Looked, str] | None:
    """Return (kind, why) if the plan was extended or changed after a test result had been seen."""
    registration = arms.evidence.registration
    looked = None if registration is None else registration.exploratory
    return None if looked is None else (looked.kind, looked.why)


def _counts(arms: Arms, label: str) -> tuple[Any, Any] | None:
    counts = arms.counts(arms.baseline, label)
    return None if counts is None else (counts[0], counts[1])


def _differences(arms: Arms, label: str) -> Any:
    """Return the differences with exact ties: a difference from rounding alone would have a sign."""
    a, b = arms.values(arms.baseline), arms.values(label)
    return None if a is None or b is None else tied_differences(a, b, counts=_counts(arms, label))
