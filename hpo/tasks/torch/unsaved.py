"""What training with PyTorch keeps where no checkpoint looks: counters of an optimizer object, schedulers, averages."""

import gc
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from hpo.errors import HpoError
from hpo.tasks.torch.state_dicts import packed


class _State(Protocol):
    model: nn.Module
    optimizer: torch.optim.Optimizer


_OWN = {"model", "optimizer", "shares", "built", "defaults", "state", "param_groups"}
"""Attributes of states and optimizers that are looked after elsewhere."""


def unsaved(state: _State, restored: _State) -> list[str]:
    """Return what differs between a trained state and its restored copy, beside tensors of the model and the `state_dict`.

    Looked at are numbers and tensors that lie in the optimizer object under names without `_`; whatever has a `state_dict` there,
    in the state or in the model; and learning rate schedulers, wherever they are. Other attributes may be there for show.
    """
    found = [
        f"{where}.{name} is {_told(value)} after training and {_told(there.get(name))} once restored"
        for where, here, there in _places(state, restored)
        for name, value in here.items()
        if not _same(value, there.get(name))
    ]
    if any("initial_lr" in group for group in state.optimizer.param_groups):
        named = " ".join(found)
        found += [
            f"a learning rate scheduler, {type(each).__name__}, has made steps of its own; override learning_rate_schedule instead"
            for each in _schedulers(state.optimizer)
            if type(each).__name__ not in named
            and not any(_same(each, other) for other in _schedulers(restored.optimizer))
        ]
    return found


def _places(state: _State, restored: _State) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield places where state may lie: a name, what is there after training, and what is there once restored."""
    for where, here, there in (
        ("state", state, restored),
        ("optimizer", state.optimizer, restored.optimizer),
        ("model", state.model, restored.model),
    ):
        numbers = where == "optimizer"
        looked_at = {
            name: value
            for name, value in getattr(here, "__dict__", {}).items()
            if name not in _OWN and (_has_state(value) or (numbers and not name.startswith("_") and _is_number(value)))
        }
        yield where, looked_at, getattr(there, "__dict__", {})


def _schedulers(optimizer: torch.optim.Optimizer) -> list[LRScheduler]:
    # Nothing points from an optimizer to its schedulers.
    return [
        each
        for each in gc.get_objects()
        if issubclass(type(each), LRScheduler) and getattr(each, "optimizer", None) is optimizer
    ]


def _has_state(value: object) -> bool:
    return callable(getattr(value, "state_dict", None)) and not isinstance(value, type)


def _same(value: object, other: object) -> bool:
    """Say whether two values are the same: numbers, tensors, or by their `state_dict`."""
    if isinstance(value, Tensor):
        return isinstance(other, Tensor) and value.shape == other.shape and torch.equal(value, other)
    if _is_number(value):
        return value == other
    return _has_state(other) and _bytes(value) == _bytes(other)


def _bytes(value: Any) -> dict[str, bytes]:
    """Return what a `state_dict` holds, as far as a checkpoint could hold it."""
    found: dict[str, bytes] = {}
    for key, item in value.state_dict().items():
        with suppress(HpoError):
            found |= {name: array.tobytes() for name, array in packed(item, str(key)).items()}
    return found


def _is_number(value: object) -> bool:
    return isinstance(value, Tensor) or type(value) in (int, float)


def _told(value: object) -> str:
    if _is_number(value) and (not isinstance(value, Tensor) or value.numel() == 1):
        return str(value.item() if isinstance(value, Tensor) else value)
    return "absent" if value is None else f"another {type(value).__name__}"
