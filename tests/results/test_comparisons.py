"""The statistical part of results.json, from the published study's replicates."""

import json
from pathlib import Path

import pytest

from hpo.results.arms import Arms
from hpo.results.comparisons import compared
from hpo.results.document import Evidence
from hpo.results.file import parsed
from hpo.statistics import max_t_band

PUBLISHED = Path(__file__).parents[2] / "docs" / "results" / "mnist_pbt_vs_random" / "results.json"


@pytest.fixture
def document():
    return json.loads(PUBLISHED.read_text())


def shifted(document, label, wrong):
    """Return the document where each retrained model of an arm has so many more test images wrong than the baseline's."""
    for replicate in document["replicates"]:
        base, test = (replicate["arms"][name]["test"] for name in (document["comparison"]["baseline"], label))
        test["error_count"] = base["error_count"] + wrong
        test["error"] = test["error_count"] / test["count"]
    return document


def evidence_of(document):
    return parsed(Evidence, json.dumps(document), PUBLISHED)


def of_arm(document, label):
    return next(item for item in compared(evidence_of(document)).comparisons if item.arm == label)


def test_the_band_over_the_budget_shares_alpha_among_the_arms(document):
    """Fault 11: the bands of several arms are one family: at .05 / 2 it is 2.5 epochs (the fifth point), not 1.5."""
    evidence = evidence_of(document)
    arms = Arms(evidence, evidence.comparison)
    curves = arms.curves("random"), arms.curves("pbt-truncation")
    assert max_t_band(*curves).better_from == 2
    assert max_t_band(*curves, family=2).better_from == 4
    better = of_arm(shifted(document, "pbt-truncation", -10), "pbt-truncation")
    assert better.verdict.kind == "better"
    band = better.incumbent
    assert band.better_from == band.budgets[4] == 15 * 5
    assert (band.alpha, band.family) == (0.05, 2)


@pytest.mark.parametrize(("wrong", "kind"), [(0, "inconclusive"), (10, "worse")])
def test_nothing_is_better_from_some_budget_on_that_the_verdict_does_not_call_better(document, wrong, kind):
    """Fault 11: the report said "better from 1.5 epochs" of an arm whose verdict was another one."""
    found = of_arm(shifted(document, "pbt-truncation", wrong), "pbt-truncation")
    assert found.verdict.kind == kind
    assert (found.incumbent.better_from, found.incumbent.worse_from) == (None, None)
