"""The statistical part of results.json."""

from dataclasses import replace

from hpo.results import budget, pairs, sources
from hpo.results.arms import Arms
from hpo.results.document import ArmComparison, Evidence, Results, Statistics
from hpo.statistics import AnytimeResult, ManyComparison, PairedComparison, Verdict, compare_many, reach


def with_statistics(evidence: Evidence) -> Results:
    """Return a whole document: the evidence, and the statistics computed from it."""
    return Results(**vars(evidence), **vars(compared(evidence)))


def compared(evidence: Evidence) -> Statistics:
    """Return the statistics; empty if nothing is compared, or before the first replicate."""
    if evidence.comparison is None or not evidence.replicates:
        return Statistics()
    arms = Arms(evidence, evidence.comparison)
    comparisons = _comparisons(arms)
    if any(item.verdict.kind == "in progress" for item in comparisons):
        return Statistics(comparisons)
    return Statistics(
        comparisons=comparisons,
        several=_several(arms),
        retraining={label: sources.retraining(arms, label) for label in evidence.labels},
        time_to_target=budget.target_times(arms),
        mean_ranks_over_budget=budget.ranks(arms),
    )


def decided_after(evidence: Evidence) -> int | None:
    """Return after how many replicates an anytime-valid comparison is decided; None if it is not decided yet.

    Args:
        evidence: the replicates finished so far, in the order of their seeds.
    """
    if evidence.comparison is None or not evidence.replicates:
        return None
    arms = Arms(evidence, evidence.comparison)
    reasons = pairs.not_comparable(arms)
    decided = [pairs.decided_at(arms, label) for label in arms.others if label not in reasons]
    known = [at for at in decided if at is not None]
    return max(known) if known and len(known) == len(decided) else None


def _comparisons(arms: Arms) -> tuple[ArmComparison, ...]:
    """Return the comparison of every arm with the baseline, paired by replicate."""
    found = {label: pairs.paired(arms, label, arms.rule.alpha) for label in arms.others}
    tests: dict[str, AnytimeResult | None] = {}
    if arms.rule.anytime:
        tests = {label: pairs.anytime(arms, label) for label in arms.others}
        verdicts = pairs.anytime_verdicts(arms, tests)
    else:
        verdicts = pairs.verdicts(arms, found)
    return tuple(_comparison(arms, label, found[label], tests.get(label), verdicts[label]) for label in arms.others)


def _comparison(
    arms: Arms, label: str, found: PairedComparison | None, test: AnytimeResult | None, verdict: Verdict
) -> ArmComparison:
    """Return one entry of `comparisons`; only pairs and means if nothing is decided.

    A study in progress shows no p, so that nobody peeks by accident, and arms that are not comparable have no meaningful p. An
    anytime-valid study reports no test with a fixed number of pairs. All intervals have the level at which the verdict was
    decided.
    """
    pairs_alone = ArmComparison(
        baseline=arms.baseline,
        arm=label,
        metric=arms.metric.name,
        n=0 if found is None else found.n,
        differences=() if found is None else found.differences,
        mean=None if found is None else found.mean,
        verdict=verdict,
        anytime=None if verdict.kind == "not comparable" else test,
    )
    tested = None if found is None else pairs.at_its_level(arms, label, found, verdict)
    if tested is None:
        return pairs_alone
    return replace(
        pairs_alone,
        variance=tested.variance,
        p_sign_flip=tested.p_sign_flip,
        ci_low=tested.ci_low,
        ci_high=tested.ci_high,
        p_t=tested.p_t,
        d_z=tested.d_z,
        p_holm=verdict.p_holm,
        p_tost_holm=verdict.p_tost_holm,
        level=verdict.level,
        numbers=tested,
        # For any effect: the power for the observed one would be noise.
        power=reach(n=tested.n, alpha=arms.rule.alpha, family=len(arms.others)),
        images=sources.images(arms, label, tested),
        incumbent=budget.incumbent(arms, label, verdict.kind),
        budget_equivalence=budget.equivalent_budget(arms, label),
    )


def _several(arms: Arms) -> ManyComparison | None:
    """Return the comparison of three or more arms with each other; None if there are fewer, or if values are missing."""
    labels = arms.evidence.labels
    if len(labels) < 3 or arms.rule.anytime or pairs.not_comparable(arms):
        return None
    values = {label: arms.values(label) or [] for label in labels}
    counts = arms.counts(*labels)
    return compare_many(
        values,
        alpha=arms.rule.alpha,
        larger_is_better=arms.metric.direction == "maximize",
        counts=None if counts is None else dict(zip(labels, counts, strict=True)),
    )
