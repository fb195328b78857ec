"""Task `cartpole`: balance a pole on a cart by reinforcement learning, an advantage actor-critic on Gymnasium's `CartPole-v1`.

The algorithm is A2C, the synchronous form of A3C (Mnih et al., "Asynchronous methods for deep reinforcement
learning", ICML 2016, algorithm S3 and section 4), with one environment: policy gradient on the n-step advantage, the
entropy of the policy as a bonus, and the squared error of the value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor, nn

from hpo.core.errors import InputError
from hpo.core.registry import register_task
from hpo.core.segments import HParams
from hpo.core.space import Float, SearchSpace
from hpo.core.task import Batches, Evaluation, Examples, Indices, Metric
from hpo.tasks.torch import TorchState, TorchTask
from hpo.tasks.torch.numerics import setting

try:
    import gymnasium
except ModuleNotFoundError as error:
    raise InputError('task cartpole needs gymnasium, which is not installed: pip install "hpo[rl]"') from error

Observation = np.ndarray[tuple[int, ...], np.dtype[np.float32]]

VALUE_COST = 0.5
LARGEST_GRADIENT = 0.5
"""The norm that the gradient of an update is clipped to."""
FIRST_TEST_SEED = 10**9
"""Of an environment in the test set. Those of validation are drawn below it."""


class ActorCritic(nn.Module):
    """Policy and value function, two hidden layers each; observations, shape (b, 4), to logits and value, shape (b, 3).

    Args:
        width: units of a hidden layer.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.policy = _layers(width, 2)
        self.value = _layers(width, 1)
        self.entropy_cost = 0.0
        """The weight of the policy's entropy in the loss; a hyperparameter."""
        self.discount = 1.0
        """The factor on the reward one step later; a hyperparameter."""

    def forward(self, observations: Tensor) -> Tensor:
        """Return the two actions' logits, and the value as the third column."""
        return torch.cat([self.policy(observations), self.value(observations)], dim=1)


@dataclass(frozen=True)
class Starts:
    """Test episodes, each given by the seed of its environment.

    Args:
        size: number of episodes.
    """

    size: int

    @property
    def fingerprint(self) -> str:
        """The environment and the seeds, which determine the episodes."""
        return f"CartPole-v1 from seed {FIRST_TEST_SEED}, {self.size} episodes"

    def __len__(self) -> int:
        return self.size

    def take(self, indices: Indices) -> list[int]:
        """Return the seeds at these positions."""
        return [FIRST_TEST_SEED + index for index in indices.tolist()]


@register_task("cartpole")
@dataclass(frozen=True)
class CartPole(TorchTask):
    """An actor-critic that learns to balance. The unit is one step of the environment; there is no development data.

    The environment is reset at the start of each interval. Training and validation draw from the global generators, which the
    engine seeds for each segment. In evaluation, the policy takes the likelier action.

    Args:
        batch_size: steps of the environment per update.
        validation_size: has no effect, because there is no development data.
        drop_last: has no effect.
        width: units of a hidden layer.
        episodes: of one validation, from random starts: the score is noisy.
        test_episodes: of the test, from fixed starts that no validation sees.
    """

    batch_size: Annotated[int, Gt(0)] = 32
    width: Annotated[int, Gt(0)] = 32
    episodes: Annotated[int, Gt(0)] = 10
    test_episodes: Annotated[int, Gt(0)] = 100

    precision: Literal["float32"] = setting("float32")

    unit = "steps"

    @property
    def search_space(self) -> SearchSpace:
        """Learning rate of Adam, cost of the entropy, discount."""
        return SearchSpace(
            {
                "lr": Float(1e-4, 1e-1, log=True),
                "entropy_cost": Float(1e-4, 1e-1, log=True),
                "discount": Float(0.8, 0.999),
            }
        )

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The mean return of an episode: the steps until the pole falls, at most 500."""
        return (Metric("mean_return", "maximize", worst=0.0),)

    def build_model(self, hparams: HParams) -> nn.Module:
        """Return policy and value function with random weights."""
        return ActorCritic(self.width)

    def build_optimizer(self, model: nn.Module, hparams: HParams) -> torch.optim.Optimizer:
        """Return Adam."""
        return torch.optim.Adam(model.parameters(), fused=True)

    def apply_hparams(self, state: TorchState, hparams: HParams) -> None:
        """Set the learning rate of Adam, and the other hyperparameters in the model."""
        super().apply_hparams(state, hparams)
        model = _actor_critic(state)
        model.entropy_cost = float(hparams["entropy_cost"])
        model.discount = float(hparams["discount"])

    def applied_hparams(self, state: TorchState) -> HParams:
        """Return the present values in Adam and in the model."""
        model = _actor_critic(state)
        own = {"entropy_cost": model.entropy_cost, "discount": model.discount}
        return {**super().applied_hparams(state), **own}

    def loss(self, model: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of an update.

        Args:
            model: an `ActorCritic`.
            inputs: observations, shape (b, 4).
            targets: shape (b, 2): the action taken, 0 or 1, and its n-step return.
        """
        assert isinstance(model, ActorCritic)
        outputs = model(inputs)
        log_policy, value = outputs[:, :2].log_softmax(dim=1), outputs[:, 2]
        taken, returns = targets[:, :1].long(), targets[:, 1]
        advantage = (returns - value).detach()
        gain = (log_policy.gather(1, taken)[:, 0] * advantage).mean()
        entropy = -(log_policy.exp() * log_policy).sum(dim=1).mean()
        error = (returns - value).square().mean()
        loss: Tensor = VALUE_COST * error - gain - model.entropy_cost * entropy
        return loss

    def training_step(self, state: TorchState, inputs: Tensor, targets: Tensor) -> Tensor:
        """Take one step of Adam down the loss, the gradient clipped."""
        state.optimizer.zero_grad()
        loss = self.loss(state.model, inputs, targets)
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(state.model.parameters(), LARGEST_GRADIENT)
        state.optimizer.step()
        return loss.detach()

    def train(self, state: TorchState, hparams: HParams, batches: Batches | range) -> TorchState:
        """Take as many steps of the environment as the interval has, with an update after every `batch_size` of them.

        The last update may have fewer. The engine detects divergence from the checkpoint's parameters.
        """
        self.apply_hparams(state, hparams)
        state.model.train()
        model, environment = _actor_critic(state), gymnasium.make("CartPole-v1")
        seen: Observation = environment.reset(seed=_seed())[0]
        batch_size = self.batch_size_of(hparams)
        for start in range(0, len(batches), batch_size):
            observations, actions, rewards, values, going = [], [], [], [], []
            for _ in range(min(batch_size, len(batches) - start)):
                action = _sampled(model, self._tensor([seen]))
                observations.append(seen)
                actions.append(action)
                seen, reward, fallen, stopped, _ = environment.step(action)
                rewards.append(float(reward))
                going.append(not (fallen or stopped))
                # A fallen pole earns nothing more; an episode that was truncated would have gone on.
                values.append(_value(model, self._tensor([seen])) if stopped and not fallen else 0.0)
                if fallen or stopped:
                    seen = environment.reset(seed=_seed())[0]
            if going[-1]:
                values[-1] = _value(model, self._tensor([seen]))
            returns = n_step_returns(rewards, values, going, model.discount)
            targets = torch.tensor([actions, returns], dtype=torch.float32, device=self.device).T
            self.training_step(state, self._tensor(observations), targets)
        environment.close()
        return state

    def evaluate(self, state: TorchState, data: Examples | None) -> Evaluation:
        """Return mean and standard deviation of the return over episodes, from random starts or from those of the test set."""
        state.model.eval()
        seeds = [_seed() for _ in range(self.episodes)] if data is None else data.dataset.take(data.indices)
        lengths = self._episodes(_actor_critic(state), seeds)
        return Evaluation(
            {"mean_return": float(np.mean(lengths)), "return_sd": float(np.std(lengths)), "count": len(lengths)}
        )

    def test_data(self) -> Starts:
        """Return the starts of the test episodes."""
        return Starts(self.test_episodes)

    def numerics(self) -> dict[str, str]:
        """Return what the bits of a result depend on, Gymnasium's version included."""
        return super().numerics() | {"gymnasium": version("gymnasium")}

    def _episodes(self, model: ActorCritic, seeds: Sequence[int]) -> list[int]:
        """Return the steps of one episode from each seed, all played side by side."""
        environments = [gymnasium.make("CartPole-v1") for _ in seeds]
        seen = {index: environments[index].reset(seed=seed)[0] for index, seed in enumerate(seeds)}
        lengths = [0] * len(seeds)
        while seen:
            with torch.inference_mode():
                actions = model.policy(self._tensor(list(seen.values()))).argmax(dim=1).tolist()
            for index, action in zip(list(seen), actions, strict=True):
                lengths[index] += 1
                seen[index], _, fallen, stopped, _ = environments[index].step(action)
                if fallen or stopped:
                    del seen[index]
        return lengths

    def _tensor(self, observations: Sequence[Observation]) -> Tensor:
        return torch.from_numpy(np.stack(observations)).to(self.device)


def n_step_returns(
    rewards: Sequence[float], values: Sequence[float], going: Sequence[bool], discount: float
) -> list[float]:
    """Return the discounted return of each step: rewards to the end of its episode, or of the rollout plus the value there.

    Args:
        rewards: of each step.
        values: the value of the state after each step at which the episode or the rollout ends; 0, and ignored, elsewhere.
        going: whether the episode continues after the step.
        discount: the factor on the reward one step later.

    >>> n_step_returns([1, 1, 1], [0, 0, 4], [True, False, True], 0.5)
    [1.5, 1.0, 3.0]
    """
    returns: list[float] = []
    last = len(rewards) - 1
    for step in range(last, -1, -1):
        after = returns[-1] if going[step] and step < last else values[step]
        returns.append(rewards[step] + discount * after)
    return returns[::-1]


def _layers(width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs))


def _actor_critic(state: TorchState) -> ActorCritic:
    assert isinstance(state.model, ActorCritic)
    return state.model


def _sampled(model: ActorCritic, observation: Tensor) -> int:
    """Return an action drawn from the policy."""
    with torch.inference_mode():
        logits = model.policy(observation)[0]
        return int(np.random.random() < float(torch.sigmoid(logits[1] - logits[0])))


def _value(model: ActorCritic, observation: Tensor) -> float:
    with torch.inference_mode():
        return float(model.value(observation))


def _seed() -> int:
    """Return the seed of an environment, drawn from the segment's stream."""
    return int(np.random.randint(FIRST_TEST_SEED))
