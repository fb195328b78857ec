"""Numbers near the ends of what a float holds: nothing of a report is lost."""

import warnings

import numpy as np
import pytest
from helpers import PBT, RANDOM, document, results, run

from hpo.core.optimizer import Member
from hpo.core.segments import Result, Segment
from hpo.optimizers.pb2 import standardised
from hpo.optimizers.t_test import TTest
from hpo.statistics import budget_equivalence


def finished(folder, power):
    """Run a study whose metric is multiplied by a power of two; return its results, and the names of its figures."""
    task = {"name": "huge", "module": "plain_tasks", "power": power}
    study = document(task, arms=(RANDOM, PBT), replicates=2)
    study["comparison"] = {"baseline": "random", "metric": "distance"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        run(study, folder, report=True)
    return results(folder), sorted(path.name for path in (folder / "figures").glob("*.png"))


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return finished(tmp_path_factory.mktemp("usual"), 0)


@pytest.mark.parametrize("power", [pytest.param(600, marks=pytest.mark.slow), 990, -990])
def test_numbers_of_any_size_have_the_report_of_usual_ones(usual, tmp_path, power):
    """Fault 33: squares that overflow, sums near the largest float, and a range from 1e-300 to 1e300 lost the whole report."""
    found, figures = finished(tmp_path, power)
    assert figures == usual[1]
    assert len(figures) > 3 * 2
    assert (tmp_path / "report.html").stat().st_size > 10_000
    for ours, theirs in zip(found["comparisons"], usual[0]["comparisons"], strict=True):
        assert ours["verdict"]["kind"] == theirs["verdict"]["kind"]
        assert ours["mean"] == theirs["mean"] * 2.0**power
        assert ours["p_holm"] == theirs["p_holm"]


def test_a_metric_beyond_the_largest_counts_as_diverged(tmp_path):
    """Fault 33: near 1e308 not even differences are floats."""
    found, _ = finished(tmp_path, 1023)
    replicate = found["replicates"][0]["arms"]["random"]
    assert replicate["diverged"] > 0
    assert (tmp_path / "report.html").exists()


@pytest.mark.parametrize("power", [600, 1000])
def test_budgets_and_tests_of_scores_do_not_depend_on_their_size(power):
    """Fault 33: what is computed of scores, by statistics and by optimizers."""
    rng = np.random.default_rng(0)
    pool, values = rng.random((6, 9)), rng.random(6)
    usual = budget_equivalence(pool.tolist(), values.tolist())
    large = budget_equivalence(np.ldexp(pool, power).tolist(), np.ldexp(values, power).tolist())
    assert (large.k, large.ratio, large.interval) == (usual.k, usual.ratio, usual.interval)
    assert large.mean_value == usual.mean_value * 2.0**power
    assert np.array_equal(standardised(np.ldexp(values, power)), standardised(values))

    def copied(scale):
        """Return whom each of two members copies, of which one is clearly the better."""
        members = []
        for slot, mean in enumerate((0.0, 5.0)):
            history = []
            for interval, score in enumerate(mean + rng.random(8)):
                parent = history[-1].key if history else None
                segment = Segment(slot, parent, interval, {"lr": 0.1})
                history.append(Result(f"{slot}-{interval}", segment, {}, float(score) * scale))
            members.append(Member(slot, history[-1].key, {"lr": 0.1}, history[-1].score, False, history))
        return TTest()(members, np.random.default_rng(1))

    assert copied(2.0**power) == copied(1.0) == {0: "1-7"}
