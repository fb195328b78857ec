"""Finds training state that checkpoints do not hold: counters, averages, generators, schedulers."""

import gc
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Protocol

import torch
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from hpo.core.object_state import contents

_SCHEDULED = "initial_lr"
"""The key that a learning rate scheduler adds to each parameter group of its optimizer."""


class _State(Protocol):
    model: nn.Module
    optimizer: torch.optim.Optimizer


_OF_STATES = {"model", "optimizer", "shares", "built"}
_OF_MODULES = {*vars(nn.Module()), "_compiled_call_impl"}
_OF_OPTIMIZERS = {"defaults", "state", "param_groups", "step"}
"""Attributes of every state, module and optimizer (`step` is one once a scheduler wraps it); checkpoints cover them."""


def unsaved(state: _State, restored: _State) -> list[str]:
    """Return what differs between a state and its restored copy after both were trained further, apart from what checkpoints hold.

    Compares attributes of the state, the optimizer and the modules (`hpo.core.object_state`), and learning rate schedulers wherever
    they are. An attribute that is equal in both is a cache.
    """
    found = [
        f"{where}{name} {_difference(value, there.get(name))}"
        for where, here, there in _places(state, restored)
        for name, value in here.items()
        if contents(value) != contents(there.get(name))
    ]
    named = " ".join(found)
    return found + [each for each in _lost_schedules(state, restored) if each.split()[0] not in named]


def _places(state: _State, restored: _State) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield where state may be: a name, the attributes in memory, and the restored ones."""
    yield "state.", _attributes(state, _OF_STATES), vars(restored)
    flags = {name for name, value in vars(state.optimizer).items() if isinstance(value, bool)}
    yield "optimizer.", _attributes(state.optimizer, _OF_OPTIMIZERS | flags), vars(restored.optimizer)
    others = dict(restored.model.named_modules())
    for name, module in state.model.named_modules():
        if name in others:
            yield f"model.{name}." if name else "model.", _attributes(module, _OF_MODULES), vars(others[name])


def _attributes(thing: object, own: set[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(thing).items() if name not in own}


def _lost_schedules(state: _State, restored: _State) -> Iterator[str]:
    if not any(_SCHEDULED in group for group in state.optimizer.param_groups):
        return
    advice = "override learning_rate_schedule instead"
    live = _schedulers(state.optimizer)
    if not live:
        yield f"LRScheduler: one was attached to the optimizer, and no state keeps it; {advice}"
    for one, other in zip_longest(live, _schedulers(restored.optimizer)):
        if one is not None and contents(one) != contents(other):
            yield f"{type(one).__name__}, a learning rate scheduler, keeps a count of steps that no checkpoint saves; {advice}"


def _schedulers(optimizer: torch.optim.Optimizer) -> list[LRScheduler]:
    # Nothing points from an optimizer to its schedulers.
    found = [
        each
        for each in gc.get_objects()
        if issubclass(type(each), LRScheduler) and getattr(each, "optimizer", None) is optimizer
    ]
    return sorted(found, key=lambda each: type(each).__name__)


def _difference(value: object, other: object) -> str:
    if all(isinstance(each, bool | int | float) for each in (value, other)):
        return f"is {value} in memory and {other} in a restored copy"
    return f"({type(value).__name__}) differs between memory and a restored copy"
