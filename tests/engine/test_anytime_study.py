"""`stopping = "anytime"`: replicates are added in the order of their seeds until the comparison is decided."""

import helpers
import pytest
from helpers import results

from hpo.statistics import anytime_test

# 100 steps are enough for schedules to matter: d_z is about 0.6, which 30 replicates decide.
TASK = {"name": "toy", "training_noise": 0.01, "evaluation_noise": 0.01}
STEPS = {**helpers.PBT, "perturbation_interval": 10, "explore": "all"}


def document(most=30, **comparison):
    found = helpers.document(TASK, arms=(helpers.RANDOM, STEPS), budget=100, interval=10)
    del found["study"]["replicates"]
    found["comparison"] |= {"stopping": "anytime", "max_replicates": most} | comparison
    return found


def test_it_stops_where_the_test_says_so(tmp_path):
    helpers.run(document(), tmp_path)
    found = results(tmp_path)
    (comparison,) = found["comparisons"]
    n = comparison["n"]
    assert 1 < n < 30
    assert [replicate["seed"] for replicate in found["replicates"]] == list(range(n))
    again = anytime_test(comparison["differences"])
    assert again.decided_at == n == comparison["anytime"]["decided_at"]
    assert comparison["verdict"]["kind"] in ("better", "worse")
    assert [comparison[name] for name in ("p_sign_flip", "p_holm", "p_t", "ci_low", "numbers")] == [None] * 5


def test_it_gives_up_at_max_replicates(tmp_path):
    helpers.run(document(most=3), tmp_path)
    (comparison,) = results(tmp_path)["comparisons"]
    assert comparison["n"] == 3
    assert comparison["verdict"]["kind"] == "cannot show a difference"


def test_equal_errors_computed_in_two_ways_are_never_decided(tmp_path):
    """Fault 1: all models have an error of 0.1, as 1 - 0.9 or as 0.1; that is no difference, however often it is repeated."""
    found = helpers.document({"name": "tenth"}, arms=(helpers.RANDOM, helpers.PBT | {"explore": "all"}))
    del found["study"]["replicates"]
    found["comparison"] |= {"stopping": "anytime", "max_replicates": 12}
    helpers.run(found, tmp_path)
    done = results(tmp_path)
    values = {label: {r["arms"][label]["test"]["error"] for r in done["replicates"]} for label in ("random", "pbt")}
    assert values == {"random": {1 - 0.9}, "pbt": {0.1}}
    (comparison,) = done["comparisons"]
    assert (comparison["n"], comparison["mean"], comparison["verdict"]["kind"]) == (12, 0.0, "inconclusive")
    assert comparison["anytime"]["decided_at"] is None


def test_it_stops_at_the_same_place_on_two_workers_and_after_an_interruption(tmp_path):
    import hpo

    helpers.run(document(), tmp_path / "one")
    helpers.run(document(), tmp_path / "two", executor="process", workers=2)

    class Interrupts(hpo.Observer):
        def finished_replicate(self, *_):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            helpers.run(document(), tmp_path / "three", observer=Interrupts())
    helpers.run(document(), tmp_path / "three")
    first = (tmp_path / "one" / "results.json").read_bytes()
    assert (tmp_path / "two" / "results.json").read_bytes() == first
    assert (tmp_path / "three" / "results.json").read_bytes() == first


def test_more_replicates_may_be_allowed_later(tmp_path):
    helpers.run(document(most=2), tmp_path / "a")
    helpers.run(document(), tmp_path / "a")
    helpers.run(document(), tmp_path / "b")
    a, b = (results(tmp_path / name) for name in "ab")
    assert a["comparisons"] == b["comparisons"]
    assert a["registration"]["exploratory"] is None
    assert len(a["registration"]["amendments"]) == 1


def test_a_plan_that_was_changed_after_a_look_gives_no_verdict(tmp_path):
    helpers.run(document(most=6), tmp_path)
    changed = document(most=6, alpha=0.8)
    helpers.run(changed, tmp_path)
    (comparison,) = results(tmp_path)["comparisons"]
    assert comparison["verdict"]["kind"] == "changed after looking"
    assert "alpha: 0.05 -> 0.8" in comparison["verdict"]["words"]
    # The same plan from the start is tested.
    helpers.run(changed, tmp_path / "new")
    (planned,) = results(tmp_path / "new")["comparisons"]
    assert planned["differences"] == comparison["differences"]
    assert planned["verdict"]["kind"] == "inconclusive"
