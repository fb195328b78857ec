"""Converts state dicts to named arrays and back: each tensor is an array; one JSON text holds the rest and the tensors' places.

A state dict may hold nested mappings, lists and tuples of tensors, numbers, strings, booleans and None. The round trip is
exact; nothing is pickled.
"""

import json
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hpo.core.errors import HpoError

_MAPPINGS = (dict, OrderedDict, defaultdict, Counter)
_SEQUENCES = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}
_BITS = {1: torch.uint8, 2: torch.int16}
"""The integers that hold the bits of floating-point types unknown to numpy (bfloat16, float8), by size in bytes."""


def to_array(tensor: Tensor) -> NDArray[Any]:
    """Return a contiguous copy, in main memory, of a tensor on any device and in any layout.

    bfloat16 and float8 become integers with the same bits; complex numbers get one more axis, of real and imaginary part.

    Raises:
        HpoError: the tensor is sparse or quantized.
    """
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise HpoError(f"a {'quantized' if tensor.is_quantized else 'sparse'} tensor cannot be saved in a checkpoint")
    tensor = tensor.detach().cpu()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if (bits := _bits_of(tensor.dtype)) is not None:
        tensor = tensor.contiguous().view(bits)
    return np.array(tensor.numpy(), order="C", copy=True)


def to_tensor(array: NDArray[Any], dtype: torch.dtype) -> Tensor:
    """Return the tensor that `to_array` copied, in main memory.

    Args:
        array: the array that it returned.
        dtype: of the tensor.

    Raises:
        HpoError: the array is of another type.
    """
    tensor = torch.tensor(array)
    real = dtype.to_real() if dtype.is_complex else dtype
    bits = _bits_of(real)
    if tensor.dtype is not (bits or real):
        raise HpoError(f"an array of {array.dtype} is not what {dtype} is saved as")
    if bits is not None:
        tensor = tensor.view(real)
    return torch.view_as_complex(tensor) if dtype.is_complex else tensor


def _bits_of(dtype: torch.dtype) -> torch.dtype | None:
    known = (torch.float64, torch.float32, torch.float16)
    return _BITS[dtype.itemsize] if dtype.is_floating_point and dtype not in known else None


def is_plain(value: object) -> bool:
    """Return whether `packed` can save a value, and everything in it."""
    if isinstance(value, Mapping):
        return type(value) in _MAPPINGS and all(is_plain(key) and is_plain(item) for key, item in value.items())
    if type(value) in _SEQUENCES.values():
        return all(map(is_plain, value))  # type: ignore[call-overload]
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biufc" and value.dtype.itemsize <= 8
    if isinstance(value, Tensor):
        return value.layout is torch.strided and not value.is_quantized
    return value is None or type(value) in (bool, int, float, str)


def same_content(one: Any, other: Any) -> bool:
    """Return whether two trees have the same types and values; NaN equals NaN."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(same_content(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same_content, one, other))
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype is other.dtype and same_content(to_array(one), to_array(other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    return type(one) is type(other) and bool(one == other or (one != one and other != other))


def packed(tree: object, name: str) -> dict[str, NDArray[Any]]:
    """Return a tree as arrays: its tensors as `<name>.<path>`, and as `name` the UTF-8 bytes of a JSON text with the rest.

    Args:
        tree: a state dict, or another part of a state.
        name: the prefix of all names.

    Raises:
        HpoError: the tree holds something that cannot be saved; it is named.
    """
    arrays: dict[str, NDArray[Any]] = {}

    def written(value: object, path: str) -> object:
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, Tensor):
            place = path
            while place in {name, *arrays}:  # 0 and "0" are two keys
                place += "'"
            arrays[place] = to_array(value)
            device = {} if value.device.type == "cpu" else {"device": value.device.type}
            return {"tensor": place, "dtype": str(value.dtype).removeprefix("torch."), **device}
        if isinstance(value, np.ndarray | np.generic) and is_plain(value):
            arrays[path] = np.array(value, order="C")
            return {"array" if isinstance(value, np.ndarray) else "scalar": path}
        if isinstance(value, Mapping):
            return {"dict": [[written(key, path), written(item, f"{path}.{key}")] for key, item in value.items()]}
        if isinstance(value, set | frozenset) and is_plain(value):  # in an order that does not depend on the process
            return {type(value).__name__: [written(item, path) for item in sorted(value, key=repr)]}
        if isinstance(value, (list, tuple, deque)) and type(value) in (list, tuple, deque):
            return {type(value).__name__: [written(item, f"{path}.{index}") for index, item in enumerate(value)]}
        raise HpoError(
            f"{path} holds a {type(value).__name__}, which cannot be saved in a checkpoint: tensors, numbers, strings, booleans and"
            " None can, in dicts, lists and tuples"
        )

    text = json.dumps(written(tree, name))
    return {name: np.frombuffer(text.encode(), np.uint8).copy(), **arrays}


def unpacked(arrays: Mapping[str, NDArray[Any]], name: str) -> Any:
    """Return the tree that `packed` turned into these arrays, its tensors on the same kind of device as before."""

    def read(value: Any) -> Any:
        if isinstance(value, list):  # of the items of a dict
            return [read(item) for item in value]
        if not isinstance(value, dict):
            return value
        if "tensor" in value:
            return to_tensor(arrays[value["tensor"]], getattr(torch, value["dtype"])).to(value.get("device", "cpu"))
        ((kind, items),) = value.items()
        if kind in ("array", "scalar"):
            return arrays[items].copy() if kind == "array" else arrays[items][()]
        return {"dict": dict, **_SEQUENCES}[kind](read(item) for item in items)

    return read(json.loads(arrays[name].tobytes()))
