"""What a task's evaluation may be, and what is refused when it comes."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from helpers import RANDOM, cli, document, rows, write_study
from hypothesis import given
from hypothesis import strategies as st

from hpo import Evaluation, Metric
from hpo.core.errors import HpoError
from hpo.execution.evaluation import checked

ERROR = Metric("error", counts="error_count", worst=1.0)
ACCURACY = Metric("accuracy", "maximize", counts="right")


@given(correct=st.lists(st.booleans(), min_size=1, max_size=30))
def test_what_agrees_is_kept_as_it_is(correct):
    size, wrong = len(correct), correct.count(False)
    found = {"error": wrong / size, "error_count": wrong, "count": size, "extra": -1.5}
    kept = checked(Evaluation(found, correct), (ERROR,), size)
    assert kept.metrics == found
    assert kept.correct.tolist() == correct
    right = {"accuracy": 1 - wrong / size, "right": size - wrong, "count": size}
    assert checked(Evaluation(right, np.array(correct)), (ACCURACY,), size).metrics == right


@given(
    correct=st.lists(st.booleans(), min_size=1, max_size=30),
    size=st.integers(1, 30),
    off=st.sampled_from([-2, -1, 0, 1, 2]),
)
def test_correctness_that_contradicts_the_data_or_the_count_is_refused(correct, size, off):
    """Fault 41: of another length than the data, or with other errors than the count says."""
    wrong = min(max(correct.count(False) + off, 0), size)
    found = {"error": wrong / size, "error_count": wrong, "count": size}
    if len(correct) == size and wrong == correct.count(False):
        checked(Evaluation(found, correct), (ERROR,), size)
    else:
        with pytest.raises(HpoError, match="correct"):
            checked(Evaluation(found, correct), (ERROR,), size)


@pytest.mark.parametrize(
    "correct", [[1, 0, 1], [0.5, 1.0, 0.0], ["a", "b", "c"], [[True, False, True]], True, np.array([1, 0, 1], np.uint8)]
)
def test_correctness_is_booleans(correct):
    with pytest.raises(HpoError, match=r"booleans of shape \(3,\)"):
        checked(Evaluation({"error": 0.0}, correct), (ERROR,), 3)


def test_a_task_without_data_has_no_correctness():
    with pytest.raises(HpoError, match="a task without data"):
        checked(Evaluation({"error": 0.0}, [True]), (ERROR,), None)


@pytest.mark.parametrize(
    ("given_", "plain"),
    [
        (0.25, 0.25),
        (3, 3),
        (np.float32(0.25), 0.25),
        (np.int64(3), 3),
        (np.array(0.25), 0.25),
        (np.array([3]), 3),
        (torch.tensor(0.25, dtype=torch.bfloat16, requires_grad=True), 0.25),
        (torch.tensor([3]), 3),
        (Fraction(1, 4), 0.25),
        (float("nan"), None),
        (np.float64("inf"), float("inf")),
        (1e300, 1e300),
        (-1.1e300, float("inf")),  # so large that sums would be no floats
        (10**400, float("inf")),
    ],
)
def test_a_metric_is_any_single_number(given_, plain):
    found = checked(Evaluation({"error": given_}), (ERROR,), None).metrics["error"]
    assert type(found) is (float if plain is None else type(plain))
    assert found != found if plain is None else found == plain


@pytest.mark.parametrize(
    "value", [True, np.True_, torch.tensor(True), "0.5", None, [0.5], np.zeros(2), torch.zeros(2), 1j]
)
def test_a_metric_that_is_no_number_is_refused_by_name(value):
    with pytest.raises(HpoError, match="'spread'"):
        checked(Evaluation({"error": 0.1, "spread": value}), (ERROR,), None)


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ({"loss": 0.1}, "declared .* missing"),
        ({"error": 0.1, 3: 0.2}, "3"),
        ({"error": 0.1, "error_count": 1}, "count = None"),
        ({"error": 0.0, "error_count": 0, "count": 0}, "count = 0"),
        ({"error": 1.5, "error_count": 15, "count": 10}, "0 to count = 10"),
        ({"error": -0.1, "error_count": -1, "count": 10}, "0 to count = 10"),
        ({"error": 0.25, "error_count": 2.5, "count": 10}, "error_count = 2.5"),
        ({"error": 0.3, "error_count": 2, "count": 10}, "error = 0.3, but error_count / count = 2 / 10"),
        ({"error": 20.0, "error_count": 2, "count": 10}, "error = 20.0"),
    ],
)
def test_metrics_that_cannot_be_are_refused(metrics, said):
    with pytest.raises(HpoError, match=said):
        checked(Evaluation(metrics), (ERROR,), None)


@pytest.mark.parametrize("found", [None, 0.5, {"error": 0.5}, Evaluation(0.5)])
def test_what_is_no_evaluation_is_refused(found):
    with pytest.raises(HpoError, match="evaluate returned"):
        checked(found, (ERROR,), None)


def test_of_several_counts_one_must_agree():
    """A task that counts errors in the first guess and in the first five says which examples were right at the first."""
    metrics = (ERROR, Metric("top5", counts="top5_count"))
    found = {"error": 0.5, "error_count": 2, "top5": 0.25, "top5_count": 1, "count": 4}
    checked(Evaluation(found, [True, False, False, True]), metrics, 4)
    checked(Evaluation(found, [True, False, True, True]), metrics, 4)
    with pytest.raises(HpoError, match="1 of 4 true"):
        checked(Evaluation(found, [True, False, False, False]), metrics, 4)


SHORT = """
from dataclasses import dataclass
import numpy as np
import hpo
from plain_tasks import Guess


@hpo.register_task("short")
@dataclass(frozen=True)
class Short(Guess):
    version = "1"

    def evaluate(self, state, data):
        found = super().evaluate(state, data)
        return found if len(data) == 10 else hpo.Evaluation(found.metrics, found.correct[:3])
"""


@pytest.mark.parametrize("executor", ["serial", "process"])
def test_a_study_stops_at_a_test_with_too_few_booleans_and_stores_nothing_of_it(tmp_path, executor):
    """Fault 41: 3 booleans in `correct` for 20 examples."""
    (tmp_path / "short_task.py").write_text(SHORT)
    study = document({"name": "short", "module": "short_task"}, arms=(RANDOM,), replicates=1, budget=2)
    done = cli(write_study(tmp_path, study), "--executor", executor, "--workers", 1, "--out", "run")
    assert done.returncode == 1
    assert "stopped the study at the test of the model" in done.stderr
    assert "shape (3,): allowed: booleans of shape (20,)" in done.stderr
    assert rows(tmp_path / "run") == 4 * 2 + 2
