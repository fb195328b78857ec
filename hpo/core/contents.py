"""What an object holds, in a form that can be compared: whatever training could go on from, and for show alone nothing.

Tensors, modules and generators are known by what they offer: this module imports no library that has them.
"""

import math
import sys
import sysconfig
from collections import deque
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import numpy as np

_STATES = ("state_dict", "get_state", "getstate")
"""Methods that return all there is: of modules and schedulers, of torch's and numpy's generators, of `random.Random`."""
_DEPTH = 6
_HERE = Path(__file__).parents[1]
_STANDARD = Path(sysconfig.get_path("stdlib"))


def contents(value: Any, most: float = math.inf) -> Any:
    """Return what a value holds, comparable by `==`, and None where that is not known or for show.

    Looked at are numbers, arrays, tensors, generators, whatever has a `state_dict`, dicts and lists of these, and instances of
    classes that lie in no library. Lists of plain numbers are left out: they are histories of a loss, for the most part.

    Args:
        value: to look at.
        most: bytes; larger arrays and tensors are data, and left out.
    """
    try:
        return _contents(value, _DEPTH, most)
    except Exception:  # a lazy or sparse tensor, or somebody's own class that cannot be looked at
        return None


def is_library(file: Path) -> bool:
    """Say whether a file belongs to this package, to Python or to what is installed, and not to the user."""
    return any(file.is_relative_to(each) for each in (_HERE, _STANDARD)) or not {
        "site-packages",
        "dist-packages",
    }.isdisjoint(file.parts)


def _contents(value: Any, depth: int, most: float, *, whole: bool = False) -> Any:
    """Return what a value holds.

    Args:
        value: to look at.
        depth: of nesting that is still looked at.
        most: bytes of an array.
        whole: take everything as it is: inside a state that an object gives itself.
    """
    if not depth or isinstance(value, type) or getattr(value, "nbytes", 0) > most:
        return None
    if _is_number(value) or (whole and isinstance(value, str)):
        return repr(value)
    if isinstance(value, np.ndarray):
        return None if value.dtype.hasobject else (str(value.dtype), value.shape, value.tobytes())
    if callable(getattr(value, "detach", None)):
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
    return _kept(vars(value), depth, most, whole) if hasattr(value, "__dict__") and _is_own(type(value)) else None


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


def _is_own(cls: type) -> bool:
    """Say whether a class is the user's own."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    return file is not None and not is_library(Path(file))
