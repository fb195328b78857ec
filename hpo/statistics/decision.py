"""The decision rule, fixed before the data: the Holm-adjusted exact sign-flip p alone decides."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from hpo.statistics.paired import PairedComparison, smallest_p
from hpo.statistics.power import seeds_needed

VerdictKind = Literal["in progress", "cannot show a difference", "better", "worse", "inconclusive", "not comparable"]

_POWER = 0.8


@dataclass(frozen=True)
class Verdict:
    """What may be said of one arm against the baseline.

    Attributes:
        kind: the verdict.
        words: the verdict as one full sentence, with the numbers that it rests on.
        p_holm: the Holm-adjusted sign-flip p; None when not comparable or in progress, where no p is part of a verdict.
    """

    kind: VerdictKind
    words: str
    p_holm: float | None


@dataclass(frozen=True)
class _Rule:
    """What all arms of one study share."""

    baseline: str
    metric: str
    direction: Literal["minimize", "maximize"]
    alpha: float
    planned: int
    family: int

    @property
    def level(self) -> str:
        several = f" over {self.family} comparisons" if self.family > 1 else ""
        return f"alpha = {self.alpha:g}{several}"


def holm_adjusted(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p values adjusted for their number by Holm's step-down method, in the order given.

    Raises:
        ValueError: a p value is not in [0, 1].

    References:
        Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).
    """
    for p in p_values:
        if not 0 <= p <= 1:
            raise ValueError(f"a p value must lie between 0 and 1, got {p!r}")
    if len(p_values) < 2:  # one p needs no adjustment, and `multipletests` runs the garbage collector at every call
        return tuple(float(p) for p in p_values)
    from statsmodels.stats.multitest import multipletests

    return tuple(float(p) for p in multipletests(list(p_values), method="holm")[1])


def decide(
    comparisons: Sequence[tuple[str, PairedComparison | None]],
    *,
    baseline: str,
    metric: str,
    direction: Literal["minimize", "maximize"],
    alpha: float,
    planned: int,
    not_comparable: Mapping[str, str] | None = None,
) -> dict[str, Verdict]:
    """Give a verdict on every arm; the first rule that applies to an arm decides.

    1. Named in `not_comparable`: *not comparable*.
    2. Fewer pairs than planned: *in progress*; the words show pairs and mean, never a p.
    3. n < 1 + log2(m / alpha) for m comparisons: *cannot show a difference*, whatever the data.
    4. Holm-adjusted p <= alpha: *better* or *worse*, by the direction and the sign of the mean.
    5. Else *inconclusive*, with the number of seeds that an effect as large as the observed one would need.

    The family is all m arms named, whichever rule applies to them. An arm that has no p yet, or whose p means nothing,
    enters Holm's method with p = 1: this keeps the family-wise error below alpha, and what is *better* or *worse* stays
    so when the other arms are done.

    Args:
        comparisons: (arm, comparison with the baseline) for every arm; None for an arm without a pair so far.
        baseline: name of the baseline.
        metric: name of the metric.
        direction: whether a small or a large metric is good.
        alpha: family-wise two-sided level.
        planned: number of pairs that the study plans per arm.
        not_comparable: for each arm that may not be compared, the reason; an arm may stand here and not in
            `comparisons`.

    Returns:
        A verdict per arm, in the order given.

    Raises:
        ValueError: an arm given twice, or with more pairs than planned; alpha outside (0, 1); planned below 1; an
            unknown direction.
    """
    reasons = dict(not_comparable or {})
    arms = dict(comparisons)
    _check(comparisons, direction=direction, alpha=alpha, planned=planned)
    names = list(arms) + [name for name in reasons if name not in arms]
    rule = _Rule(baseline, metric, direction, alpha, planned, family=len(names))
    done = {name: pairs for name, pairs in arms.items() if pairs and pairs.n == planned and name not in reasons}
    adjusted = holm_adjusted([done[name].p_sign_flip if name in done else 1.0 for name in names])
    unfinished = sum(name not in done and name not in reasons for name in names)
    verdicts: dict[str, Verdict] = {}
    for name, p_holm in zip(names, adjusted, strict=True):
        if name in reasons:
            words = f"{name} is not comparable with {baseline}: {reasons[name].rstrip('.')}."
            verdicts[name] = Verdict("not comparable", words, None)
        elif name in done:
            verdicts[name] = _tested(name, done[name], p_holm, rule, unfinished)
        else:
            verdicts[name] = _in_progress(name, arms[name], rule)
    return verdicts


def _check(
    comparisons: Sequence[tuple[str, PairedComparison | None]], *, direction: str, alpha: float, planned: int
) -> None:
    if direction not in ("minimize", "maximize"):
        raise ValueError(f'direction must be "minimize" or "maximize", got {direction!r}')
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha!r}")
    if planned < 1:
        raise ValueError(f"planned must be 1 or more pairs, got {planned}")
    seen: set[str] = set()
    for name, comparison in comparisons:
        if name in seen:
            raise ValueError(f"comparisons: arm {name!r} is given twice")
        seen.add(name)
        if comparison is not None and comparison.n > planned:
            raise ValueError(
                f"comparisons: arm {name!r} has {comparison.n} pairs where {planned} were planned; p values of a study"
                " that was extended are exploratory and give no verdict"
            )


def _in_progress(name: str, comparison: PairedComparison | None, rule: _Rule) -> Verdict:
    pairs = 0 if comparison is None else comparison.n
    so_far = "no pair is complete yet"
    if comparison is not None:
        so_far = f"the mean difference in {rule.metric} over {_pairs(pairs)} so far is {comparison.mean:+.4g}"
    words = f"{name} against {rule.baseline} is in progress ({pairs} of {rule.planned}): {so_far}."
    return Verdict("in progress", words, None)


def _tested(name: str, comparison: PairedComparison, p_holm: float, rule: _Rule, unfinished: int) -> Verdict:
    """Give the verdict on an arm whose planned pairs are all there."""
    smallest = smallest_p(comparison.n)
    if smallest * rule.family > rule.alpha:
        limit = f"{rule.alpha / rule.family:.4g}"
        return Verdict(
            "cannot show a difference",
            f"This design cannot show a difference between {name} and {rule.baseline}: with {_pairs(comparison.n)} the"
            f" smallest two-sided p that can be reached is {smallest:.4g}, and it must not exceed {limit}"
            f" ({rule.level}); at least {_least_pairs(rule)} pairs are needed.",
            p_holm,
        )
    found = (
        f"the mean difference in {rule.metric} over {_pairs(comparison.n)} is {comparison.mean:+.4g},"
        f" {'Holm-adjusted ' if rule.family > 1 else ''}exact sign-flip p = {p_holm:.4g} ({rule.level})"
    )
    if p_holm <= rule.alpha:
        kind: VerdictKind = "better" if (comparison.mean < 0) == (rule.direction == "minimize") else "worse"
        return Verdict(kind, f"{name} is {kind} than {rule.baseline}: {found}.", p_holm)
    pending = f", with {unfinished} unfinished comparison(s) counted as p = 1" if unfinished else ""
    return Verdict(
        "inconclusive",
        f"{name} against {rule.baseline} is inconclusive: {found}{pending}; {_seeds(comparison, rule)}.",
        p_holm,
    )


def _seeds(comparison: PairedComparison, rule: _Rule) -> str:
    """Say how many seeds the observed effect needs, at the level that the first step of Holm's method tests at."""
    if not comparison.d_z:
        return "no number of seeds can be given, since the observed effect size is 0 or undefined"
    level = rule.alpha / rule.family
    needed = seeds_needed(comparison.d_z, alpha=level, power=_POWER)
    number = "more than 100,000" if needed is None else f"about {max(needed, _least_pairs(rule)):,}"
    return (
        f"an effect as large as the observed one (d_z = {comparison.d_z:+.3g}) would need {number} seeds for"
        f" {_POWER:.0%} power at two-sided alpha = {level:.4g}"
    )


def _least_pairs(rule: _Rule) -> int:
    """Return the smallest n >= 1 + log2(m / alpha), found with the comparison that the rule itself makes."""
    return next(n for n in itertools.count(1) if smallest_p(n) * rule.family <= rule.alpha)


def _pairs(n: int) -> str:
    return "1 pair" if n == 1 else f"{n} pairs"
