"""Moves batches to the device that computes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hpo.core.errors import HpoError


def to_device(batch: object, device: str, memory_format: torch.memory_format) -> tuple[Any, Any]:
    """Return the inputs and the targets of a batch on a device.

    Args:
        batch: a pair (inputs, targets); each is a tensor, or a mapping, list or tuple of such.
        device: the device to move them to.
        memory_format: the layout of 4-d inputs.

    Raises:
        HpoError: the batch is not a pair.
    """
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        raise HpoError(
            f"take() of the task's data returns {_described(batch)}: a batch must be a pair (inputs, targets), each of the two a"
            " tensor, or a dict, list or tuple of tensors"
        )
    inputs, targets = batch
    return _moved(inputs, device, memory_format), _moved(targets, device, None)


def _moved(value: Any, device: str, memory_format: torch.memory_format | None) -> Any:
    if isinstance(value, Tensor):
        value = value.to(device, non_blocking=True)
        return value.to(memory_format=memory_format) if memory_format and value.dim() == 4 else value
    if isinstance(value, Mapping):
        return {key: _moved(item, device, memory_format) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return type(value)(_moved(item, device, memory_format) for item in value)
    return value


def _described(batch: object) -> str:
    if isinstance(batch, Mapping):
        return f"a dict with the keys {', '.join(map(str, batch))}"
    return f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")
