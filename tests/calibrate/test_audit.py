"""Mutation checks: a pipeline that is broken on purpose turns a check red, and the whole one turns none."""

import dataclasses

import pytest

from hpo.calibrate import audit
from hpo.calibrate import pipeline as calibrate
from hpo.calibrate.__main__ import main
from hpo.core.optimizer import Problem
from hpo.core.splits import DataPlan, Examples
from hpo.execution.runner import Runner
from hpo.results import pairs
from hpo.results.arms import Arms
from hpo.study.spec import StudySpec


def test_the_pipeline_as_it_is_has_no_fault():
    assert list(audit.faults()) == []


def test_broken_pairing_is_seen(monkeypatch):
    """The second arm starts from the initial population of another seed."""
    problem = StudySpec.problem

    def unpaired(self: StudySpec, seed: int, arm) -> Problem:
        return problem(self, seed + 1_000 * (arm.label == "b"), arm)

    monkeypatch.setattr(StudySpec, "problem", unpaired)
    found = audit.identity_faults("random search")
    assert any("not all 0" in fault for fault in found)


def test_pairs_by_position_are_seen(monkeypatch):
    """The second arm's values are taken from the next replicate."""
    tests = Arms.tests

    def shifted(self, label):
        found = tests(self, label)
        return found[1:] + found[:1] if label == "b" else found

    monkeypatch.setattr(Arms, "tests", shifted)
    assert any("not all 0" in fault for fault in audit.identity_faults("PBT"))


@pytest.mark.parametrize("optimizer", audit.OPTIMIZERS)
def test_a_leak_of_the_test_set_into_selection_is_seen(monkeypatch, optimizer):
    """Searches are evaluated on the test set."""

    def leaking(self, task, interval, checkpoints, intervals=None, *more):
        initialize(self, task, interval, checkpoints, intervals, *more)
        test = task.test_data()
        monkeypatch.setattr(DataPlan, "validation", lambda self, seed: Examples(test, _all(test)))

    initialize = Runner.__init__
    monkeypatch.setattr(Runner, "__init__", leaking)
    assert any("has seen the test set" in fault for fault in audit.chance_faults(optimizer))


def _all(data):
    import numpy as np

    return np.arange(len(data))


def test_a_search_that_does_not_select_is_seen(monkeypatch):
    from hpo.optimizers import random_search

    monkeypatch.setattr(random_search, "best_of", lambda results, select, intervals: results[-1].key)
    assert any("nothing was selected" in fault for fault in audit.chance_faults("random search"))


def generous(monkeypatch, share):
    """Give the second arm more members than its share of the budget."""
    problem = StudySpec.problem

    def more(self: StudySpec, seed: int, arm) -> Problem:
        found = problem(self, seed, arm)
        if arm.label != "b":
            return found
        size = round(found.population_size * share)
        return dataclasses.replace(found, population_size=size, concurrency=size)

    monkeypatch.setattr(StudySpec, "problem", more)


def test_ten_percent_more_budget_is_not_comparable(monkeypatch):
    document = audit.null_study(audit.OPTIMIZERS["random search"], range(6))
    document["study"] |= {"population_size": 10, "budget": 10}
    assert audit.run_study_document(document)["comparisons"][0]["verdict"]["kind"] == "inconclusive"
    generous(monkeypatch, 1.1)
    (found,) = audit.run_study_document(document)["comparisons"]
    assert found["verdict"]["kind"] == "not comparable"
    assert "budgets differ" in found["verdict"]["words"]
    assert found["p_holm"] is None


def test_more_budget_is_seen_by_the_identity_and_by_the_calibration(monkeypatch):
    generous(monkeypatch, 1.25)
    assert any("records" in fault for fault in audit.identity_faults("random search"))
    found = calibrate.calibrate("random search", studies=2, replicates=6, workers=1)
    assert any("different budgets" in fault for fault in found.faults)


def test_swapped_arms_are_seen(monkeypatch):
    """The differences are baseline minus arm."""
    compare = pairs.compare_paired

    def swapped(a, b, *, counts=None, **options):
        return compare(b, a, counts=None if counts is None else counts[::-1], **options)

    monkeypatch.setattr(pairs, "compare_paired", swapped)
    wrong = audit.direction_faults()
    assert len(wrong) == 2
    assert all("must be" in fault for fault in wrong)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", calibrate.OPTIMIZERS)
def test_the_pipeline_rejects_as_often_as_it_may(optimizer):
    """The fast size: `hpo calibrate` is the full one."""
    found = calibrate.calibrate(optimizer, studies=40, replicates=6, workers=1)
    assert found.faults == []
    assert found.studies == 40


def test_arms_that_share_their_noise_calibrate_nothing():
    document = audit.null_study(audit.OPTIMIZERS["random search"], range(6), streams=(0, 0))
    found = calibrate.judged("random search", [audit.run_study_document(document)])
    assert any("exactly 0" in fault for fault in found.faults)


def test_the_command_prints_a_table_and_returns_what_it_found(capsys, monkeypatch):
    assert main(["--studies", "3", "--replicates", "6", "--workers", "1"]) == 0
    out = capsys.readouterr().out
    assert "| random search | 6 | 3 |" in out
    assert "| PBT | 6 | 3 |" in out
    monkeypatch.setattr(audit, "faults", lambda: iter(["random search: broken"]))
    assert main(["--studies", "1", "--replicates", "6", "--workers", "1"]) == 1
    assert "wrong: random search: broken" in capsys.readouterr().err
