"""What a PyTorch task keeps of a model and its optimizer from one interval to the next: everything, or it says what it cannot."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import hpo
from hpo.core.checkpoints import decode, encode
from hpo.core.errors import HpoError
from hpo.core.seeding import forked_generators
from hpo.core.task import Batches, Examples
from hpo.tasks.torch import ArrayDataset, TorchClassification, TorchTask
from hpo.tasks.torch.state_dicts import packed, unpacked

H = {"lr": 0.05}


class ScheduleFree(torch.optim.Optimizer):
    """As `schedulefree.SGDScheduleFree` keeps its state: counters in the parameter groups, and `z` for each parameter."""

    def __init__(self, params: Any, lr: float = 1.0, warmup: int = 7) -> None:
        super().__init__(params, {"lr": lr, "warmup": warmup, "k": 0, "weight_sum": 0.0, "lr_max": -1.0})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            rate = group["lr"] * min(1.0, (group["k"] + 1) / group["warmup"])
            group["lr_max"] = max(rate, group["lr_max"])
            group["weight_sum"] += group["lr_max"] ** 2
            share = group["lr_max"] ** 2 / group["weight_sum"]
            for parameter in group["params"]:
                z = self.state[parameter].setdefault("z", parameter.clone())
                z.sub_(parameter.grad, alpha=rate)
                parameter.lerp_(z, share)
            group["k"] += 1


class Prodigy(torch.optim.Optimizer):
    """As `prodigyopt.Prodigy` keeps its state: its estimate `d`, as floats in a group, one of them a key that comes later."""

    def __init__(self, params: Any, lr: float = 1.0) -> None:
        super().__init__(params, {"lr": lr, "d": 1e-2, "d0": 1e-2, "k": 0})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            numerator = group.get("d_numerator", 0.0)
            for parameter in group["params"]:
                start = self.state[parameter].setdefault("p0", parameter.clone())
                numerator += float((parameter.grad * (start - parameter)).sum())
                parameter.sub_(parameter.grad, alpha=group["d"] * group["lr"])
            group["d_numerator"] = numerator
            group["d"] = max(group["d"], abs(numerator)) * 1.1
            group["k"] += 1


class Shared(torch.optim.Optimizer):
    """State beside the parameters: tensors and lists under a name of their own, and in an entry of `state_dict`."""

    def __init__(self, params: Any, lr: float = 1.0) -> None:
        super().__init__(params, {"lr": lr})
        self.calls = torch.zeros((), dtype=torch.int64)

    @torch.no_grad()
    def step(self) -> None:
        shared = self.state["global"]
        shared["norm"] = 0.9 * shared.get("norm", torch.zeros(())) + 0.1 * sum(
            parameter.grad.norm() for group in self.param_groups for parameter in group["params"]
        )
        shared["history"] = [*shared.get("history", []), float(shared["norm"])][-3:]
        shared["last"] = ("norm", len(shared["history"]), None, True)
        self.calls += 1
        for group in self.param_groups:
            for parameter in group["params"]:
                rate = group["lr"] / (1 + sum(shared["history"]) + 0.1 * float(self.calls))
                parameter.sub_(parameter.grad, alpha=rate)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"calls": self.calls}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.calls = state_dict["calls"].clone()
        super().load_state_dict(state_dict)


class SharperMomentum(torch.optim.Optimizer):
    """A state of higher precision than the weights, which PyTorch's own `load_state_dict` rounds to theirs."""

    def __init__(self, params: Any, lr: float = 1.0) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter].setdefault("mean", torch.zeros_like(parameter, dtype=torch.float32))
                state.mul_(0.9).add_(parameter.grad.float())
                parameter.sub_((group["lr"] * state).to(parameter.dtype))


class Counted(nn.Module):
    """A layer with an extra state: how often it was called, a tensor and text; it scales by the count."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.mean = 0, torch.zeros(())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        self.mean = 0.5 * self.mean + x.detach().mean()
        return x * (1 + 0.1 * self.calls) + self.mean

    def get_extra_state(self) -> dict[str, Any]:
        return {"calls": self.calls, "mean": self.mean, "kind": ("counted", [1, 2.5, None])}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        assert state["kind"] == ("counted", [1, 2.5, None])
        self.calls, self.mean = state["calls"], state["mean"]


class Odd(nn.Module):
    """Weights of many kinds in one model."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.second = nn.Linear(8, 8)
        self.second.weight = nn.Parameter(torch.randn(8, 8).t())  # not contiguous
        self.tied = nn.Linear(8, 8)
        self.tied.weight = self.second.weight
        self.scale = nn.Parameter(torch.ones(()))
        self.phase = nn.Parameter(torch.randn(8, dtype=torch.complex64))
        self.whole = nn.Parameter(torch.arange(3, dtype=torch.int8), requires_grad=False)
        self.last = nn.Linear(8, 3).double()
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("turn", torch.ones(2, dtype=torch.complex128), persistent=False)
        self.register_buffer("tiny", torch.ones(4).to(torch.float8_e4m3fn))
        self.register_buffer("nothing", None)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        self.turn *= 1.5j
        x = self.tied(self.second(self.first(x)).tanh()).tanh() * self.scale
        x = (x * self.phase).abs() + float(self.turn[0].abs()) * float(self.tiny.float().mean())
        return self.last(x.double() + self.whole.sum())


@dataclass(frozen=True)
class Kept(TorchClassification):
    """Points in six dimensions.

    Args:
        model: builds it.
        optimizer: builds it, of the parameters.
    """

    batch_size: int = 10
    model: Any = lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    optimizer: Any = torch.optim.SGD

    search_space = hpo.SearchSpace({"lr": hpo.Float(1e-4, 1.0)})

    def build_model(self, hparams: Any) -> nn.Module:
        return self.model()

    def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
        return self.optimizer([each for each in model.parameters() if each.requires_grad])

    def development_data(self) -> ArrayDataset:
        rng = np.random.default_rng(0)
        return ArrayDataset(rng.standard_normal((60, 6), dtype=np.float32), rng.integers(3, size=60))


class LowPrecision(nn.Module):
    """A model of bfloat16, given float32 inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)).to(torch.bfloat16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x.to(torch.bfloat16)).float()


def image_net() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(8, 3)
    )


def plain_sgd(params: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(params, lr=1.0, momentum=0.9, foreach=False)


TASKS = {
    "schedule-free: counters in the groups": Kept(optimizer=ScheduleFree),
    "Prodigy: estimates in the groups": Kept(optimizer=Prodigy),
    "state under a name, and a key of state_dict": Kept(optimizer=Shared),
    "state from the beginning": Kept(optimizer=torch.optim.Adagrad),
    "Adam with amsgrad": Kept(optimizer=lambda params: torch.optim.Adam(params, amsgrad=True)),
    "NAdam, whose mu_product is a number": Kept(optimizer=torch.optim.NAdam),
    "bfloat16": Kept(model=LowPrecision, optimizer=plain_sgd),
    "bfloat16 with a float32 state": Kept(model=LowPrecision, optimizer=SharperMomentum),
    "float64": Kept(model=lambda: nn.Sequential(nn.Linear(6, 3)), optimizer=plain_sgd),
    "weights of many kinds": Kept(model=Odd, optimizer=plain_sgd),
    "an extra state": Kept(model=lambda: nn.Sequential(nn.Linear(6, 3), Counted()), optimizer=plain_sgd),
    "channels last, batch norm": Kept(model=image_net, optimizer=plain_sgd),
    "lazy layers": Kept(
        model=lambda: nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Dropout(), nn.LazyLinear(3)),
        optimizer=plain_sgd,
    ),
}


def batches(task: TorchTask, k: int) -> Batches:
    data = task.development_data()
    assert data is not None
    return Batches(data, np.arange(20 * k, 20 * k + 20), task.batch_size, k, k + 1)


def bits(arrays: Any) -> dict[str, Any]:
    return {name: (array.dtype.str, array.shape, array.tobytes()) for name, array in arrays.items()}


@pytest.mark.parametrize("name", TASKS)
def test_training_through_checkpoints_is_training_without(name: str) -> None:
    """Faults 24 and 28: three intervals in one go, and with a checkpoint between them: the same bits, in every kind of state."""
    task = TASKS[name]
    with forked_generators(1):
        straight = task.initialize(H)
    resumed = task.from_arrays(decode(encode(task.to_arrays(straight))), H)
    for k in range(3):
        for state in (straight, resumed):
            with forked_generators(10 + k):
                task.train(state, H, batches(task, k))
        arrays = task.to_arrays(straight)
        assert bits(arrays) == bits(task.to_arrays(resumed))
        resumed = task.from_arrays(decode(encode(arrays)), H)
        assert bits(arrays) == bits(task.to_arrays(resumed))
        data = Examples(task.development_data(), np.arange(40, 60))  # type: ignore[arg-type]
        assert task.evaluate(straight, data).metrics == task.evaluate(resumed, data).metrics


def test_the_searched_rate_stays_in_force_after_a_restore_and_a_counter_goes_on() -> None:
    """Fault 24 and ray#62173: the checkpoint brings the counter, and not the learning rate that it was made with."""
    task = Kept(optimizer=ScheduleFree)
    state = task.train(task.initialize(H), H, batches(task, 0))
    restored = task.from_arrays(task.to_arrays(state), {"lr": 0.5})
    (group,) = restored.optimizer.param_groups
    assert (group["lr"], group["k"]) == (0.5, 2)
    assert group["lr_max"] == state.optimizer.param_groups[0]["lr_max"]


def test_options_that_follow_from_other_hyperparameters_are_those_of_the_present_ones() -> None:
    """An option that build_optimizer makes of a hyperparameter is no state: a copy does not bring the donor's."""

    @dataclass(frozen=True)
    class Betas(Kept):
        def build_optimizer(self, model: nn.Module, hparams: Any) -> torch.optim.Optimizer:
            return torch.optim.Adam(model.parameters(), betas=(hparams["beta1"], 0.99))

    task = Betas()
    state = task.train(task.initialize({"beta1": 0.5}), {"beta1": 0.5}, batches(task, 0))
    restored = task.from_arrays(task.to_arrays(state), {"beta1": 0.75})
    assert restored.optimizer.param_groups[0]["betas"] == (0.75, 0.99)


def test_a_rate_that_training_changes_and_nobody_searches_is_kept() -> None:
    """A learning rate that the task itself lowers, not a hyperparameter of the study, is where training left it."""
    task = Kept(optimizer=plain_sgd)
    state = task.initialize({})
    state.optimizer.param_groups[0]["lr"] *= 0.25
    assert task.from_arrays(task.to_arrays(state), {}).optimizer.param_groups[0]["lr"] == 0.25


def test_a_state_that_cannot_be_saved_is_named() -> None:
    """Fault 24: what is neither number, text nor tensor is refused by its name."""
    task = Kept(optimizer=plain_sgd)
    state = task.initialize(H)
    state.optimizer.state["global"]["seen"] = object()
    with pytest.raises(HpoError, match=r"optimizer\.global\.seen holds a object"):
        task.to_arrays(state)


def test_a_checkpoint_without_the_optimizers_state_starts_it_anew() -> None:
    """A task may leave the optimizer out of its checkpoints, to begin with a fresh one in each interval."""
    task = Kept(optimizer=plain_sgd)
    state = task.train(task.initialize(H), H, batches(task, 0))
    arrays = {name: array for name, array in task.to_arrays(state).items() if name.startswith("model.")}
    assert not task.from_arrays(arrays, H).optimizer.state


TREES = [
    {"a": torch.arange(3), 0: torch.ones(2), "0": torch.zeros(2), "b": {"c": [1, 2.5, None, (True, "x")]}},
    OrderedDict(a=torch.tensor(float("nan"))),
    {
        "empty": {},
        "none": None,
        "list": [],
        "tuple": (),
        "big": 2**80,
        "inf": float("inf"),
        "bf": torch.ones((), dtype=torch.bfloat16),
    },
    torch.tensor([1 + 2j], dtype=torch.complex128),
]


@pytest.mark.parametrize("tree", TREES, ids=["nested", "ordered", "odd", "bare"])
def test_a_tree_comes_back_as_it_was(tree: Any) -> None:
    def told(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return str(value.dtype), tuple(value.shape), str(value.tolist())
        if isinstance(value, dict):
            return {(type(key), key): told(item) for key, item in value.items()}
        return (
            (type(value), [told(item) for item in value]) if isinstance(value, (list, tuple)) else (type(value), value)
        )

    arrays = decode(encode(packed(tree, "tree") | {"other": np.zeros(1)}))
    assert told(unpacked(arrays, "tree")) == told(dict(tree) if isinstance(tree, OrderedDict) else tree)


@dataclass(frozen=True)
class DictBatches(Kept):
    """Batches whose inputs and targets are dicts, as tokenizers give them."""

    form: str = "inputs"

    def build_model(self, hparams: Any) -> nn.Module:
        return nn.Linear(6, 3)

    def loss(self, model: nn.Module, inputs: Any, targets: Any) -> torch.Tensor:
        points = inputs["points"] if self.form == "inputs" else inputs
        return nn.functional.cross_entropy(model(points), targets["class"])

    evaluate = TorchTask.evaluate
    metrics = TorchTask.metrics

    def development_data(self) -> Any:
        form = self.form

        class Data(ArrayDataset):
            def take(self, indices: Any) -> Any:
                points, classes = super().take(indices)
                if form == "whole":
                    return {"points": points, "class": classes}
                return ({"points": points, "more": [points, (points,)]}, {"class": classes})

        return Data(*super().development_data().take(np.arange(60)))


def test_inputs_and_targets_may_be_dicts() -> None:
    """Fault 28: a batch of two dicts trains, and is evaluated by its examples, not by the number of its keys."""
    task = DictBatches()
    data = task.development_data()
    state = task.train(task.initialize(H), H, batches(task, 0))
    found = task.evaluate(state, Examples(data, np.arange(60))).metrics
    with torch.no_grad():
        inputs, targets = data.take(np.arange(60))
        assert found == {"loss": pytest.approx(float(task.loss(state.model, inputs, targets))), "count": 60}


def test_a_batch_that_is_no_pair_is_refused() -> None:
    """Fault 28: one dict for a whole batch: the message says what it is, and what it should be."""
    with pytest.raises(HpoError, match=r"a dict with the keys points, class: .*\(inputs, targets\)"):
        DictBatches(form="whole").train(Kept().initialize(H), H, batches(DictBatches(form="whole"), 0))


def test_a_training_step_that_returns_nothing_trains_all_the_same() -> None:
    """Fault 28: the forgotten `return loss`; that it has diverged is still seen."""

    @dataclass(frozen=True)
    class Silent(Kept):
        def training_step(self, state: Any, inputs: Any, targets: Any) -> None:  # type: ignore[override]
            super().training_step(state, inputs, targets)

    trained = []
    for task in (Kept(optimizer=plain_sgd), Silent(optimizer=plain_sgd)):
        with forked_generators(0):
            trained.append(bits(task.to_arrays(task.train(task.initialize(H), H, batches(task, 0)))))
    assert trained[0] == trained[1]
    with pytest.raises(hpo.Diverged):
        task.train(task.initialize(H), {"lr": float("inf")}, batches(task, 0))


def test_lazy_layers_that_nothing_reaches_are_named() -> None:
    """Fault 28: shapes come from two examples of the data; a layer that the loss does not run keeps none, and is refused."""

    class Unused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle = nn.LazyLinear(3), nn.LazyLinear(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.used(x)

    with pytest.raises(HpoError, match=r"idle\.weight"):
        Kept(model=Unused).initialize(H)


def test_a_last_batch_that_is_short_can_be_left_out() -> None:
    """Fault 27: 1,025 examples in batches of 64 leave a batch of one; `drop_last` leaves it out."""
    rng = np.random.default_rng(0)
    data = ArrayDataset(rng.standard_normal((1025, 6), dtype=np.float32), rng.integers(3, size=1025))
    for drop_last, sizes in ((False, [64] * 16 + [1]), (True, [64] * 16)):
        whole = Batches(data, np.arange(1025), 64, 0, 1, drop_last=drop_last)
        assert [len(targets) for _, targets in whole] == sizes
        assert len(whole) == len(sizes)
    task = Kept(model=lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 3)))
    task.train(task.initialize(H), H, whole)
