"""The content of an object in a comparable form: everything that further training may depend on.

Tensors, modules and generators are recognized by their methods: this module imports no library that defines them.
"""

import math
import sys
import sysconfig
from collections import deque
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

from hpo.core.reach import BY_VALUE

_STATES = ("state_dict", "get_state", "getstate")
"""Methods that return a complete state: of modules and schedulers, of torch's and numpy's generators, of `random.Random`."""
_DEPTH = 6
_HERE = Path(__file__).parents[1]
_STANDARD = Path(sysconfig.get_path("stdlib"))


def contents(value: Any, most: float = math.inf) -> Any:
    """Return the content of a value, comparable with `==`, or None if it is unknown or does not matter.

    It covers numbers, arrays, tensors, generators, anything with a `state_dict`, dicts and lists of these, and instances of the
    user's own classes. Lists of plain numbers are left out: most of them are loss histories.

    Args:
        value: the value.
        most: the largest number of bytes; larger arrays and tensors are data, and are left out.
    """
    try:
        return _contents(value, _DEPTH, most)
    except Exception:  # a lazy or sparse tensor, or a user's class that raises on access
        return None


def is_library(file: Path) -> bool:
    """Return whether a file belongs to this package, to Python or to an installed package rather than to the user."""
    return any(file.is_relative_to(each) for each in (_HERE, _STANDARD)) or not {
        "site-packages",
        "dist-packages",
    }.isdisjoint(file.parts)


def _contents(value: Any, depth: int, most: float, *, whole: bool = False) -> Any:
    """Return the content of a value.

    Args:
        value: the value.
        depth: the number of nested levels to descend.
        most: the largest number of bytes of an array.
        whole: include everything, as in a state that an object returns itself.
    """
    if not depth or isinstance(value, type) or getattr(value, "nbytes", 0) > most:
        return None
    if _is_number(value) or (whole and isinstance(value, str)):
        return repr(value)
    if isinstance(value, np.ndarray):
        return None if value.dtype.hasobject else (str(value.dtype), value.shape, value.tobytes())
    if hasattr(value, "detach") and hasattr(value, "cpu"):  # a text file has `detach` too, which would close it
        return _contents(_as_array(value.detach().cpu()), depth, most)
    if isinstance(value, np.random.Generator):
        return _contents(value.bit_generator.state, depth, most, whole=True)
    for name in _STATES:
        if callable(method := getattr(value, name, None)):
            return _contents(method(), depth, most, whole=True)
    if isinstance(value, list | tuple | deque | Set):
        items = list(value)
        return None if all(map(_is_number, items)) and not whole else _kept(dict(enumerate(items)), depth, most, whole)
    if isinstance(value, Mapping):
        return _kept(value, depth, most, whole)
    return _kept(vars(value), depth, most, whole) if hasattr(value, "__dict__") and is_own(type(value)) else None


def _kept(items: Mapping[Any, Any], depth: int, most: float, whole: bool) -> dict[str, Any] | None:
    found = {str(key): _contents(item, depth - 1, most, whole=whole) for key, item in items.items()}
    return {key: item for key, item in found.items() if item is not None} or None


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | complex | np.generic)


def _as_array(tensor: Any) -> Any:
    try:
        return tensor.numpy()
    except TypeError:  # bfloat16, and the kinds of float8
        return tensor.float().numpy()


def is_own(cls: type) -> bool:
    """Return whether a class is defined by the user, in a module, a script or a notebook."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return cls.__module__ in BY_VALUE or (file is not None and not is_library(Path(file)))
