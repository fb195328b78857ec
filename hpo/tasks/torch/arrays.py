"""PyTorch tensors as plain arrays: data sets made of them, and checkpoints of optimizers."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.errors import HpoError
from hpo.protocols import Indices

NUMBER = ".number"
"""Marks optimizer state that is a Python number, not a tensor."""


class ArrayDataset:
    """A data set of two arrays or tensors whose first axis counts the examples.

    Args:
        inputs: shape (n, ...).
        targets: shape (n, ...).
        fingerprint: a digest of the content; None: the SHA-256 of the arrays' types, shapes and bytes.

    Raises:
        ValueError: the two have different lengths.

    >>> data = ArrayDataset(np.eye(3, dtype=np.float32), np.arange(3))
    >>> data.take(np.array([2, 0]))[1]
    tensor([2, 0])
    """

    def __init__(
        self, inputs: Tensor | NDArray[Any], targets: Tensor | NDArray[Any], fingerprint: str | None = None
    ) -> None:
        self.inputs = inputs if isinstance(inputs, Tensor) else torch.tensor(inputs)
        self.targets = targets if isinstance(targets, Tensor) else torch.tensor(targets)
        if len(self.inputs) != len(self.targets):
            raise ValueError(f"{len(self.inputs)} inputs, but {len(self.targets)} targets")
        self._fingerprint = fingerprint

    @property
    def fingerprint(self) -> str:
        """A digest of the content."""
        if self._fingerprint is None:
            sha = hashlib.sha256()
            for array in (to_array(self.inputs), to_array(self.targets)):
                sha.update(f"{array.dtype.str}{array.shape}".encode())
                sha.update(array.data)
            self._fingerprint = sha.hexdigest()
        return self._fingerprint

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, indices: Indices) -> tuple[Tensor, Tensor]:
        """Return (inputs, targets) at these positions, in this order."""
        where = positions(indices, self.inputs.device)
        return self.inputs.index_select(0, where), self.targets.index_select(0, where)


def positions(indices: Indices, device: torch.device) -> Tensor:
    """Return indices as a tensor, shape (n,); in main memory it shares theirs if it can, and is not to be written to."""
    return torch.from_numpy(np.require(indices, requirements=("C", "W"))).to(device)


def to_array(tensor: Tensor) -> NDArray[Any]:
    """Return a contiguous copy of a tensor in main memory, whatever its device and layout."""
    return np.array(tensor.detach().cpu().numpy(), order="C", copy=True)


def optimizer_arrays(optimizer: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """Return an optimizer's state for each parameter: `optimizer.<i>.<key>`, i in the order of its parameter groups.

    Raises:
        HpoError: the state holds something that is neither a tensor nor a number.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for index, parameter in enumerate(_parameters(optimizer)):
        for key, value in optimizer.state.get(parameter, {}).items():
            name = f"optimizer.{index}.{key}"
            if isinstance(value, Tensor):
                arrays[name] = to_array(value)
            elif isinstance(value, (bool, int, float)):
                arrays[name + NUMBER] = np.array(value)
            elif value is not None:
                raise HpoError(f"{type(optimizer).__name__} keeps a {type(value).__name__} in {name}: cannot be saved")
    return arrays


def load_optimizer(optimizer: torch.optim.Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put the state that `optimizer_arrays` gave into a fresh optimizer, in the layout of its parameters."""
    parameters = _parameters(optimizer)
    states: dict[int, dict[str, Tensor | float]] = {}
    for name, array in arrays.items():
        if not name.startswith("optimizer."):
            continue
        number, _, key = name.removeprefix("optimizer.").partition(".")
        index = int(number)
        if index >= len(parameters):
            raise HpoError(f"the checkpoint holds {name}, but the optimizer has {len(parameters)} parameters")
        state = states.setdefault(index, {})
        if key.endswith(NUMBER):
            state[key.removesuffix(NUMBER)] = array.item()
        else:
            state[key] = _like(torch.tensor(array), parameters[index])
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _like(tensor: Tensor, parameter: Tensor) -> Tensor:
    if tensor.dim() < 4 or tensor.shape != parameter.shape:
        return tensor
    return torch.empty_like(parameter, dtype=tensor.dtype, device=tensor.device).copy_(tensor)
