"""On-policy algorithms of Stable-Baselines3, such as PPO, as the training loop of a task."""

import random
from typing import Any

from hpo.core.errors import HpoError, InputError
from hpo.core.segments import HParams
from hpo.core.task import Diverged

try:
    from gymnasium import Env
    from stable_baselines3.common.callbacks import BaseCallback
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.logger import Logger
    from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
    from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize, sync_envs_normalization
except ModuleNotFoundError as error:
    raise InputError(
        'hpo.tasks.stable_baselines3 needs Stable-Baselines3, which is not installed: pip install "hpo[sb3]"'
    ) from error

_STATISTICS = ("obs_rms", "ret_rms")


class StableBaselines3Loop:
    """The base of a training class with an on-policy algorithm of Stable-Baselines3.

    A subclass says how to make the environment and the algorithm::

        class Training(StableBaselines3Loop):
            def environment(self):
                return make_vec_env("Pendulum-v1", n_envs=4)

            def algorithm(self, environment, hparams):
                return PPO("MlpPolicy", environment, n_steps=128, learning_rate=hparams["lr"], clip_range=hparams["clip_range"])

    The unit is steps of the environment: an interval is a whole number of rollouts, of `n_steps` in each environment. Environments
    restart when an interval begins. Learning rates and clip ranges that are functions of the remaining progress see the progress in
    the whole budget.

    Args:
        hparams: the hyperparameters.
        steps: the whole budget.
        unit: must be `steps`.
        device: where to train.

    Raises:
        HpoError: another unit, or an algorithm that is not on-policy.
    """

    libraries = ("stable-baselines3", "gymnasium")
    episodes = 10
    """Episodes of an evaluation."""

    def __init__(self, hparams: HParams, steps: int, unit: str, device: str) -> None:
        if unit != "steps":
            raise HpoError(f"the unit of {type(self).__name__} is {unit!r}; allowed: 'steps', of the environment")
        algorithm = self.algorithm(self.environment(), hparams)
        if not isinstance(algorithm, OnPolicyAlgorithm):
            raise HpoError(
                f"{type(algorithm).__name__} keeps a replay buffer, which no checkpoint holds; allowed: on-policy algorithms,"
                " such as PPO and A2C"
            )
        algorithm.set_logger(Logger(folder=None, output_formats=[]))
        self.budget, self.device = steps, device
        self.trained = _Algorithm(algorithm)

    def environment(self) -> Env[Any, Any] | VecEnv:
        """Return a new environment, for training or for evaluation."""
        raise NotImplementedError(f"{type(self).__name__} has no method environment()")

    def algorithm(self, environment: Env[Any, Any] | VecEnv, hparams: HParams) -> OnPolicyAlgorithm:
        """Return a new algorithm; leave out `seed`, `verbose` and `tensorboard_log`."""
        raise NotImplementedError(f"{type(self).__name__} has no method algorithm(environment, hparams)")

    @property
    def model(self) -> OnPolicyAlgorithm:
        """The algorithm."""
        return self.trained.algorithm

    def train(self, steps: range) -> None:
        """Train for one interval.

        Raises:
            HpoError: the interval is no whole number of rollouts.
            Diverged: a parameter is not finite.
        """
        model = self.model
        environment = model.get_env()
        assert environment is not None
        environment.seed(random.getrandbits(31))
        model.set_env(environment)  # it is reset before the next step
        stop = model.num_timesteps + self._rounded(len(steps))
        try:
            model.learn(
                max(self.budget, stop) - model.num_timesteps,
                callback=_Interval(stop),
                log_interval=None,
                reset_num_timesteps=False,
            )
        except _IntervalEnded:
            pass
        except ValueError:  # of a distribution whose parameters are not finite, unless its checks are off
            if _is_finite(model):
                raise
        if not _is_finite(model):
            raise Diverged("the policy is not finite")

    def evaluate(self) -> dict[str, float]:
        """Return the mean and the standard deviation of the return of some episodes, with the likeliest actions."""
        made = self.environment()
        environment = made if isinstance(made, VecEnv) else DummyVecEnv([lambda: made])
        if isinstance(environment, VecNormalize):
            sync_envs_normalization(self.model.env, environment)
            environment.training = environment.norm_reward = False
        environment.seed(random.getrandbits(31))
        mean, deviation = evaluate_policy(self.model, environment, self.episodes, warn=False)
        environment.close()
        return {"return": float(mean), "return_sd": float(deviation)}

    def _rounded(self, steps: int) -> int:
        rollout = int(self.model.n_steps * self.model.n_envs)
        if steps > _TRIED and steps % rollout:
            raise HpoError(
                f"an interval of {steps} steps is no whole number of rollouts, which have {rollout} steps"
                f" (n_steps = {self.model.n_steps} in {self.model.n_envs} environments): choose another interval"
            )
        return max(steps, rollout)


_TRIED = 2
"""Steps of an interval in the check before a study; one rollout takes their place."""


class _Algorithm:
    """An algorithm as an object with a state: its parameters, its optimizer's, its progress and running statistics."""

    def __init__(self, algorithm: OnPolicyAlgorithm) -> None:
        self.algorithm = algorithm

    def state_dict(self) -> dict[str, Any]:
        model = self.algorithm
        return {
            "parameters": model.get_parameters(),
            "num_timesteps": model.num_timesteps,
            "statistics": {name: dict(vars(found)) for name, found in self._statistics().items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.algorithm.set_parameters(state["parameters"], device=self.algorithm.device)
        self.algorithm.num_timesteps = state["num_timesteps"]
        for name, found in self._statistics().items():
            vars(found).update(state["statistics"][name])

    def _statistics(self) -> dict[str, Any]:
        normalizing = self.algorithm.get_vec_normalize_env()
        return {} if normalizing is None else {name: getattr(normalizing, name) for name in _STATISTICS}


class _IntervalEnded(Exception):
    """Leaves `learn`, which would go on to the end of the budget."""


class _Interval(BaseCallback):  # type: ignore[misc]
    """Ends training before the first rollout of the next interval.

    Args:
        stop: the number of steps at which the interval ends.
    """

    def __init__(self, stop: int) -> None:
        super().__init__()
        self.stop = stop

    def _on_rollout_start(self) -> None:
        if self.num_timesteps >= self.stop:
            raise _IntervalEnded

    def _on_step(self) -> bool:
        return True


def _is_finite(model: Any) -> bool:
    return all(bool(parameter.isfinite().all()) for parameter in model.policy.parameters())
