"""On-policy algorithms of Stable-Baselines3 as the training loop of a task."""

import tempfile

import numpy as np
import pytest
import torch
from trainer_tasks import SMALL, assert_copied, assert_named_when_missing, assert_shown

pytest.importorskip("stable_baselines3")

import sb3_ppo as example
from stable_baselines3 import DQN
from stable_baselines3.common.vec_env import VecNormalize

import hpo
from hpo.core.errors import HpoError
from hpo.core.seeding import forked_generators
from hpo.core.task import Diverged
from hpo.tasks.torch.numerics import strict_scope

SPACE = {"lr": hpo.Float(1e-4, 1e-2, log=True), "clip_range": hpo.Float(0.1, 0.4), "ent_coef": hpo.Float(1e-4, 0.1)}
HPARAMS = {"lr": 1e-3, "clip_range": 0.2, "ent_coef": 0.01}
ROLLOUT = 128


@pytest.fixture(autouse=True)
def _one_thread():
    with strict_scope(1, cuda=False):
        yield


class Training(example.Training):
    """Records what each step of the optimizer uses; the environments' statistics normalize observations."""

    def environment(self):
        return VecNormalize(super().environment())

    def algorithm(self, environment, hparams):
        found = super().algorithm(environment, hparams)
        self.rates, optimizer = [], found.policy.optimizer
        optimizer.register_step_pre_hook(lambda *_: self.rates.append(optimizer.param_groups[0]["lr"]))
        return found

    def train(self, steps):
        self.rates.clear()
        super().train(steps)

    def evaluate(self):
        model = self.model
        found = {"clip": model.clip_range(1.0), "entropy": model.ent_coef, "steps": model.num_timesteps}
        seen = model.get_vec_normalize_env().obs_rms.count
        return {**super().evaluate(), **found, "first": self.rates[0], "last": self.rates[-1], "seen": seen}


def test_after_every_copy_mutated_hyperparameters_are_in_force_under_a_live_schedule(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    options = {"metric": "return", "direction": "maximize", "budget": 6 * ROLLOUT, "interval": 2 * ROLLOUT}
    frame = hpo.tune(Training, SPACE, out="run", **SMALL, **options).frame()
    assert_copied(frame, *SPACE)
    for row in frame.itertuples():
        assert row.steps == 2 * ROLLOUT * (row.interval + 1)
        assert row.seen == pytest.approx(row.steps + 4 * (row.interval + 1), abs=1)  # and the first observations
        assert (row.clip, row.entropy) == (row.clip_range, row.ent_coef)
        # The rate falls to 0 with the progress after each rollout.
        left = [1 - (2 * row.interval + rollout) / 6 for rollout in (1, 2)]
        np.testing.assert_allclose([row.first / row.lr, row.last / row.lr], left, rtol=1e-9, atol=1e-15)
    assert {path.name for path in tmp_path.iterdir()} == {"run", "temporary"}
    assert not list((tmp_path / "temporary").iterdir())
    assert capfd.readouterr() == ("", "")


def trained(cls, seed=0, **hparams):
    with forked_generators(seed):
        loop = cls(HPARAMS | hparams, 4 * ROLLOUT, "steps", "cpu")
        loop.train(range(ROLLOUT))
        return loop


def test_environments_and_actions_come_from_the_global_generators():
    one, same, other = (trained(example.Training, seed).model.get_parameters()["policy"] for seed in (1, 1, 2))
    assert all(torch.equal(value, same[name]) for name, value in one.items())
    assert not torch.equal(one["action_net.weight"], other["action_net.weight"])


class Steps(example.Training):
    """The number of steps of a rollout is a hyperparameter."""

    def algorithm(self, environment, hparams):
        found = super().algorithm(environment, {**HPARAMS, "lr": hparams["lr"]})
        found.n_steps = hparams["n_steps"]
        found._setup_model()
        return found


def test_the_length_of_a_rollout_may_change_on_the_way(tmp_path):
    space = {"lr": SPACE["lr"], "n_steps": hpo.Categorical([8, 16, 32])}
    options = {"metric": "return", "direction": "maximize", "budget": 2 * ROLLOUT, "interval": ROLLOUT}
    found = hpo.tune(Steps, space, out=tmp_path, **SMALL, **options)
    assert found.frame()["n_steps"].nunique() > 1
    assert found.model("pbt", 0).model.num_timesteps == 2 * ROLLOUT


def test_an_interval_that_is_no_whole_number_of_rollouts_is_refused():
    loop = trained(example.Training)
    with pytest.raises(HpoError, match="128"):
        loop.train(range(200))


class OffPolicy(example.Training):
    def environment(self):
        return "CartPole-v1"

    def algorithm(self, environment, hparams):
        return DQN("MlpPolicy", environment, buffer_size=10)


@pytest.mark.parametrize(
    ("cls", "unit", "words"), [(OffPolicy, "steps", "replay buffer"), (example.Training, "epochs", "'steps'")]
)
def test_what_cannot_be_resumed_is_refused(cls, unit, words):
    with pytest.raises(HpoError, match=words):
        cls(HPARAMS, 4 * ROLLOUT, unit, "cpu")


def test_a_policy_that_is_not_finite_has_diverged():
    loop = trained(example.Training)
    with torch.no_grad():
        next(loop.model.policy.parameters()).fill_(float("nan"))
    with pytest.raises(Diverged):
        loop.train(range(ROLLOUT))


def test_the_page_shows_the_example():
    assert_shown("sb3_ppo")


def test_a_missing_library_is_an_error_that_names_the_extra(monkeypatch):
    assert_named_when_missing(monkeypatch, "stable_baselines3", "sb3")
