"""Tasks with known answers: their dynamics against the closed forms that their docstrings derive."""

import subprocess
import sys

import numpy as np
import pytest

from hpo.core.seeding import forked_generators
from hpo.tasks.landscapes import AllTie, GreedLoses, ScheduleWins

STEPS = 200


def loss_after(task, rates, key=1):
    """Return the loss without the noise of the evaluation, one step at each rate, restored between them."""
    with forked_generators(key):
        state = task.initialize({"lr": rates[0]})
        for step, rate in enumerate(rates):
            hparams = {"lr": rate}
            state = task.train(task.from_arrays(task.to_arrays(state), hparams), hparams, range(step, step + 1))
        return task.evaluate(state, None).metrics["loss"]


def constant(task, rate, steps):
    """Return equation (2) of the module: the expected loss of the quadratic after some steps at one rate."""
    left, floor = (1 - rate) ** (2 * steps), rate * task.training_noise**2 / (2 - rate)
    return (left * task.start**2 + (1 - left) * floor) / 2


def test_a_first_step_by_hand():
    quiet = ScheduleWins(dimensions=3, start=2.0, training_noise=0.0)
    assert loss_after(quiet, [0.5, 0.25]) == pytest.approx((2 * 0.5 * 0.75) ** 2 / 2)
    assert quiet.expected_loss([0.5, 0.25]) == pytest.approx((2 * 0.5 * 0.75) ** 2 / 2)
    assert ScheduleWins(start=2.0).expected_loss([0.5]) == pytest.approx((0.25 * 4 + 0.25) / 2)


@pytest.mark.parametrize("rates", [[0.3] * 40, [1 / (step + 1) for step in range(40)]], ids=["constant", "falling"])
def test_the_expectation_is_the_mean_of_what_happens(rates):
    task = ScheduleWins(dimensions=20_000)
    # The standard error of the mean of 20,000 squares is 1% of it.
    assert loss_after(task, rates) == pytest.approx(task.expected_loss(rates), rel=0.05)


@pytest.mark.parametrize("rate", [0.01, 0.2, 1.0])
def test_a_constant_rate_has_a_closed_form(rate):
    task = ScheduleWins()
    assert task.expected_loss([rate] * STEPS) == pytest.approx(constant(task, rate, STEPS))


def test_the_averaging_schedule_is_best_and_no_constant_rate_is_near():
    task = ScheduleWins()
    best = task.averaging_schedule(STEPS)
    least = task.expected_loss(best)
    assert least == pytest.approx(1 / (2 * (STEPS + 1 / task.start**2)))
    rng = np.random.default_rng(0)
    for _ in range(50):
        nearby = np.clip(np.array(best) * rng.uniform(0.8, 1.25, STEPS), 0, 1)
        assert task.expected_loss(nearby) > least
    rates = np.geomspace(1e-3, 1, 500)
    losses = [task.expected_loss([rate] * STEPS) for rate in rates]
    around = np.log(4 * STEPS * task.start**2)
    assert min(losses) == pytest.approx((1 + around) / (8 * STEPS), rel=0.1)
    assert rates[np.argmin(losses)] == pytest.approx(around / (2 * STEPS), rel=0.1)
    assert min(losses) > 3 * least


def test_greed_is_right_where_the_schedule_wins():
    task, chosen = ScheduleWins(), []
    rates = np.geomspace(1e-3, 1, 100)
    for _ in range(STEPS // 10):
        chosen += [min(rates, key=lambda rate: task.expected_loss([*chosen, *[rate] * 10]))] * 10
    assert task.expected_loss(chosen) < 1.1 * task.expected_loss(task.averaging_schedule(STEPS))


def test_greed_never_arrives_where_it_loses():
    task, chosen, steps = GreedLoses(), [], 300
    rates = np.geomspace(1e-2, 1, 100)
    for _ in range(steps // 15):
        chosen += [min(rates, key=lambda rate: task.expected_loss([*chosen, *[rate] * 15]))] * 15
    assert sum(chosen) < task.distance
    assert task.expected_loss(chosen) > task.plateau
    losses = [task.expected_loss([rate] * steps) for rate in rates]
    best = rates[np.argmin(losses)]
    assert best == min(rate for rate in rates if rate * steps >= task.distance)
    assert min(losses) == pytest.approx(best / (2 * (2 - best)), rel=1e-3)
    assert task.expected_loss(chosen) > 10 * min(losses)
    averaged = task.expected_loss(task.averaging_schedule(steps))
    assert averaged == pytest.approx(1 / (2 * (steps - task.distance + 1)))
    assert ScheduleWins(start=1.0).expected_loss(ScheduleWins(start=1.0).averaging_schedule(steps)) < averaged


def test_the_plateau_ends_with_the_distance():
    task = GreedLoses(dimensions=2, training_noise=0.0, distance=1.0, evaluation_noise=0.0)
    assert loss_after(task, [0.5]) == pytest.approx(0.25 / 2 + 0.3)
    assert loss_after(task, [0.5, 0.5]) == pytest.approx(0.0625 / 2)
    assert task.expected_loss([0.5]) == pytest.approx(0.25 / 2 + 0.3)
    assert task.expected_loss([0.5, 0.5]) == pytest.approx(0.0625 / 2)


def test_the_score_is_the_logarithm_of_the_loss_and_noise():
    task = ScheduleWins(evaluation_noise=0.3)
    state = task.initialize({"lr": 0.1})
    with forked_generators(1):
        scores = [task.evaluate(state, None).metrics["log_loss"] for _ in range(2000)]
    assert np.mean(scores) == pytest.approx(np.log10(450), abs=0.03)  # 0.3 / √2000 is 0.007
    assert np.std(scores) == pytest.approx(0.3, rel=0.1)
    done = ScheduleWins(evaluation_noise=0.0)
    assert done.evaluate(np.zeros(200), None).metrics == {"log_loss": -300.0, "loss": 0.0}


def test_where_all_tie_no_angle_is_better_and_nothing_is_inherited():
    task = AllTie(evaluation_noise=0.0, training_noise=1.0)

    def losses(angle, state):
        with forked_generators(1):
            found = [task.evaluate(task.train(state, {"angle": angle}, range(5)), None) for _ in range(4000)]
        return np.array([evaluation.metrics["loss"] for evaluation in found])

    lucky, unlucky = np.array([5.0, -9.0]), np.array([5.0, 9.0])
    for angle in (0.0, 0.1, 0.25, 0.7):
        found = losses(angle, lucky)
        assert found.mean() == pytest.approx(0.5, abs=0.08)  # after 10 steps; 1 / √4000 is 0.016
        assert found.std() == pytest.approx(1.0, rel=0.05)
        assert np.array_equal(found, losses(angle, unlucky))
    assert abs(np.corrcoef(losses(0.0, lucky), losses(0.25, lucky))[0, 1]) < 0.08
    assert task.evaluate(task.initialize({"angle": 0.0}), None).metrics == {"loss": 1.0}


def test_torch_is_not_imported():
    code = "import sys, hpo.tasks.landscapes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
