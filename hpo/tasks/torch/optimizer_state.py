"""What a checkpoint keeps of an optimizer: all that its `state_dict` holds, but for the options that it was built with."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from hpo.core.errors import HpoError
from hpo.tasks.torch.state_dicts import packed, unpacked

STATE, REST = "optimizer", "optimizer_rest"
"""Names in a checkpoint: of the state of the parameters, and of everything else."""
Options = Sequence[Mapping[str, Any]]
"""What the parameter groups of an optimizer hold beside their parameters."""


def options_of(optimizer: Optimizer) -> Options:
    """Return what the parameter groups hold now; it stays as it is while training goes on."""
    return [
        {key: value.clone() if isinstance(value, Tensor) else value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def optimizer_arrays(
    optimizer: Optimizer, built: Options, applied: Sequence[Collection[str]]
) -> dict[str, NDArray[Any]]:
    """Return an optimizer's state as arrays: `optimizer.<i>.<key>` for tensors of parameter i; see `packed` for the rest.

    What training changed in the parameter groups is state, a counter for example. What it did not change follows from the
    hyperparameters, and is not saved: the next interval may have others.

    Args:
        optimizer: in training.
        built: its `options_of`, when it was built and its hyperparameters were applied.
        applied: the options of each group that hyperparameters set: no state, whatever training made of them.

    Raises:
        HpoError: the state holds something that cannot be saved; it is named.
    """
    rest = dict(optimizer.state_dict())
    state, groups, absent = rest.pop("state", {}), rest.pop("param_groups", []), object()
    changed = [
        {
            key: value
            for key, value in group.items()
            if key != "params" and key not in set_again and not _same(value, before.get(key, absent))
        }
        for group, before, set_again in zip(groups, built, applied, strict=False)
    ]
    if any(changed):
        rest["param_groups"] = changed
    return (packed(state, STATE) if state else {}) | (packed(rest, REST) if rest else {})


def load_optimizer(optimizer: Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put the state that `optimizer_arrays` gave into a new optimizer, in the layout of its parameters.

    Raises:
        HpoError: it is the state of more parameters than the optimizer has.
    """
    if not {STATE, REST} & arrays.keys():
        return
    whole = optimizer.state_dict()
    if REST in arrays:
        rest = unpacked(arrays, REST)
        for group, changed in zip(whole.get("param_groups", []), rest.pop("param_groups", []), strict=False):
            group.update(changed)
        whole |= rest
    states: dict[int, dict[str, Any]] = {}
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    if STATE in arrays:
        whole["state"] = unpacked(arrays, STATE)
        states = {index: state for index, state in whole["state"].items() if type(index) is int}
        if odd := [index for index in states if not 0 <= index < len(parameters)]:
            raise HpoError(
                f"the checkpoint holds the state of parameter {odd[0]}, but the optimizer has {len(parameters)} parameters"
            )
        for index, state in states.items():
            state.update({key: _like(value, parameters[index]) for key, value in state.items()})
    optimizer.load_state_dict(whole)
    for index, state in states.items():
        # PyTorch casts a state to the type of its parameter: bfloat16 weights may have a state of higher precision.
        loaded = optimizer.state[parameters[index]]
        for key, value in state.items():
            if isinstance(value, Tensor) and loaded[key].dtype is not value.dtype:
                loaded[key] = value.to(loaded[key].device)


def _like(value: Any, parameter: Tensor) -> Any:
    """Return a state in the memory layout of its parameter, where it has its shape."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _same(value: Any, other: Any) -> bool:
    if isinstance(value, Tensor) or isinstance(other, Tensor):
        both = isinstance(value, Tensor) and isinstance(other, Tensor)
        return both and value.dtype is other.dtype and torch.equal(value.cpu(), other.cpu())
    return type(value) is type(other) and bool(value == other)
