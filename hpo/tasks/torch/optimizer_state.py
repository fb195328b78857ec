"""What a checkpoint keeps of an optimizer: its `state_dict`, except for the options that it was built with."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from hpo.core.errors import HpoError
from hpo.tasks.torch.state_dicts import packed, same_content, unpacked

STATE, REST = "optimizer", "optimizer_rest"
"""Names in a checkpoint: of the parameters' state, and of everything else."""
Options = Sequence[Mapping[str, Any]]
"""The options of each parameter group."""


def options_of(optimizer: Optimizer) -> Options:
    """Return a copy of the present options of the parameter groups."""
    return [
        {key: value.clone() if isinstance(value, Tensor) else value for key, value in group.items() if key != "params"}
        for group in optimizer.param_groups
    ]


def optimizer_arrays(
    optimizer: Optimizer, built: Options, applied: Sequence[Collection[str]]
) -> dict[str, NDArray[Any]]:
    """Return an optimizer's state as arrays: `optimizer.<i>.<key>` for tensors of parameter i; see `packed` for the rest.

    What training changed in the parameter groups, such as a counter, is state. What it did not change follows from the
    hyperparameters and is not saved, since the next interval may have others.

    Args:
        optimizer: in training.
        built: its `options_of` before training, with hyperparameters applied.
        applied: the options of each group that hyperparameters set; they are not saved, even if training changed them.

    Raises:
        HpoError: the state holds something that cannot be saved; it is named.
    """
    rest = dict(optimizer.state_dict())
    state, groups, absent = rest.pop("state", {}), rest.pop("param_groups", []), object()
    changed = [
        {
            key: value
            for key, value in group.items()
            if key != "params" and key not in set_again and not same_content(value, before.get(key, absent))
        }
        for group, before, set_again in zip(groups, built, applied, strict=False)
    ]
    if any(changed):
        rest["param_groups"] = changed
    return (packed(state, STATE) if state else {}) | (packed(rest, REST) if rest else {})


def load_optimizer(optimizer: Optimizer, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Load what `optimizer_arrays` returned into a new optimizer, in the memory layout of its parameters.

    Raises:
        HpoError: the state is of more parameters than the optimizer has.
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
    """Return a state tensor in the memory layout of its parameter, if it has the parameter's shape."""
    if not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)
