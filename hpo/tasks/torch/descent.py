"""The three calls of a training step, `zero_grad`, `backward` and `step`, by shorter ways to the same bits.

PyTorch's own go through Python that looks after every case: hooks, subclasses, tensors on several devices, profiling. Alone on
the processor that is soon done; between two passes through a net, which leave nothing of the interpreter in the processor's
cache, it takes several times as long as the update itself. Where one of these cases may be at hand, PyTorch's own are called,
as they are with a release of PyTorch that has no such inner functions. Two things are not looked for: a profiler (its records
lack the names of the three calls, not what happens in them), and methods that were replaced in PyTorch's own classes.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer
from torch.optim import optimizer as all_optimizers

PASSED_ON = ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")


def forget_gradients(optimizer: Optimizer) -> None:
    """Do what `optimizer.zero_grad()` does."""
    if getattr(optimizer.zero_grad, "__func__", None) is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def propagate(loss: Tensor) -> None:
    """Do what `loss.backward()` does."""
    simple = type(loss) is Tensor and loss.is_cpu and loss.is_floating_point() and loss.numel() == 1
    if simple and _has_short_ways():
        _backward(loss)
    else:
        torch.autograd.backward(loss)


def descend(optimizer: Optimizer) -> None:
    """Do what `optimizer.step()` does."""
    groups = optimizer.param_groups if _has_short_ways() and _is_plain_sgd(optimizer) else []
    updates = [update for group in groups if (update := _update(optimizer, group)) is not None]
    if len(updates) < len(optimizer.param_groups):
        optimizer.step()
    else:
        _apply(updates)


@cache
def _has_short_ways() -> bool:
    """Say whether this PyTorch has the inner functions called below: they are tried on one weight."""
    try:
        with torch.inference_mode(False), torch.enable_grad():
            weight = nn.Parameter(torch.ones(1, dtype=torch.float32, device="cpu"))
            optimizer = SGD([weight], lr=0.5, fused=True)
            _backward(2 * weight)
            update = _update(optimizer, optimizer.param_groups[0])
            _apply([update or {}])
            return _is_plain_sgd(optimizer) and weight.item() == 0
    except (AttributeError, TypeError, RuntimeError):
        return False


def _backward(loss: Tensor) -> None:
    engine = torch.autograd.Variable._execution_engine
    engine.run_backward(
        (loss,), (torch.ones_like(loss),), False, False, (), allow_unreachable=True, accumulate_grad=True
    )


def _apply(updates: list[dict[str, Any]]) -> None:
    with torch.no_grad():
        for update in updates:
            torch._fused_sgd_(**update, is_first_step=False)


def _is_plain_sgd(optimizer: Optimizer) -> bool:
    """Say whether this is SGD alone: without hooks, a learning rate scheduler, which wraps `step`, or a gradient scaler."""
    if type(optimizer) is not SGD or not vars(optimizer).keys().isdisjoint({"step", "grad_scale", "found_inf"}):
        return False
    own = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    return not any((*own, all_optimizers._global_optimizer_pre_hooks, all_optimizers._global_optimizer_post_hooks))


def _update(optimizer: Optimizer, group: dict[str, Any]) -> dict[str, Any] | None:
    """Return the arguments of a group's update; None where PyTorch has to look at its tensors itself.

    So it is in the first step with momentum, which makes the buffers.
    """
    parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
    velocities = [optimizer.state[each].get("momentum_buffer") for each in parameters] if group["momentum"] else []
    simple = all(each.is_cpu and each.dtype is torch.float32 and not each.grad.is_sparse for each in parameters)
    if not (group["fused"] and simple and parameters) or any(each is None for each in velocities):
        return None
    tensors = {"self": parameters, "grads": [each.grad for each in parameters], "momentum_buffer_list": velocities}
    return tensors | {name: group[name] for name in PASSED_ON}
