"""What a checkpoint keeps of a model: parameters, buffers, and the modules' extra state."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hpo.core.errors import HpoError
from hpo.tasks.torch.state_dicts import packed, to_array, to_tensor, unpacked

EXTRA = "extra_state"
"""The name in a checkpoint of what the modules' `get_extra_state` returns."""
_ANOTHER_MODEL = "(a hyperparameter that shapes the model must be fixed = true)"


def tensors_of(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield the parameters and buffers of a model, with their names."""
    yield from model.named_parameters()
    yield from model.named_buffers()


def model_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """Return copies of parameters and buffers as `model.<name>`, contiguous, and the extra state of modules; see `packed`.

    Raises:
        HpoError: the extra state holds something that cannot be saved; it is named.
    """
    arrays = {f"model.{name}": to_array(tensor) for name, tensor in tensors_of(model)}
    if extra := {name: module.get_extra_state() for name, module in _with_extra_state(model)}:
        arrays |= packed(extra, EXTRA)
    return arrays


def load_model_arrays(model: nn.Module, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Put what `model_arrays` returned into a new model, in the layout of its tensors.

    Raises:
        HpoError: the arrays have other names, shapes or types than the model's tensors.
    """
    tensors = {f"model.{name}": tensor for name, tensor in tensors_of(model)}
    given = {name for name in arrays if name.startswith("model.")}
    if odd := sorted(tensors.keys() ^ given):
        raise HpoError(f"the checkpoint does not fit the model: {', '.join(odd)} {_ANOTHER_MODEL}")
    with torch.no_grad():
        for name, tensor in tensors.items():
            saved = to_tensor(arrays[name], tensor.dtype)
            if tensor.shape != saved.shape:
                raise HpoError(
                    f"{name} has shape {tuple(saved.shape)} in the checkpoint, not {tuple(tensor.shape)} {_ANOTHER_MODEL}"
                )
            tensor.copy_(saved)
    extra = unpacked(arrays, EXTRA) if EXTRA in arrays else {}
    for name, module in _with_extra_state(model):
        if name in extra:
            module.set_extra_state(extra[name])


def _with_extra_state(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    own = nn.Module.get_extra_state
    return ((name, module) for name, module in model.named_modules() if type(module).get_extra_state is not own)
