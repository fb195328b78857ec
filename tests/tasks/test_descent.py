"""The three calls of a training step: the same as PyTorch's, to the bit, and nobody is passed over."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import StepLR
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from hpo.tasks.torch import descent
from hpo.tasks.torch.descent import descend, forget_gradients, propagate

SGDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "decay": {"momentum": 0.5, "weight_decay": 0.1},
    "dampened": {"momentum": 0.5, "dampening": 0.3},
    "nesterov": {"momentum": 0.5, "nesterov": True},
    "ascent": {"maximize": True, "weight_decay": 0.1},
    "unfused": {"momentum": 0.9, "fused": False},
    "tensor": {"lr": torch.tensor(0.1)},
}


def net(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 70), nn.ReLU(), nn.Linear(70, 3)).to(dtype)


def sgd(model: nn.Module, **options: Any) -> SGD:
    return SGD(model.parameters(), **{"lr": 0.1, "fused": True, **options})


def bits(optimizer: Optimizer) -> list[Tensor]:
    """Return parameters and whatever the optimizer keeps of them."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    return [each.detach() for each in parameters] + [
        kept for each in parameters for kept in optimizer.state[each].values() if kept is not None
    ]


def trained(
    optimizer: Optimizer,
    model: nn.Module,
    steps: int,
    shortly: bool,
    change: Callable[[int, Optimizer], None] | None = None,
) -> list[Tensor]:
    rng = torch.Generator().manual_seed(1)
    dtype = next(model.parameters()).dtype
    for step in range(steps):
        if change:
            change(step, optimizer)
        forget_gradients(optimizer) if shortly else optimizer.zero_grad()
        loss = model(torch.randn(4, 5, generator=rng).to(dtype)).square().sum()
        propagate(loss) if shortly else loss.backward()
        descend(optimizer) if shortly else optimizer.step()
    return bits(optimizer)


def compare(
    build: Callable[[nn.Module], Optimizer],
    change: Callable[[int, Optimizer], None] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    models = [net(dtype), net(dtype)]
    short, long = (trained(build(model), model, 4, model is models[0], change) for model in models)
    assert len(short) == len(long) >= 4
    assert all(map(torch.equal, short, long))
    assert not torch.equal(short[0], next(net(dtype).parameters()))


def test_this_pytorch_has_the_short_ways() -> None:
    assert descent._has_short_ways()


@pytest.fixture
def another_pytorch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """PyTorch without one of its inner functions."""
    descent._has_short_ways.cache_clear()
    monkeypatch.delattr(torch, "_fused_sgd_")
    assert not descent._has_short_ways()
    monkeypatch.undo()
    yield
    descent._has_short_ways.cache_clear()


@pytest.mark.usefixtures("another_pytorch")
def test_another_pytorch_may_lack_them() -> None:
    compare(lambda model: sgd(model, momentum=0.9))


@pytest.mark.parametrize("setting", [torch.inference_mode, torch.no_grad])
def test_they_are_found_in_any_mode(setting: Callable[[], AbstractContextManager[None]]) -> None:
    descent._has_short_ways.cache_clear()
    with setting():
        assert descent._has_short_ways()


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}])
def test_they_are_taken(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    model = net()
    optimizer = sgd(model, **options)
    trained(optimizer, model, 1, True)  # makes the buffers
    for owner, name in ((SGD, "step"), (Optimizer, "zero_grad"), (torch.autograd, "backward")):
        monkeypatch.setattr(owner, name, lambda *_: pytest.fail("PyTorch's own was called"))
    before = [each.clone() for each in bits(optimizer)]
    trained(optimizer, model, 1, True)
    assert not any(map(torch.equal, before, bits(optimizer)))


def test_a_gradient_scaler_is_heard() -> None:
    model = net()
    optimizer = sgd(model)
    optimizer.found_inf = torch.ones(())  # type: ignore[attr-defined]
    trained(optimizer, model, 1, True)
    assert all(map(torch.equal, bits(optimizer), net().parameters()))


@pytest.mark.parametrize("name", SGDS)
def test_sgd_takes_the_same_steps(name: str) -> None:
    compare(lambda model: sgd(model, **SGDS[name]))


def test_other_types_and_optimizers_take_the_same_steps() -> None:
    compare(lambda model: sgd(model, momentum=0.9), dtype=torch.float64)
    compare(lambda model: Adam(model.parameters(), lr=0.1))


def test_groups_have_their_own_options() -> None:
    def build(model: nn.Module) -> SGD:
        first, last = model[0].parameters(), model[2].parameters()  # type: ignore[index]
        return SGD([{"params": first, "momentum": 0.9}, {"params": last, "lr": 0.3}], lr=0.1, fused=True)

    compare(build)


def test_momentum_may_come_and_go() -> None:
    def change(step: int, optimizer: Optimizer) -> None:
        optimizer.param_groups[0]["momentum"] = (0.0, 0.9, 0.0, 0.5)[step]

    compare(sgd, change)


def test_parameters_without_gradients_stay() -> None:
    for options in ({}, {"momentum": 0.9}):
        model = net()
        last = [each.detach().clone() for each in model[2].parameters()]  # type: ignore[index]
        optimizer = sgd(model, weight_decay=0.1, **options)
        for _ in range(3):
            forget_gradients(optimizer)
            model[0](torch.ones(1, 5)).sum().backward()  # type: ignore[index]
            descend(optimizer)
        assert all(map(torch.equal, last, model[2].parameters()))  # type: ignore[index]
    forget_gradients(optimizer)
    before = [each.clone() for each in bits(optimizer)]
    descend(optimizer)
    assert all(map(torch.equal, before, bits(optimizer)))


def test_a_loss_that_is_none_is_refused_as_by_pytorch() -> None:
    weight = nn.Parameter(torch.ones(3))
    for wrong, message in (
        (2 * weight, "scalar"),
        (1j * weight.sum(), "real scalar"),
        (torch.ones(()), "does not require grad"),
    ):
        with pytest.raises(RuntimeError, match=message):
            propagate(wrong)


def test_gradients_add_up_and_their_hooks_are_called() -> None:
    weight, seen = nn.Parameter(torch.ones(3)), []
    weight.register_post_accumulate_grad_hook(lambda parameter: seen.append(parameter.grad.tolist()))  # type: ignore[union-attr]
    for shape in ((), (1,), (1, 1)):
        propagate((2 * weight).sum().reshape(shape))
    assert seen == [[2, 2, 2], [4, 4, 4], [6, 6, 6]]


def test_hooks_and_schedulers_are_told_of_each_step() -> None:
    model, told = net(), []
    optimizer = sgd(model)
    hooks = [
        optimizer.register_step_pre_hook(lambda *_: told.append("own, before")),
        optimizer.register_step_post_hook(lambda *_: told.append("own, after")),
        register_optimizer_step_pre_hook(lambda *_: told.append("any, before")),
        register_optimizer_step_post_hook(lambda *_: told.append("any, after")),
    ]
    for hook in hooks:  # one after the other goes
        trained(optimizer, model, 1, True)
        hook.remove()
    trained(optimizer, model, 1, True)
    assert told == [
        *("any, before", "own, before", "own, after", "any, after"),
        *("any, before", "own, after", "any, after"),
        *("any, before", "any, after"),
        "any, after",
    ]


@pytest.mark.filterwarnings("error")  # a scheduler warns where it has seen no step of the optimizer
def test_a_scheduler_sees_the_steps() -> None:
    model = net()
    optimizer = sgd(model)
    scheduler = StepLR(optimizer, 1, gamma=0.5)
    trained(optimizer, model, 1, True)
    scheduler.step()
    assert optimizer.param_groups[0]["lr"] == 0.05


def test_methods_of_ones_own_are_called() -> None:
    told = []

    class Own(SGD):
        def step(self, closure: Any = None) -> Any:
            told.append("step")
            return super().step(closure)

        def zero_grad(self, set_to_none: bool = True) -> None:
            told.append("zero_grad")
            super().zero_grad(set_to_none)

    model = net()
    trained(Own(model.parameters(), lr=0.1, fused=True), model, 1, True)
    assert told == ["zero_grad", "step"]
