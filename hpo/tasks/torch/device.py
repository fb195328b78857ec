"""Moves batches to the device that computes."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor

from hpo.core.errors import HpoError

_PLAIN = (str, bytes, bool, int, float, complex, type(None))


def to_device(batch: object, device: str, memory_format: torch.memory_format) -> tuple[Any, Any]:
    """Return the inputs and the targets of a batch on a device.

    Args:
        batch: a pair (inputs, targets), or anything else, which is then the inputs, and the targets are None. Tensors in mappings,
            lists and tuples are moved, and so are objects with a method `to`.
        device: the device to move them to.
        memory_format: the layout of 4-d inputs.

    Raises:
        HpoError: the batch holds something that cannot be moved to the device.
    """
    inputs, targets = batch if is_pair(batch) else (batch, None)
    return _moved(inputs, device, memory_format), _moved(targets, device, None)


def is_pair(batch: object) -> TypeGuard[Sequence[object]]:
    """Return whether a batch is a pair of inputs and targets."""
    return isinstance(batch, (tuple, list)) and len(batch) == 2


def described(batch: object) -> str:
    """Return what kind of batch it is, in words."""
    if isinstance(batch, Mapping):
        return f"a dict with the keys {', '.join(map(str, batch))}"
    return f"a {type(batch).__name__}" + (f" of {len(batch)}" if isinstance(batch, (tuple, list)) else "")


def _moved(value: Any, device: str, memory_format: torch.memory_format | None) -> Any:
    if isinstance(value, Tensor):
        value = value.to(device, non_blocking=True)
        return value.to(memory_format=memory_format) if memory_format and value.dim() == 4 else value
    if isinstance(value, Mapping):
        return {key: _moved(item, device, memory_format) for key, item in value.items()}
    if callable(getattr(value, "to", None)):  # such as a PackedSequence
        return value.to(device)
    if isinstance(value, (tuple, list)):
        items = [_moved(item, device, memory_format) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if isinstance(value, _PLAIN) or torch.device(device).type == "cpu":
        return value
    raise HpoError(
        f"a batch holds a {type(value).__name__}, which cannot be moved to {device}: return tensors, in dicts, lists or tuples, or"
        " give the class a method to(device)"
    )
