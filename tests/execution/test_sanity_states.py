"""The try before a study starts: state that no checkpoint holds, and hyperparameters that shape a model in flight."""

import random
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from helpers import GREEDY, PBT, RANDOM
from torch import nn
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR
from tried_tasks import Plain, Points, space, task, tried

from hpo import Categorical, Int
from hpo.core.errors import InputError
from hpo.tasks.torch import TorchState

# --- what a checkpoint does not hold (24) --------------------------------------------------------------------------------


def with_optimizer(build: Any, **more: Any) -> type[Points]:
    return task(build_optimizer=lambda self, model, hparams: build(model.parameters()), **more)


class CountsItself(torch.optim.SGD):
    """A warmup by a counter of the optimizer object's own."""

    calls = 0

    def step(self, closure: Any = None) -> Any:
        self.calls += 1
        return super().step(closure)


SCHEDULERS: list[Any] = []


def scheduled(make: Any, keep: Any) -> type[Points]:
    """Return a task whose optimizer has a scheduler, stepped after each step and kept somewhere."""

    def build_optimizer(self: Any, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(model.parameters(), lr=hparams["lr"])
        keep(optimizer, make(optimizer))
        return optimizer

    def training_step(self: Any, state: Any, inputs: Any, targets: Any) -> Any:
        loss = Points.training_step(self, state, inputs, targets)
        for each in [*SCHEDULERS, getattr(state.optimizer, "schedule", None)]:
            if each is not None and each.optimizer is state.optimizer:
                each.step(*([1.0] if isinstance(each, ReduceLROnPlateau) else []))
        return loss

    return task(build_optimizer=build_optimizer, training_step=training_step)


def on_the_optimizer(optimizer: Any, scheduler: Any) -> None:
    optimizer.schedule = scheduler


def in_a_list(optimizer: Any, scheduler: Any) -> None:
    SCHEDULERS.append(scheduler)


class Averaged(Points):
    """Keeps a running average of the weights in the state, and evaluates it."""

    def initialize(self, hparams: Any) -> TorchState:
        state = super().initialize(hparams)
        state.average = torch.optim.swa_utils.AveragedModel(state.model)  # type: ignore[attr-defined]
        return state

    def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
        loss = super().training_step(state, inputs, targets)
        state.average.update_parameters(state.model)
        return loss


class Shadow:
    """An average of somebody's own, which has no `state_dict`."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = [parameter.detach().clone() for parameter in model.parameters()]

    def update(self, model: nn.Module) -> None:
        for mine, parameter in zip(self.weights, model.parameters(), strict=True):
            mine.mul_(0.9).add_(parameter.detach(), alpha=0.1)


def keeping(make: Any, use: Any) -> type[Points]:
    """Return a task that keeps one thing more in its state, and uses it after each step."""

    def initialize(self: Any, hparams: Any) -> TorchState:
        state = Points.initialize(self, hparams)
        state.kept = make(state.model)  # type: ignore[attr-defined]
        return state

    def training_step(self: Any, state: Any, inputs: Any, targets: Any) -> Any:
        loss = Points.training_step(self, state, inputs, targets)
        state.kept = use(state) or state.kept
        return loss

    return task(initialize=initialize, training_step=training_step)


class Counts(nn.Module):
    """A layer that changes after so many batches, long after what is tried."""

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self._calls += self.training
        return x if self._calls < 1000 else x.detach()


def nested_counter(self: Any, hparams: Any) -> nn.Module:
    return nn.Sequential(nn.Sequential(Counts()), nn.Linear(4, 3))


def on_the_task(self: Any, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
    optimizer = torch.optim.SGD(model.parameters(), lr=hparams["lr"])
    object.__setattr__(self, "scheduler", StepLR(optimizer, 1000))
    return optimizer


def step_of_the_task(self: Any, state: Any, inputs: Any, targets: Any) -> Any:
    loss = Points.training_step(self, state, inputs, targets)
    self.scheduler.step()
    return loss


class RunningMean(nn.Module):
    """A layer that keeps what it has seen in a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.zeros(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


def hidden_mean(self: Any, hparams: Any) -> nn.Module:
    return nn.Sequential(RunningMean(), nn.Linear(4, 3))


LOST = {
    "a counter of the optimizer object": (
        with_optimizer(lambda params: CountsItself(params, lr=0.1)),
        r"optimizer\.calls",
    ),
    "a scheduler on the optimizer": (scheduled(lambda o: StepLR(o, 1000), on_the_optimizer), "StepLR"),
    "a scheduler whose steps leave no trace yet": (
        scheduled(lambda o: ExponentialLR(o, 0.9), on_the_optimizer),
        "ExponentialLR",
    ),
    "a scheduler that nothing points to": (scheduled(lambda o: StepLR(o, 1000), in_a_list), "StepLR"),
    "a plateau": (scheduled(ReduceLROnPlateau, on_the_optimizer), "ReduceLROnPlateau"),
    "a scheduler on the task": (task(build_optimizer=on_the_task, training_step=step_of_the_task), "LRScheduler"),
    "an average of the weights": (Averaged, r"state\.average"),
    "an average of one's own": (keeping(Shadow, lambda state: state.kept.update(state.model)), r"state\.kept"),
    "an average in a dict": (
        keeping(
            lambda model: {},
            lambda state: {
                name: 0.9 * state.kept.get(name, 0.0) + 0.1 * parameter.detach()
                for name, parameter in state.model.named_parameters()
            },
        ),
        r"state\.kept",
    ),
    "a counter of the state": (keeping(lambda model: 0, lambda state: state.kept + 1), r"state\.kept is 4 .* and 2"),
    "a counter deep in the model": (task(build_model=nested_counter), r"model\.0\.0\._calls is 4 .* and 2"),
    "a generator of numpy": (
        keeping(lambda model: np.random.default_rng(0), lambda state: state.kept.random() and None),
        r"state\.kept",
    ),
    "a generator of torch": (
        keeping(lambda model: torch.Generator(), lambda state: torch.rand(1, generator=state.kept) and None),
        r"state\.kept",
    ),
    "a generator of Python": (
        keeping(lambda model: random.Random(0), lambda state: state.kept.random() and None),
        r"state\.kept",
    ),
    "a layer's plain attribute": (task(build_model=hidden_mean), r"model\.0\.mean"),
}


@pytest.mark.parametrize("kind", LOST)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_state_that_would_begin_anew_in_every_interval_is_refused_by_name(kind: str) -> None:
    """Fault 24: a live scheduler, counters and averages that no checkpoint holds."""
    cls, named = LOST[kind]
    SCHEDULERS.clear()
    with pytest.raises(InputError, match=named):
        tried(cls)
    SCHEDULERS.clear()


class Caches(nn.Module):
    """A layer that computes something once, and remembers losses for a plot."""

    def __init__(self) -> None:
        super().__init__()
        self.cached: torch.Tensor | None = None
        self.length = 0
        self.history: list[float] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.cached is None or self.length < len(x):
            self.cached, self.length = torch.arange(4.0), len(x)
        self.history.append(float(x.mean()))
        return x + self.cached


def test_caches_and_histories_are_no_state() -> None:
    tried(task(build_model=lambda self, hparams: nn.Sequential(Caches(), nn.Linear(4, 3))))


class Saved(Averaged):
    """Saves the average by itself."""

    def to_arrays(self, state: Any) -> Any:
        own = {f"average.{name}": value.numpy().copy() for name, value in state.average.state_dict().items()}
        return super().to_arrays(state) | own

    def from_arrays(self, arrays: Any, hparams: Any) -> Any:
        state = super().from_arrays(arrays, hparams)
        names = state.average.state_dict()
        state.average.load_state_dict({name: torch.tensor(arrays[f"average.{name}"]) for name in names})
        return state


def test_a_task_that_saves_its_own_state_is_not_refused() -> None:
    tried(Saved)


def test_a_rate_that_training_lowers_itself_is_a_warning() -> None:
    """Fault 24, sibling: each interval begins with the searched value again."""

    class Lowers(Points):
        def train(self, state: Any, hparams: Any, batches: Any) -> Any:
            state = super().train(state, hparams, batches)
            state.optimizer.param_groups[0]["lr"] *= 0.5
            return state

    with pytest.warns(UserWarning, match="training changes lr"):
        tried(Lowers)


class ForgetsSpeed(Plain):
    def to_arrays(self, state: Any) -> Any:
        return {"mean": state["mean"]}

    def from_arrays(self, arrays: Any, hparams: Any) -> Any:
        return {"mean": arrays["mean"], "speed": np.zeros(4)}


class Rounds(Plain):
    def from_arrays(self, arrays: Any, hparams: Any) -> Any:
        return {name: array.round(1) for name, array in arrays.items()}


class OwnGenerator(Plain):
    """Draws from a generator that nobody seeds."""

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        state = super().train(state, hparams, batches)
        return state | {"mean": state["mean"] + np.random.default_rng().standard_normal(4)}


class DrawsWhenRestored(Plain):
    """Draws when it restores, as many do; what training draws does not depend on it."""

    def from_arrays(self, arrays: Any, hparams: Any) -> Any:
        np.random.standard_normal(3)
        return dict(arrays)

    def train(self, state: Any, hparams: Any, batches: Any) -> Any:
        state = super().train(state, hparams, batches)
        return state | {"mean": state["mean"] + np.random.standard_normal(4)}


class Objects(Plain):
    def to_arrays(self, state: Any) -> Any:
        return state | {"names": np.array(["a", None], dtype=object)}


def test_what_a_task_without_pytorch_forgets_is_refused() -> None:
    """Fault 24, sibling: momentum that is not saved, a state that changes on the way, an array that no checkpoint can hold."""
    for cls, named in ((ForgetsSpeed, "to_arrays leaves out"), (Rounds, "mean, speed"), (Objects, "names")):
        with pytest.raises(InputError, match=named):
            tried(cls)
    tried(DrawsWhenRestored)


def test_training_that_gives_two_results_is_a_warning() -> None:
    with pytest.warns(UserWarning, match="two results"):
        tried(OwnGenerator)


class TaskGenerator(Points):
    """Draws from a generator that lies in the task, where every member goes on with it."""

    @cached_property
    def generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(0)

    def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
        return super().training_step(state, inputs + torch.randn(inputs.shape, generator=self.generator), targets)


RNG = np.random.default_rng(0)


class ModuleGenerator(Points):
    """Draws from a generator of its module."""

    def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
        return super().training_step(state, inputs + float(RNG.standard_normal()), targets)


CALLS = [0]


class BoxedCounter(Points):
    """Counts its steps in a list of one number, and trains by the count."""

    def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
        CALLS[0] += 1
        return super().training_step(state, inputs / CALLS[0], targets)


class ClassCounter(Points):
    """Counts its steps in its class."""

    counts: ClassVar[dict[str, int]] = {"steps": 0}

    def training_step(self, state: Any, inputs: Any, targets: Any) -> Any:
        self.counts["steps"] += 1
        return super().training_step(state, inputs, targets)


def test_what_goes_on_from_member_to_member_is_named() -> None:
    """Fault 24, sibling: generators and counters beside the state are refused; one that has not mattered yet is a warning."""
    refused = {
        TaskGenerator: r"self\.generator",
        ModuleGenerator: r"test_sanity_states\.RNG",
        BoxedCounter: r"test_sanity_states\.CALLS",
    }
    for cls, named in refused.items():
        with pytest.raises(InputError, match=named):
            tried(cls)
    with pytest.warns(UserWarning, match=r"ClassCounter\.counts changes"):
        tried(ClassCounter)


# --- hyperparameters that shape the model (26) ---------------------------------------------------------------------------


def wide(self: Any, hparams: Any) -> nn.Module:
    width = int(hparams["width"])
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))


PER_PARAMETER = PBT | {"perturbation": {"name": "per_parameter", "parameters": {"width": {"name": "none"}}}}


def test_a_width_that_is_not_fixed_is_refused_where_members_copy() -> None:
    """Fault 26: named, with what to write, before the first copy would fail."""
    unfixed = task(search_space=space(width=Int(4, 16)), build_model=wide)
    for arm in (PBT, GREEDY, PER_PARAMETER | {"inherit": "weights"}):
        with pytest.raises(InputError, match=r"\[task\.search_space\.width\]") as refused:
            tried(unfixed, arms=(RANDOM, arm))
        assert "fixed = true" in str(refused.value)
        assert "its own width fails" in str(refused.value)


@pytest.mark.parametrize(
    ("parameter", "arms"),
    [
        (Int(4, 16, fixed=True), (RANDOM, PBT)),
        (Int(4, 16), (RANDOM,)),
        (Int(4, 16), (RANDOM, PER_PARAMETER)),
        (Categorical((4, 8, 16)), (RANDOM, PBT)),
        (Int(4, 16), (RANDOM, PBT | {"selection": {"name": "none"}})),
    ],
    ids=["fixed", "random search", "not perturbed", "unordered, which multiply leaves", "nobody copies"],
)
def test_a_width_that_never_changes_in_flight_is_not_refused(parameter: Any, arms: Any) -> None:
    tried(task(search_space=space(width=parameter), build_model=wide), arms=arms)
