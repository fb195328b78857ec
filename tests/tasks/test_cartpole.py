"""Task `cartpole`: its returns and its loss by hand, its seeds, and that it learns."""

import subprocess
import sys

import gymnasium
import numpy as np
import pytest
import torch
from helpers import document

from hpo.core.registry import tasks
from hpo.core.seeding import forked_generators
from hpo.core.task import Examples
from hpo.tasks.cartpole import FIRST_TEST_SEED, ActorCritic, CartPole, n_step_returns

H = {"lr": 0.003, "entropy_cost": 0.01, "discount": 0.95}


def trained(task, key, intervals=1, hparams=H):
    with task.numerics_scope(), forked_generators(0):
        state = task.initialize(hparams)
    for k in range(intervals):
        with task.numerics_scope(), forked_generators(key + k):
            state = task.train(state, hparams, range(500 * k, 500 * (k + 1)))
    return state


def test_n_step_returns_by_hand():
    ones = [1.0] * 4
    # The rollout ends within an episode: the value counts there, 1 + 0.5 · 8.
    assert n_step_returns(ones, [0, 0, 0, 8], [True] * 4, 0.5) == [2.375, 2.75, 3.5, 5.0]
    # An episode falls after the second step and is worth nothing more; another was stopped after the fourth.
    assert n_step_returns(ones, [0, 0, 0, 8], [True, False, True, False], 0.5) == [1.5, 1.0, 3.5, 5.0]
    assert n_step_returns(ones, [0] * 4, [False] * 4, 0.9) == ones


def test_the_loss_by_hand():
    class Fixed(ActorCritic):
        def forward(self, observations):
            return observations

    model = Fixed(1)
    model.entropy_cost = 0.1
    # Even odds, values 2 and 0, returns 3 and -1: the advantages are 1 and -1.
    outputs, targets = torch.tensor([[0.0, 0.0, 2.0], [0.0, 0.0, 0.0]]), torch.tensor([[0.0, 3.0], [1.0, -1.0]])
    even = np.log(2)
    expected = 0.5 * (1 + 1) / 2 - (-even * 1 + -even * -1) / 2 - 0.1 * even
    assert CartPole().loss(model, outputs, targets).item() == pytest.approx(expected)


def test_hyperparameters_are_in_force_and_read_back():
    task = CartPole()
    arrays = task.to_arrays(trained(task, 1))
    other = {"lr": 0.02, "entropy_cost": 0.001, "discount": 0.9}
    state = task.from_arrays(arrays, other)
    assert task.applied_hparams(state) == other
    with forked_generators(5):
        changed = task.to_arrays(task.train(task.from_arrays(arrays, {**H, "discount": 0.9}), H, range(64)))
    with forked_generators(5):
        same = task.to_arrays(task.train(task.from_arrays(arrays, H), H, range(64)))
    with forked_generators(5):
        less = task.to_arrays(task.train(task.from_arrays(arrays, H), {**H, "discount": 0.9}, range(64)))
    # What `train` is given is in force, whatever the state was made with.
    assert all(np.array_equal(changed[name], same[name]) for name in same)
    assert not all(np.array_equal(less[name], same[name]) for name in same)


def test_everything_comes_from_the_segments_stream():
    task = CartPole(episodes=4)

    def found(key):
        state = trained(task, key)
        with forked_generators(key):
            return task.to_arrays(state), task.evaluate(state, None).metrics

    (first, scores), (again, same_scores), (other, _) = found(1), found(1), found(2)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert scores == same_scores
    assert not all(np.array_equal(first[name], other[name]) for name in first)


def test_validation_draws_its_starts_and_the_test_does_not():
    task = CartPole(test_episodes=5)
    state = trained(task, 1, 4)
    test = Examples(task.test_data(), np.arange(5))
    assert test.dataset.take(np.array([3, 0])) == [FIRST_TEST_SEED + 3, FIRST_TEST_SEED]
    validated, tested = [], []
    for key in range(3):
        with forked_generators(key):
            validated.append(task.evaluate(state, None).metrics["mean_return"])
            tested.append(task.evaluate(state, test).metrics["mean_return"])
    assert len(set(validated)) == 3
    assert len(set(tested)) == 1
    assert task.evaluate(state, test).metrics["count"] == 5


def test_episodes_side_by_side_are_those_played_alone():
    task = CartPole()
    state = trained(task, 1, 4)
    lengths = []
    for seed in range(5):
        environment = gymnasium.make("CartPole-v1")
        seen, steps, over = environment.reset(seed=seed)[0], 0, False
        while not over:
            with torch.inference_mode():
                action = int(state.model.policy(torch.from_numpy(seen)[None]).argmax())
            seen, _, fallen, stopped, _ = environment.step(action)
            steps, over = steps + 1, fallen or stopped
        lengths.append(steps)
    assert task._episodes(state.model, range(5)) == lengths


def test_it_learns():
    assert tasks.get("cartpole") is CartPole
    task = CartPole(test_episodes=20)
    test = Examples(task.test_data(), np.arange(20))
    before, after = (task.evaluate(trained(task, 1, k), test).metrics["mean_return"] for k in (0, 12))
    assert before < 50
    assert after > 150


def test_a_missing_gymnasium_is_told_with_what_to_install(tmp_path):
    code = f"""
import sys
sys.modules["gymnasium"] = None
import hpo
try:
    hpo.parse_study({document({"name": "cartpole"}, arms=({"label": "random", "optimizer": "random_search"},))!r})
except hpo.SpecError as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 'pip install "hpo[rl]"' in said
    assert "task.name = 'cartpole'" in said
