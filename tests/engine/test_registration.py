"""The registered plan: kept when a study starts, and every change of it told."""

import hashlib
import json

import helpers
import pytest
from helpers import results

from hpo.engine.registration import Registration, plan_of, register

RULE = {
    "baseline": "random",
    "metric": "error",
    "direction": "minimize",
    "alpha": 0.05,
    "rope": None,
    "target": None,
    "stopping": "fixed",
}
PLAN = {"comparison": RULE, "seeds": [0, 1, 2], "arms": ["random", "pbt"]}


def changed(**parts):
    return {**PLAN, **parts, "comparison": {**RULE, **parts.get("comparison", {})}}


def amended(new, opened, old=PLAN):
    return register(register(None, old, 0), new, opened)


def test_the_same_plan_changes_nothing():
    first = register(None, PLAN, 0)
    assert register(first, dict(PLAN), 7) is first
    assert first.looked is None
    assert first.record.amendments == ()


def test_anyone_can_compute_the_digest_again():
    found = register(None, PLAN, 0).record
    assert found.sha256 == hashlib.sha256(json.dumps(found.plan, sort_keys=True).encode()).hexdigest()


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (changed(seeds=[0, 1, 2, 3]), "seeds: added 3"),
        (changed(arms=["random", "pbt", "tpe"]), "arms: added tpe"),
    ],
)
def test_what_is_added_after_a_look_extends_the_study(new, line):
    found = amended(new, opened=4)
    assert found.looked == (
        "extended after looking",
        f"the plan was changed when 4 test results had been seen ({line})",
    )
    assert found.first == PLAN  # what was registered stays


@pytest.mark.parametrize(
    ("new", "line"),
    [
        (changed(comparison={"alpha": 0.1}), "comparison.alpha: 0.05 -> 0.1"),
        (changed(comparison={"rope": 0.01}), "comparison.rope: (none) -> 0.01"),
        (changed(comparison={"metric": "loss"}), "comparison.metric: 'error' -> 'loss'"),
        (changed(comparison={"stopping": "anytime"}), "comparison.stopping: 'fixed' -> 'anytime'"),
        (changed(seeds=[0, 1]), "seeds: removed 2"),
        (changed(arms=["random"]), "arms: removed pbt"),
    ],
)
def test_another_rule_after_a_look_changes_the_study(new, line):
    found = amended(new, opened=1)
    assert found.looked == ("changed after looking", f"the plan was changed when 1 test result had been seen ({line})")


@pytest.mark.parametrize("new", [changed(seeds=[0]), changed(comparison={"alpha": 0.01}), changed(arms=["pbt"])])
def test_before_the_first_look_a_plan_may_change_and_it_is_told(new):
    found = amended(new, opened=0)
    assert found.looked is None
    assert [item.tests_opened for item in found.record.amendments] == [0]


def test_a_target_is_no_part_of_the_test():
    assert amended(changed(comparison={"target": 0.02}), opened=9).looked is None


def test_going_on_is_what_the_anytime_test_allows():
    anytime = changed(comparison={"stopping": "anytime"})
    longer = {**anytime, "seeds": [0, 1, 2, 3, 4]}
    assert amended(longer, opened=6, old=anytime).looked is None
    assert amended({**anytime, "seeds": [0, 2, 1]}, opened=6, old=anytime).looked is not None


def test_a_change_that_was_taken_back_is_told_and_changes_no_p():
    registration = register(amended(changed(comparison={"alpha": 0.5}), opened=2), PLAN, 2)
    assert registration.looked is None
    assert [item.tests_opened for item in registration.record.amendments] == [2, 2]


def test_it_survives_being_written():
    registration = amended(changed(seeds=[0, 1, 2, 9]), opened=3)
    assert Registration.loads(registration.dumps()) == registration


def test_a_study_that_is_extended_after_looking_gives_no_verdict(tmp_path):
    helpers.run(helpers.document(replicates=6), tmp_path)
    assert results(tmp_path)["registration"]["exploratory"] is None
    before = results(tmp_path)["comparisons"][0]
    assert before["verdict"]["kind"] in ("better", "worse", "inconclusive")
    helpers.run(helpers.document(replicates=7), tmp_path)
    found = results(tmp_path)
    (comparison,) = found["comparisons"]
    assert comparison["n"] == 7
    assert comparison["verdict"]["kind"] == "extended after looking"
    assert "exploratory" in comparison["verdict"]["words"]
    assert comparison["p_sign_flip"] is not None
    assert found["registration"]["amendments"] == [{"tests_opened": 12, "changes": ["seeds: added 6"]}]
    assert found["registration"]["plan"]["seeds"] == list(range(6))


def test_the_plan_stands_in_the_results_before_anything_is_tested(tmp_path):
    import hpo

    document = helpers.document()
    spec = hpo.parse_study(document, search_path=[helpers.HERE])

    with pytest.raises(KeyboardInterrupt):
        hpo.run_study(spec, out=tmp_path, executor="serial", report=False, observer=helpers.Interrupts(1))
    found = results(tmp_path)
    assert found["replicates"] == []
    assert found["registration"]["plan"] == plan_of(spec)
