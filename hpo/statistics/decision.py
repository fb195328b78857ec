"""The decision rule, fixed before the data: only the Holm-adjusted sign-flip p decides.

If replicates are added until decided, the anytime-valid test decides instead (`decide_anytime`). The two are never mixed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from hpo.statistics.anytime import AnytimeResult, largest_log_e, least_anytime_pairs
from hpo.statistics.arrays import check_alpha
from hpo.statistics.paired import PairedComparison
from hpo.statistics.power import least_pairs
from hpo.statistics.signflip import smallest_p

VerdictKind = Literal[
    "in progress",
    "cannot show a difference",
    "better",
    "worse",
    "equivalent",
    "inconclusive",
    "not comparable",
    "extended after looking",
    "changed after looking",
]
Looked = Literal["extended after looking", "changed after looking"]
Direction = Literal["minimize", "maximize"]


@dataclass(frozen=True)
class Verdict:
    """The verdict on one arm against the baseline.

    Attributes:
        kind: the verdict.
        words: the verdict as a full sentence, with the numbers that it rests on.
        p_holm: the Holm-adjusted sign-flip p; None for arms that are not comparable or in progress, and for the anytime-valid test.
            After looking it is exploratory.
        p_tost_holm: the Holm-adjusted p of the two one-sided tests against the ROPE; None without a ROPE, or if `p_holm` is
            None.
        level: the level with which Holm's method compares the unadjusted p (see `holm_levels`), to be used for the interval: it
            excludes 0 exactly if the sign-flip test rejects. None if `p_holm` is None.
    """

    kind: VerdictKind
    words: str
    p_holm: float | None
    p_tost_holm: float | None = None
    level: float | None = None


@dataclass(frozen=True)
class _Rule:
    """The settings that all arms of a study share."""

    baseline: str
    metric: str
    direction: Direction
    alpha: float
    rope: float | None
    family: int

    @property
    def level(self) -> str:
        several = f" over {self.family} comparisons" if self.family > 1 else ""
        return f"alpha = {self.alpha:g}{several}"

    @property
    def adjusted(self) -> str:
        return "Holm-adjusted " if self.family > 1 else ""

    def side(self, mean: float) -> Literal["better", "worse"]:
        return "better" if (mean < 0) == (self.direction == "minimize") else "worse"


def holm_adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p values adjusted for their number by Holm's step-down method, in the given order.

    Raises:
        ValueError: a p value is not in [0, 1].

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"a p value must lie between 0 and 1, got {p!r}")
    # statsmodels' `multipletests` would run the garbage collector at every call, which takes .1 s.
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    adjusted = np.empty(len(order))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return tuple(adjusted.tolist())


def holm_levels(p_values: Sequence[float], alpha: float) -> tuple[float, ...]:
    """Return the level with which Holm's method compares each unadjusted p, in the given order.

    A rejected hypothesis is compared at its own step, alpha / (m - k + 1) for the k-th smallest of m p values; equal p values
    share the strictest of their steps. All others are compared at the first step that failed. So p <= level exactly if Holm's
    method rejects, and an interval of level 1 - level excludes 0 exactly then. Such intervals do not hold simultaneously with
    any known
    probability: Holm's method has no simultaneous intervals.

    >>> holm_levels([0.01, 0.04, 0.03], alpha=0.06)
    (0.02, 0.06, 0.03)
    >>> holm_levels([0.01, 0.04, 0.03], alpha=0.05)
    (0.016666666666666666, 0.025, 0.025)

    Raises:
        ValueError: a p value is not in [0, 1], or alpha not in (0, 1).
    """
    check_alpha(alpha)
    rejected = [adjusted <= alpha for adjusted in holm_adjusted(p_values)]
    left = len(p_values) - sum(rejected)
    levels = []
    for p, yes in zip(p_values, rejected, strict=True):
        smaller = sum(other < p for other in p_values)
        level = alpha / (len(p_values) - smaller if yes else left)
        # Rounding must not make p <= level disagree with the rejection.
        levels.append(max(level, p) if yes else min(level, math.nextafter(p, 0.0)))
    return tuple(levels)


def decide(
    comparisons: Sequence[tuple[str, PairedComparison | None]],
    *,
    baseline: str,
    metric: str,
    direction: Direction,
    alpha: float,
    planned: int,
    not_comparable: Mapping[str, str] | None = None,
    rope: float | None = None,
    looked: tuple[Looked, str] | None = None,
) -> dict[str, Verdict]:
    """Return a verdict on every arm. The first rule that applies to an arm decides.

    1. The arm is in `not_comparable`: *not comparable*.
    2. It has fewer pairs than planned: *in progress*; the words show pairs and mean, never a p.
    3. `looked`: the study was extended or changed after a test result was seen, and its p is exploratory.
    4. n < 1 + log2(m / alpha) for m comparisons: *cannot show a difference*, whatever the data.
    5. Holm-adjusted p <= alpha: *better* or *worse*, by the direction and the sign of the mean; with a `rope`, also whether the
       difference is shown to be smaller than it.
    6. A `rope`, and the Holm-adjusted p of the two one-sided tests against it <= alpha: *equivalent*.
    7. Otherwise *inconclusive*.

    The family is all m arms named, whichever rule applies to them. An arm without a p, or whose p is meaningless, enters Holm's
    method with p = 1. This keeps the family-wise error below alpha, and an arm that is *better* or *worse* stays so when the
    other arms are done.

    The probability of any false *better* or *worse* is at most alpha. With a `rope`, the equivalence tests form a second
    family: the probability of any false *equivalent* (or "by less than the ROPE") is also at most alpha, for normal
    differences. For the two together it is at most 2 alpha, but for a single arm at most alpha, because its difference cannot
    be both 0 and as large as the ROPE. A single family for both would weaken the tests for a difference.

    Args:
        comparisons: (arm, comparison with the baseline) for every arm; None for an arm without a pair so far. With a `rope`, all
            must have been compared with the same one.
        baseline: name of the baseline.
        metric: name of the metric.
        direction: whether a small or a large metric is good.
        alpha: family-wise two-sided level.
        planned: number of pairs that the study plans per arm.
        not_comparable: the reason for each arm that must not be compared; such an arm need not be in `comparisons`.
        rope: half-width of the region of practical equivalence, in the unit of the metric; None: never claim equivalence.
        looked: (kind, reason) if the plan was extended or changed after a test result had been seen.

    Returns:
        A verdict per arm, in the given order.

    Raises:
        ValueError: an arm is given twice, has more pairs than planned, or was compared with another rope; alpha is outside (0, 1);
            planned is below 1; the direction is unknown; the rope is not a positive number.
    """
    reasons = dict(not_comparable or {})
    arms = dict(comparisons)
    _check_names(comparisons)
    _check_rule(direction, alpha, rope)
    _check_pairs(arms, planned, rope)
    names = list(arms) + [name for name in reasons if name not in arms]
    rule = _Rule(baseline, metric, direction, alpha, rope, family=len(names))
    done = {name: pairs for name, pairs in arms.items() if pairs and pairs.n == planned and name not in reasons}
    p_values = [done[name].p_sign_flip if name in done else 1.0 for name in names]
    adjusted, levels = holm_adjusted(p_values), holm_levels(p_values, alpha)
    tost = holm_adjusted([_tost_p(done.get(name)) for name in names]) if rope is not None else (1.0,) * len(names)
    unfinished = sum(name not in done and name not in reasons for name in names)
    verdicts: dict[str, Verdict] = {}
    for name, p_holm, p_tost, level in zip(names, adjusted, tost, levels, strict=True):
        if name in reasons:
            verdicts[name] = _not_comparable(name, reasons[name], rule)
        elif name not in done:
            verdicts[name] = _in_progress(name, arms[name], planned, rule)
        elif looked is not None:
            verdicts[name] = replace(_exploratory(name, done[name], p_holm, p_tost, looked, rule), level=level)
        else:
            verdicts[name] = replace(_tested(name, done[name], p_holm, p_tost, rule, unfinished), level=level)
    return verdicts


def decide_anytime(
    tests: Sequence[tuple[str, AnytimeResult | None]],
    *,
    baseline: str,
    metric: str,
    direction: Direction,
    alpha: float,
    max_replicates: int,
    not_comparable: Mapping[str, str] | None = None,
    rope: float | None = None,
    looked: tuple[Looked, str] | None = None,
) -> dict[str, Verdict]:
    """Return a verdict on every arm of a study that adds replicates until decided. The first rule that applies decides.

    1. The arm is in `not_comparable`: *not comparable*.
    2. `looked`: the plan was changed after a test result was seen, and the e-value is exploratory.
    3. The e-process reached m / alpha for m arms: *better* or *worse*, by the mean of the pairs up to that point.
    4. Fewer pairs than `max_replicates`: *in progress*.
    5. Too few pairs for the e-process to reach m / alpha with any data: *cannot show a difference*.
    6. A `rope`, and the confidence sequence of level 1 - alpha / m lies within it: *equivalent*.
    7. Otherwise *inconclusive*.

    Args:
        tests: (arm, test against the baseline) for every arm, with this alpha and m as its family; None for an arm without a pair
            so far.
        baseline: name of the baseline.
        metric: name of the metric.
        direction: whether a small or a large metric is good.
        alpha: level over all arms.
        max_replicates: number of pairs at which the study gives up.
        not_comparable: the reason for each arm that must not be compared.
        rope: half-width of the region of practical equivalence.
        looked: (kind, reason) if the plan was changed after a test result had been seen; adding replicates is not a change.

    Returns:
        A verdict per arm, in the given order; its p is in the test.

    Raises:
        ValueError: an arm is given twice, has more pairs than `max_replicates`, or was tested at another level; alpha is outside
            (0, 1); max_replicates is below 1; the direction is unknown; the rope is not a positive number.
    """
    reasons = dict(not_comparable or {})
    arms = dict(tests)
    _check_names(tests)
    _check_rule(direction, alpha, rope)
    names = list(arms) + [name for name in reasons if name not in arms]
    rule = _Rule(baseline, metric, direction, alpha, rope, family=len(names))
    if max_replicates < 1:
        raise ValueError(f"max_replicates must be 1 or more pairs, got {max_replicates}")
    for name, test in arms.items():
        if test is not None and test.n > max_replicates:
            raise ValueError(f"tests: arm {name!r} has {test.n} pairs, more than max_replicates = {max_replicates}")
        if test is not None and (test.alpha, test.family) != (alpha, rule.family):
            raise ValueError(
                f"tests: arm {name!r} was tested at {test.alpha:g} over {test.family} arms, not {alpha:g} over"
                f" {rule.family}"
            )
    verdicts: dict[str, Verdict] = {}
    for name in names:
        if name in reasons:
            verdicts[name] = _not_comparable(name, reasons[name], rule)
        elif looked is not None:
            verdicts[name] = _exploratory_anytime(name, arms[name], looked, rule)
        else:
            verdicts[name] = _anytime(name, arms[name], max_replicates, rule)
    return verdicts


def _check_names(arms: Sequence[tuple[str, object]]) -> None:
    seen: set[str] = set()
    for name, _ in arms:
        if name in seen:
            raise ValueError(f"comparisons: arm {name!r} is given twice")
        seen.add(name)


def _check_rule(direction: str, alpha: float, rope: float | None) -> None:
    if direction not in ("minimize", "maximize"):
        raise ValueError(f'direction must be "minimize" or "maximize", got {direction!r}')
    check_alpha(alpha)
    if rope is not None and not 0 < rope < math.inf:
        raise ValueError(f"rope must be a positive number in the unit of the metric, got {rope!r}")


def _check_pairs(arms: Mapping[str, PairedComparison | None], planned: int, rope: float | None) -> None:
    if planned < 1:
        raise ValueError(f"planned must be 1 or more pairs, got {planned}")
    for name, comparison in arms.items():
        if comparison is None:
            continue
        if comparison.n > planned:
            raise ValueError(
                f"comparisons: arm {name!r} has {comparison.n} pairs, but {planned} were planned; p values of a study that was"
                " extended are exploratory and give no verdict"
            )
        found = comparison.equivalence
        has_test = comparison.n > 1 and comparison.variance != 0
        if (found is None and has_test and rope is not None) or (found is not None and found.rope != rope):
            was = "none" if found is None else f"{found.rope:g}"
            raise ValueError(f"comparisons: arm {name!r} was compared with the rope {was}, not {rope}")


def _tost_p(comparison: PairedComparison | None) -> float:
    return 1.0 if comparison is None or comparison.equivalence is None else comparison.equivalence.p


def _not_comparable(name: str, reason: str, rule: _Rule) -> Verdict:
    return Verdict("not comparable", f"{name} is not comparable with {rule.baseline}: {reason.rstrip('.')}.", None)


def _in_progress(name: str, comparison: PairedComparison | None, planned: int, rule: _Rule) -> Verdict:
    pairs = 0 if comparison is None else comparison.n
    so_far = "no pair is complete yet"
    if comparison is not None:
        so_far = f"the mean difference in {rule.metric} over {_pairs(pairs)} so far is {comparison.mean:+.4g}"
    words = f"{name} against {rule.baseline} is in progress ({pairs} of {planned}): {so_far}."
    return Verdict("in progress", words, None)


def _found(comparison: PairedComparison, p_holm: float, rule: _Rule) -> str:
    exact, drawn = ("exact ", "") if comparison.exact else ("", " (100,000 patterns)")
    return (
        f"the mean difference in {rule.metric} over {_pairs(comparison.n)} is {comparison.mean:+.4g},"
        f" {rule.adjusted}{exact}sign-flip p{drawn} = {p_holm:.4g} ({rule.level})"
    )


def _exploratory(
    name: str,
    comparison: PairedComparison,
    p_holm: float,
    p_tost: float,
    looked: tuple[Looked, str],
    rule: _Rule,
) -> Verdict:
    """Return no verdict on an arm of a study whose plan was changed after looking."""
    kind, why = looked
    found = _found(comparison, p_holm, rule)
    words = (
        f"No verdict on {name} against {rule.baseline}: {why}, so every p is exploratory; {found};"
        ' to add seeds until decided, use the anytime-valid test (stopping = "anytime").'
    )
    return Verdict(kind, words, p_holm, p_tost if rule.rope is not None else None)


def _exploratory_anytime(name: str, test: AnytimeResult | None, looked: tuple[Looked, str], rule: _Rule) -> Verdict:
    """Return no verdict on an arm of a study that adds replicates and whose plan was changed after looking."""
    kind, why = looked
    found = "no pair is complete yet"
    if test is not None:
        found = f"the mean difference in {rule.metric} over {_pairs(test.counted)} is {test.mean:+.4g}"
    words = f"No verdict on {name} against {rule.baseline}: {why}, so its e-value is exploratory; {found}."
    return Verdict(kind, words, None)


def _tested(
    name: str, comparison: PairedComparison, p_holm: float, p_tost: float, rule: _Rule, unfinished: int
) -> Verdict:
    """Return the verdict on an arm with all its planned pairs."""
    shown_tost = None if rule.rope is None else p_tost
    smallest = smallest_p(comparison.n)
    if smallest * rule.family > rule.alpha:
        limit = f"{rule.alpha / rule.family:.4g}"
        return Verdict(
            "cannot show a difference",
            f"This design cannot show a difference between {name} and {rule.baseline}: with {_pairs(comparison.n)} the"
            f" smallest two-sided p that can be reached is {smallest:.4g}, and it must not exceed {limit}"
            f" ({rule.level}); at least {least_pairs(rule.alpha, rule.family)} pairs are needed.",
            p_holm,
            shown_tost,
        )
    found = _found(comparison, p_holm, rule)
    within = rule.rope is not None and p_tost <= rule.alpha
    tost = f"{rule.adjusted}TOST p = {p_tost:.4g}"
    if p_holm <= rule.alpha:
        kind = rule.side(comparison.mean)
        less = f", by less than the ROPE of {rule.rope:g} ({tost})" if within else ""
        return Verdict(kind, f"{name} is {kind} than {rule.baseline}{less}: {found}.", p_holm, shown_tost)
    if within:
        words = f"{name} is equivalent to {rule.baseline} within the ROPE of {rule.rope:g}: {tost}; {found}."
        return Verdict("equivalent", words, p_holm, shown_tost)
    pending = f", with {unfinished} unfinished comparison(s) counted as p = 1" if unfinished else ""
    words = f"{name} against {rule.baseline} is inconclusive: {found}{pending}."
    return Verdict("inconclusive", words, p_holm, shown_tost)


def _anytime(name: str, test: AnytimeResult | None, most: int, rule: _Rule) -> Verdict:
    """Return the verdict on an arm of a study that adds replicates until decided."""
    needed = f"needed: {rule.family / rule.alpha:.4g} ({rule.level})"
    if test is not None and test.decided_at is not None and test.mean:
        kind = rule.side(test.mean)
        words = (
            f"{name} is {kind} than {rule.baseline}: decided after {_pairs(test.decided_at)}, where the mean difference in"
            f" {rule.metric} is {test.mean:+.4g} and the anytime-valid e-value is {_e_value(test.log_e)}, {needed}."
        )
        return Verdict(kind, words, None)
    if test is None or test.n < most:
        pairs = 0 if test is None else test.n
        so_far = "no pair is complete yet"
        if test is not None:
            so_far = f"the mean difference in {rule.metric} so far is {test.mean:+.4g}, not decided ({needed})"
        words = f"{name} against {rule.baseline} is in progress ({pairs} of at most {most}): {so_far}."
        return Verdict("in progress", words, None)
    least = least_anytime_pairs(rule.alpha, rule.family)
    if test.n < least:
        words = (
            f"This design cannot show a difference between {name} and {rule.baseline}: after {_pairs(test.n)}, the most allowed,"
            f" the e-value can be no more than {_e_value(largest_log_e(test.n))}, {needed}; at least {least} pairs are needed."
        )
        return Verdict("cannot show a difference", words, None)
    found = f"after {_pairs(test.n)}, the most allowed, the mean difference in {rule.metric} is {test.mean:+.4g}"
    inside = test.interval
    if (
        rule.rope is not None
        and inside is not None
        and inside.low is not None
        and inside.high is not None
        and -rule.rope < inside.low < inside.high < rule.rope  # without spread, nothing can be called small
    ):
        words = (
            f"{name} is equivalent to {rule.baseline} within the ROPE of {rule.rope:g}: {found}, and the confidence"
            f" sequence ({inside.low:+.4g} to {inside.high:+.4g}) lies within it ({rule.level})."
        )
        return Verdict("equivalent", words, None)
    words = (
        f"{name} against {rule.baseline} is inconclusive: {found}, and the e-value is {_e_value(test.log_e)}, {needed}."
    )
    return Verdict("inconclusive", words, None)


def _e_value(log_e: float) -> str:
    return f"{math.exp(min(log_e, 700.0)):.4g}"


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
