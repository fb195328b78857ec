"""What results.json says, and what it does not."""

from dataclasses import dataclass

import pytest
from helpers import PBT, RANDOM, TPE, document, results, run

from hpo.core import registry
from hpo.optimizers.random_search import RandomSearch, RandomSearchRun

TESTED = ("variance", "p_sign_flip", "p_holm", "ci_low", "ci_high", "p_t", "d_z")


@dataclass(frozen=True)
class Thrifty(RandomSearch):
    """Random search without its last members.

    Args:
        left_out: how many.
    """

    left_out: int = 1

    def start(self, problem):
        return ThriftyRun(self, problem)


class ThriftyRun(RandomSearchRun):
    def __init__(self, options, problem):
        super().__init__(options, problem)
        self.members = problem.population_size - options.left_out

    def ask(self, free):
        return [segment for segment in super().ask(free) if segment.member < self.members]


@pytest.fixture(autouse=True)
def _plugins(monkeypatch):
    monkeypatch.setitem(registry.optimizers._classes, "thrifty", Thrifty)


def thrifty(left_out):
    return {"label": "thrifty", "optimizer": "thrifty", "left_out": left_out}


def test_an_arm_that_was_charged_a_members_budget_less_is_not_comparable(tmp_path):
    small = document(arms=(RANDOM, thrifty(1), thrifty(0) | {"label": "whole"}), replicates=3)
    unlike, alike = run(small, tmp_path).results["comparisons"]
    assert unlike["verdict"]["kind"] == "not comparable"
    assert "budgets differ" in unlike["verdict"]["words"]
    assert {name: unlike[name] for name in TESTED} == dict.fromkeys(TESTED)
    assert len(unlike["differences"]) == unlike["n"] == 3
    # It counts in the family, and takes no verdict from the others.
    assert alike["verdict"]["kind"] == "cannot show a difference"
    assert (alike["p_sign_flip"], alike["p_holm"]) == (1.0, 1.0)


def test_arms_that_choose_their_answer_by_other_rules_are_not_comparable(tmp_path):
    arms = (RANDOM, {**PBT, "select": "any"}, {**PBT, "label": "final"})
    other, same = run(document(arms=arms), tmp_path).results["comparisons"]
    assert other["verdict"]["kind"] == "not comparable"
    assert "different rules" in other["verdict"]["words"]
    assert {name: other[name] for name in TESTED} == dict.fromkeys(TESTED)
    assert same["verdict"]["kind"] != "not comparable"


def test_while_a_study_is_in_progress_it_shows_pairs_and_their_mean_alone(tmp_path):
    small = document(replicates=3)
    run(small, tmp_path, seeds=[0, 2])
    (comparison,) = results(tmp_path)["comparisons"]
    assert comparison["verdict"]["kind"] == "in progress"
    assert {name: comparison[name] for name in TESTED} == dict.fromkeys(TESTED)
    assert len(comparison["differences"]) == comparison["n"] == 2
    assert comparison["mean"] == pytest.approx(sum(comparison["differences"]) / 2)
    run(small, tmp_path)
    (comparison,) = results(tmp_path)["comparisons"]
    assert None not in {comparison[name] for name in TESTED}


def test_only_the_environment_names_versions(tmp_path):
    run(document(arms=(RANDOM, PBT, TPE)), tmp_path)
    found = results(tmp_path)
    versions = found.pop("environment")["versions"]
    assert {"optuna", "numpy", "python"} <= versions.keys()
    assert [name for name, version in versions.items() if version in str(found)] == []
