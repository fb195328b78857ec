"""The two tasks of figure 2 of PBT-Zoo's paper: closed forms, the memory, and the best schedules."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo.core.checkpoints import decode, encode
from hpo.core.segments import ShrinkPerturb
from hpo.tasks.zoo import HIGH, LOW, ZooDeceptive, ZooPlain, ZooState

PLAIN, DECEPTIVE = ZooPlain(), ZooDeceptive()
RATES = st.floats(LOW, HIGH)


def constant_stretches(values, length=20):
    return [value for value in values for _ in range(length)]


def trained(task, rates, interval):
    """Return the state after stretches of `interval` steps, through checkpoints."""
    state = task.initialize({})
    for start in range(0, len(rates), interval):
        hparams = {"lr": rates[start]}
        state = task.train(state, hparams, range(start, start + interval))
        state = task.from_arrays(decode(encode(task.to_arrays(state))), hparams)
    return state


def test_plain_by_its_closed_form():
    state = trained(PLAIN, [0.5] * 40, 20)
    assert state.theta == pytest.approx(0.9 * (1 - 0.002 * 1.5) ** 40)
    assert PLAIN.evaluate(state, None).metrics["score"] == pytest.approx(1.2 - state.theta**2)
    assert PLAIN.score_along([LOW] * 1000) == pytest.approx(1.2 - 0.81 * (1 - 0.002 * (2 - LOW)) ** 2000)


def test_deceptive_by_hand_over_two_stretches():
    rates = constant_stretches([0.8, 0.5])
    first, second = 2 - 0.8 - 0.2 * 0.2, 2 - 0.5 - 0.2 * (0.2 + 0.48)  # targets 1 and 0.98
    theta = 0.9 * (1 - 0.002 * first) ** 20 * (1 - 0.002 * second) ** 20
    assert DECEPTIVE.score_along(rates) == pytest.approx(1.2 - theta**2, rel=1e-12)


@given(st.lists(RATES, min_size=1, max_size=6))
def test_the_memory_does_not_depend_on_the_intervals(values):
    rates = constant_stretches(values)
    states = [trained(DECEPTIVE, rates, interval) for interval in (1, 2, 10, 20)]
    assert states[0].rates == pytest.approx(tuple(values))
    assert all(state == states[0] for state in states[1:])


def test_it_remembers_the_rate_at_the_first_step_of_a_stretch():
    state = trained(DECEPTIVE, [0.9] * 10 + [0.3] * 20, 10)
    assert state.rates == (0.9, 0.3)
    assert trained(ZooDeceptive(memory_interval=10), [0.9] * 10 + [0.3] * 20, 10).rates == (0.9, 0.3, 0.3)


def test_targets_follow_the_tasks_own_steps():
    assert [DECEPTIVE.target(entry) for entry in (0, 1, 49)] == pytest.approx([1.0, 0.98, 0.02])
    assert ZooDeceptive(steps=200).target(9) == pytest.approx(0.1)


def test_a_speed_is_never_negative():
    assert DECEPTIVE.speed(1.1, [1.1] * 50) == 0.0


def test_the_scores_that_the_docstrings_name():
    line = [DECEPTIVE.target(step // 20) for step in range(1000)]
    best = DECEPTIVE.best_rates(1000)
    assert best[-80:] == [LOW] * 80
    assert best[:-80] == line[:-80]
    found = [DECEPTIVE.score_along(rates) for rates in (best, line, [LOW] * 1000, [0.9] * 1000)]
    assert found == pytest.approx([1.19794, 1.19793, 0.82697, 1.05051], abs=5e-6)
    assert [PLAIN.score_along([rate] * 1000) for rate in (LOW, 0.9)] == pytest.approx([1.19973, 1.19010], abs=5e-6)


@pytest.mark.parametrize("steps", [20, 100, 260])
def test_no_change_of_one_stretch_improves_the_best_schedule(steps):
    task = ZooDeceptive(steps=steps)
    best = task.best_rates(steps)
    score = task.score_along(best)
    for entry in range(steps // 20):
        for rate in [*np.linspace(LOW, HIGH, 23).tolist(), task.target(entry) + 0.01, task.target(entry) - 0.01]:
            changed = [*best[: 20 * entry], *[rate] * 20, *best[20 * (entry + 1) :]]
            assert task.score_along(changed) <= score + 1e-12


def test_greed_is_right_on_one_task_and_wrong_on_the_other():
    for task in (PLAIN, DECEPTIVE):
        state = trained(task, [1.0] * 20, 20)
        after = {rate: task.score(task.train(state, {"lr": rate}, range(20))) for rate in (LOW, 0.5, 0.98, 1.1)}
        assert max(after, key=after.get) == LOW
    assert PLAIN.score_along([LOW] * 1000) > PLAIN.score_along(DECEPTIVE.best_rates(1000))
    assert DECEPTIVE.score_along([LOW] * 1000) < DECEPTIVE.score_along(DECEPTIVE.best_rates(1000)) - 0.3


def test_the_weight_transform_keeps_the_memory():
    state = ZooState(0.5, 30, (0.9, 0.8))
    again = DECEPTIVE.shrink_perturb(state, DECEPTIVE.initialize({}), ShrinkPerturb(0.2, 0.1))
    assert (again.theta, again.steps, again.rates) == (pytest.approx(0.1 + 0.09), 30, (0.9, 0.8))


def test_searches_start_near_one():
    space = DECEPTIVE.search_space
    drawn = [space.sample(np.random.default_rng(seed))["lr"] for seed in range(100)]
    assert min(drawn) >= 0.9
    assert max(drawn) <= 1.1
    assert max(drawn) - min(drawn) > 0.15
    assert math.isclose(Fraction(str(space["lr"].low)), LOW)
