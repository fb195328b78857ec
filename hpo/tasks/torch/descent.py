"""An optimizer's two calls in a training step, by a shorter way where it is PyTorch's fused SGD.

PyTorch's `step` sorts its tensors by device and type each time, amid hooks and profiling. Alone on the processor that is soon
done; between two passes through a net, which leave nothing of the interpreter in the processor's cache, it takes three times as
long as the update.
"""

from typing import Any

import torch
from torch.optim import SGD, Optimizer
from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

PASSED_ON = ("weight_decay", "momentum", "lr", "dampening", "nesterov", "maximize")


def forget_gradients(optimizer: Optimizer) -> None:
    """Do what `optimizer.zero_grad()` does."""
    if getattr(optimizer.zero_grad, "__func__", None) is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = None


def descend(optimizer: Optimizer) -> None:
    """Do what `optimizer.step()` does, to the bit."""
    groups = optimizer.param_groups if _is_plain_sgd(optimizer) else []
    updates = [update for group in groups if (update := _update(optimizer, group)) is not None]
    if len(updates) < len(optimizer.param_groups):
        optimizer.step()
        return
    with torch.no_grad():
        for update in updates:
            torch._fused_sgd_(**update, is_first_step=False)


def _is_plain_sgd(optimizer: Optimizer) -> bool:
    """Say whether this is SGD that nobody listens to: no hooks, and no learning rate scheduler, which wraps `step`."""
    if type(optimizer) is not SGD or "step" in vars(optimizer):
        return False
    own = (optimizer._optimizer_step_pre_hooks, optimizer._optimizer_step_post_hooks)
    return not any((*own, _global_optimizer_pre_hooks, _global_optimizer_post_hooks))


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
