"""The statistical part of results.json."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from hpo.results import budget, pairs, sources
from hpo.results.arms import Arms
from hpo.statistics import AnytimeResult, PairedComparison, Verdict, compare_many, plan

_FLAT = ("variance", "p_sign_flip", "exact", "ci_low", "ci_high", "p_t", "d_z")
_NUMBERS = (
    "sign_flip_interval",
    "bootstrap_t",
    "bca",
    "wilcoxon_w",
    "wilcoxon_p",
    "sign_test_p",
    "above",
    "below",
    "ties",
    "tied_sizes",
    "hodges_lehmann",
    "hodges_lehmann_interval",
    "g_z",
    "a12",
    "cliffs_delta",
    "win_share",
    "correlation",
    "unpaired_factor",
    "equivalence",
    "departures",
)
_POWER = ("n", "alpha", "family", "wanted_power", "smallest_p", "least_n", "detectable_d_z")


def compared(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statistical part of results.json.

    Args:
        document: all else that results.json holds.

    Returns:
        The entries `comparisons`, `several`, `retraining`, `time_to_target` and `mean_ranks_over_budget`.
    """
    out: dict[str, Any] = {
        "comparisons": [],
        "several": None,
        "retraining": None,
        "time_to_target": None,
        "mean_ranks_over_budget": None,
    }
    if document["comparison"] is None or not document["replicates"]:
        return out
    arms = Arms.of(document)
    out["comparisons"] = _comparisons(arms)
    if any(item["verdict"]["kind"] == "in progress" for item in out["comparisons"]):
        return out
    return out | {
        "several": _several(arms),
        "retraining": {label: sources.retraining(arms, label) for label in arms.labels},
        "time_to_target": budget.target_times(arms),
        "mean_ranks_over_budget": budget.ranks(arms),
    }


def decided_after(document: Mapping[str, Any]) -> int | None:
    """Return after how many replicates an anytime-valid comparison is decided; None: not yet.

    Args:
        document: what results.json would hold with the replicates finished so far, in the order of their seeds.
    """
    if not document["replicates"]:
        return None
    arms = Arms.of(document)
    reasons = pairs.not_comparable(arms)
    decided = [pairs.decided_at(arms, label) for label in arms.others if label not in reasons]
    known = [at for at in decided if at is not None]
    return max(known) if known and len(known) == len(decided) else None


def _comparisons(arms: Arms) -> list[dict[str, Any]]:
    """Return every arm against the baseline, paired by replicate."""
    found = {label: pairs.paired(arms, label, arms.alpha) for label in arms.others}
    tests: dict[str, AnytimeResult | None] = {}
    if arms.is_anytime:
        tests = {label: pairs.anytime(arms, label) for label in arms.others}
        verdicts = pairs.anytime_verdicts(arms, tests)
    else:
        verdicts = pairs.verdicts(arms, found)
    return [_comparison(arms, label, found[label], tests.get(label), verdicts[label]) for label in arms.others]


def _comparison(
    arms: Arms, label: str, found: PairedComparison | None, test: AnytimeResult | None, verdict: Verdict
) -> dict[str, Any]:
    """Return one entry of `comparisons`; pairs and means only where nothing is decided.

    While the study is in progress nobody peeks by accident; what is not comparable has no p that means something. A
    test with a fixed number of pairs has no place beside one that stops when it is decided. All intervals have the level at
    which the verdict was decided.
    """
    tested = None if found is None else pairs.at_its_level(arms, label, found, verdict)
    return {
        "baseline": arms.baseline,
        "arm": label,
        "metric": arms.metric["name"],
        "n": 0 if found is None else found.n,
        "differences": [] if found is None else list(found.differences),
        "mean": None if found is None else found.mean,
        **{name: None if tested is None else getattr(tested, name) for name in _FLAT},
        "p_holm": verdict.p_holm,
        "p_tost_holm": verdict.p_tost_holm,
        "level": verdict.level,
        "numbers": None if tested is None else _numbers(tested),
        "power": None if tested is None else _power(arms, tested),
        "images": None if tested is None else sources.images(arms, label, tested),
        "incumbent": None if tested is None else budget.incumbent(arms, label, verdict.kind),
        "budget_equivalence": None if tested is None else budget.equivalent_budget(arms, label),
        "anytime": None if test is None or verdict.kind == "not comparable" else asdict(test),
        "verdict": {"kind": verdict.kind, "words": verdict.words},
    }


def _numbers(found: PairedComparison) -> dict[str, Any]:
    every = asdict(found)
    return {name: every[name] for name in _NUMBERS}


def _power(arms: Arms, found: PairedComparison) -> dict[str, Any]:
    """Return what so many pairs can show, whatever the effect: that of the observed one would be noise."""
    every = asdict(plan(n=found.n, alpha=arms.alpha, family=len(arms.others)))
    return {name: every[name] for name in _POWER}


def _several(arms: Arms) -> dict[str, Any] | None:
    """Return three arms and more against each other; None where there are fewer, or where values are missing."""
    if len(arms.labels) < 3 or arms.is_anytime or pairs.not_comparable(arms):
        return None
    values = {label: arms.values(label) or [] for label in arms.labels}
    counts = arms.counts(*arms.labels)
    return asdict(
        compare_many(
            values,
            alpha=arms.alpha,
            larger_is_better=arms.metric["direction"] == "maximize",
            counts=None if counts is None else dict(zip(arms.labels, counts, strict=True)),
        )
    )
