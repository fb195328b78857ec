"""Searches that stop members early, and those with points of their own, in whole studies."""

import csv
from collections import Counter

import pytest
from helpers import RANDOM, answer, document, results, run

from hpo import parse_study
from hpo.core.errors import InputError

STOPPING = {
    "halving": {"optimizer": "successive_halving", "reduction_factor": 2},
    "asha": {"optimizer": "asha", "reduction_factor": 2, "concurrency": 3},
    "hyperband": {"optimizer": "hyperband", "reduction_factor": 2},
    "bohb": {"optimizer": "bohb", "reduction_factor": 2, "random_fraction": 1.0},
}
COMPLETE = {
    "grid": {"optimizer": "grid", "points": {"h0": 3, "h1": 2}},
    "sobol": {"optimizer": "quasi_random"},
    "one rung": {"optimizer": "asha", "min_budget": 8},
}
ARMS = (RANDOM, *({"label": label, **options} for label, options in {**STOPPING, **COMPLETE}.items()))
STUDY = document(arms=ARMS, budget=8, population_size=6)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Return the run directory of a study of the toy task with all of them."""
    return run(STUDY, tmp_path_factory.mktemp("algorithms") / "run").run_dir


def segments(run_dir, seed, label):
    with (run_dir / "segments.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["arm"] == label and int(row["seed"]) == seed]


def test_all_arms_have_one_budget_and_an_answer_at_its_end(study):
    for replicate in results(study)["replicates"]:
        for label, arm in replicate["arms"].items():
            unspent = 48 - arm["charged_intervals"]
            assert unspent == 0 if label not in ("halving", "hyperband", "bohb") else 0 <= unspent < 8
            assert arm["selected"]["interval"] == 7
            assert len(arm["finals"]) >= 1
    assert {comparison["verdict"]["kind"] for comparison in results(study)["comparisons"]} == {
        "cannot show a difference"
    }


def test_prefixes_are_shared_with_random_search_and_charged_in_full(study):
    for replicate in results(study)["replicates"]:
        known = {(row["member"], row["interval"]) for row in segments(study, replicate["seed"], "random")}
        for label in STOPPING:
            arm = replicate["arms"][label]
            rows = [(row["member"], row["interval"]) for row in segments(study, replicate["seed"], label)]
            assert len(rows) == arm["charged_intervals"]
            # Computed is only what neither random search nor an arm in between has trained: no segment of the first six.
            assert arm["computed_intervals"] == len(set(rows) - known)
            assert len(set(rows) & known) > 0
            known |= set(rows)
        assert replicate["arms"]["halving"]["computed_intervals"] > 0
        assert replicate["arms"]["one rung"]["computed_intervals"] == 0
        assert replicate["arms"]["bohb"]["computed_intervals"] == 0
        assert replicate["arms"]["sobol"]["computed_intervals"] == 48


def test_what_was_counted_is_in_the_results(study):
    for replicate in results(study)["replicates"]:
        for label in STOPPING:
            rows = segments(study, replicate["seed"], label)
            lengths = Counter(row["member"] for row in rows)
            assert replicate["arms"][label]["members"] == len(lengths) > 6
            assert replicate["arms"][label]["promotions"] > 0


def test_workers_never_change_the_answer(study, tmp_path):
    run(STUDY, tmp_path, executor="process", workers=2)
    assert answer(tmp_path) == answer(study)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"optimizer": "asha", "min_budget": 0.5},
            "arms[0].min_budget = 0.5: allowed: a whole number of intervals of 1 step",
        ),
        (
            {"optimizer": "hyperband", "reduction_factor": 1},
            "arms[0].reduction_factor = 1: allowed: a whole number of at least 2",
        ),
        (
            {"optimizer": "grid", "points": {"h0": 2, "h1": 2}},
            "population_size = 6 points, not 4",
        ),
        ({"optimizer": "grid", "points": {"h2": 2}}, "a number for each of: h0, h1; and no other name"),
        ({"optimizer": "grid", "points": {"h0": 2, "h1": 0}}, "a table, each value a whole number of at least 1"),
        ({"optimizer": "quasi_random", "sequence": "sobel"}, "did you mean 'sobol'?"),
    ],
)
def test_mistakes_are_named_where_they_stand(options, said):
    with pytest.raises(InputError) as caught:
        parse_study(document(arms=({"label": "a", **options},), budget=8, population_size=6))
    assert said in str(caught.value)
